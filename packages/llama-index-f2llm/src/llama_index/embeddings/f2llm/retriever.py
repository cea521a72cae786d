"""`MatryoshkaRetriever`: LlamaIndex's names and types for `f2llm_core.two_stage`."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, QueryType, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from f2llm_core.stores.filters import parse
from f2llm_core.stores.guarding import check
from f2llm_core.two_stage import Found, TwoStageStore, check_sizes
from llama_index.embeddings.f2llm.base import F2LLMEmbedding

_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}


class MatryoshkaRetriever(BaseRetriever):
    """Retrieve in two stages: a shortlist by short vectors in an index, its order by whole ones.

        store = TwoStageStore(ChromaVectorStore(collection), "papers.full", dimensions=64)
        index(store, embed_model, nodes)
        retriever = MatryoshkaRetriever(store, embed_model, k=5)
        german = MetadataFilters.from_dicts([{"key": "lang", "value": "de"}])
        retriever.retrieve("Which telescope sees infrared light?", k=3, filters=german)

    A query takes one forward pass: its vector is made whole, and cut for the first stage. It pays
    in memory and disk, for large collections of wide vectors; it does not pay in latency, and in a
    collection of some thousand nodes not at all. See `f2llm_core.two_stage.TwoStageStore`.
    """

    def __init__(
        self,
        store: TwoStageStore,
        embed_model: F2LLMEmbedding,
        *,
        k: int = 4,
        fetch_k: int | None = None,
        filters: MetadataFilters | None = None,
        **options: Any,  # noqa: ANN401  (LlamaIndex's)
    ) -> None:
        """Check that store and model belong together; embeds nothing.

        Args:
            store: Where the nodes are.
            embed_model: What they were indexed with, at full width.
            k: Nodes to return; fewer if there are not so many.
            fetch_k: Nodes on the shortlist; None is 200, or `k` if that is more.
            filters: Only nodes with such metadata, whatever the store: comparisons with one value
                or, by `in` and `nin`, a list of them; joined by `and` and `or`.
            **options: Those of `BaseRetriever`.

        Raises:
            ConfigurationError: `fetch_k` is less than `k`, one of them is no positive integer, or
                `filters` compare otherwise.
            FingerprintError: The nodes were not indexed with this model.
            StoreError: The collection cannot be reached, or lacks full vectors.
        """
        super().__init__(**options)
        check_sizes(k, fetch_k)
        check(store, embed_model.encoder)
        self._store, self._embed_model = store, embed_model
        self._k, self._fetch_k, self._where = k, fetch_k, _where(filters)

    def retrieve(
        self,
        str_or_query_bundle: QueryType,
        *,
        k: int | None = None,
        fetch_k: int | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[NodeWithScore]:
        """Retrieve nodes, best first; `k`, `fetch_k` and `filters` are for this call only.

        Returns:
            Nodes, their scores being cosines of whole vectors.
        """
        return BaseRetriever.retrieve(self._with(k, fetch_k, filters), str_or_query_bundle)

    async def aretrieve(
        self,
        str_or_query_bundle: QueryType,
        *,
        k: int | None = None,
        fetch_k: int | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[NodeWithScore]:
        """Like `retrieve`, without blocking the event loop."""
        sibling = self._with(k, fetch_k, filters)
        return await BaseRetriever.aretrieve(sibling, str_or_query_bundle)

    def _with(
        self, k: int | None, fetch_k: int | None, filters: MetadataFilters | None
    ) -> MatryoshkaRetriever:
        sibling = copy(self)
        sibling._k = self._k if k is None else k
        sibling._fetch_k = self._fetch_k if fetch_k is None else fetch_k
        sibling._where = self._where if filters is None else _where(filters)
        return sibling

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = query_bundle.embedding
        if vector is None:
            asked = query_bundle.embedding_strs or [""]  # it leaves out the empty one
            vector = self._embed_model.get_agg_embedding_from_queries(asked)
        return self._find(vector)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = query_bundle.embedding
        if vector is None:
            asked = query_bundle.embedding_strs or [""]
            vector = await self._embed_model.aget_agg_embedding_from_queries(asked)
        return await asyncio.to_thread(self._find, vector)

    def _find(self, vector: Embedding) -> list[NodeWithScore]:
        whole = np.asarray(vector, dtype=np.float32)
        found = self._store.find(whole, self._k, self._fetch_k, where=self._where)
        return [NodeWithScore(node=_node(row), score=row.score) for row in found]


def _where(filters: MetadataFilters | MetadataFilter | None) -> dict[str, Any] | None:
    """Return filters as the core takes them."""
    if filters is None:
        return None
    if isinstance(filters, MetadataFilters):
        condition = filters.condition or FilterCondition.AND
        parts = [_where(one) for one in filters.filters]
        # What has no conditions does not narrow a conjunction.
        if condition is FilterCondition.AND and not (parts := [part for part in parts if part]):
            return None
        where: dict[str, Any] = {f"${condition.value}": parts}
    else:
        operator = _OPERATORS.get(filters.operator, f"${filters.operator.value}")
        where = {filters.key: {operator: filters.value}}
    parse(where)  # refuses what it does not know
    return where


def _node(row: Found) -> BaseNode:
    if "_node_content" in row.metadata:
        return metadata_dict_to_node(row.metadata, text=row.document)
    return TextNode(id_=row.id, text=row.document or "", metadata=row.metadata)  # of others' making
