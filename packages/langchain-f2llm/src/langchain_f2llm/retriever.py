"""`MatryoshkaRetriever`: LangChain's names and types for `f2llm_core.two_stage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, SkipValidation

from f2llm_core.stores.filters import parse
from f2llm_core.stores.guarding import check
from f2llm_core.two_stage import TwoStageStore, check_sizes
from langchain_f2llm.embeddings import F2LLMEmbeddings


class MatryoshkaRetriever(BaseRetriever):
    """Retrieve in two stages: a shortlist by short vectors in an index, its order by whole ones.

        store = TwoStageStore(Chroma("papers", embeddings), "papers.full", dimensions=64)
        index(store, embeddings, documents)
        retriever = MatryoshkaRetriever(store=store, embeddings=embeddings, k=5)
        retriever.invoke("Which telescope sees infrared light?", k=3, filter={"lang": "de"})

    A query takes one forward pass: its vector is made whole, and cut for the first stage. It pays
    in memory and disk, for large collections of wide vectors; it does not pay in latency, and in a
    collection of some thousand documents not at all. See `f2llm_core.two_stage.TwoStageStore`.

    Attributes:
        store: Where the documents are.
        embeddings: What they were indexed with, at full width.
        k: Documents to return; fewer if there are not so many. Also an argument of a call.
        fetch_k: Documents on the shortlist; None is 200, or `k` if that is more. The same.
        filter: Only documents with such metadata, in the notation of Chroma's `where` whatever the
            store, for example `{"year": {"$gte": 2000}}`. The same.

    Raises:
        ConfigurationError: `fetch_k` is less than `k`, one of them is no positive integer, or
            `filter` is none.
        FingerprintError: The documents were not indexed with these embeddings.
        StoreError: The collection cannot be reached, or lacks full vectors.
    """

    # A misspelt filter would be none.
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    store: TwoStageStore
    embeddings: F2LLMEmbeddings
    k: SkipValidation[int] = 4
    fetch_k: SkipValidation[int | None] = None
    filter: dict[str, Any] | None = None

    if not TYPE_CHECKING:  # type checkers derive a better signature from the fields

        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            # Not in a validator, so that the core's errors arrive as they are.
            check_sizes(self.k, self.fetch_k)
            parse(self.filter)
            check(self.store, self.embeddings.encoder)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002  (LangChain's name)
    ) -> list[Document]:
        return self._find(self.embeddings.embed_query(query), k, fetch_k, filter)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002  (LangChain's name)
    ) -> list[Document]:
        vector = await self.embeddings.aembed_query(query)
        return await run_in_executor(None, self._find, vector, k, fetch_k, filter)

    def _find(
        self,
        vector: list[float],
        k: int | None,
        fetch_k: int | None,
        where: dict[str, Any] | None,
    ) -> list[Document]:
        found = self.store.find(
            np.asarray(vector, dtype=np.float32),
            self.k if k is None else k,
            self.fetch_k if fetch_k is None else fetch_k,
            where=self.filter if where is None else where,
        )
        return [
            Document(id=row.id, page_content=row.document, metadata=row.metadata)
            for row in found
            if row.document is not None
        ]
