"""Chroma. The stamp is a key of the collection's own metadata, beside whatever is there."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from f2llm_core.errors import StoreError
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores.base import (
    Entry,
    Match,
    Metadata,
    Records,
    batches,
    in_order,
    pages,
    store_errors,
)
from f2llm_core.stores.filters import Where, to_chroma

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

# Key of the stamp, a JSON string as Chroma's metadata is flat; and name of the embedding function.
STAMP = "f2llm"

# Rows listed at a time: Chroma counts its way to where a page begins, so few large ones.
_LISTED = 10_000
_PATIENCE = 2.0  # seconds of waiting for another process before it is said
_LOGGER = logging.getLogger(__name__)


class ChromaStore:
    """One collection. What a row holds is the same in Chroma, LangChain and LlamaIndex."""

    def __init__(self, collection: Collection) -> None:
        """Use a collection of any client.

        Args:
            collection: Nothing of it is read yet.
        """
        self._collection = collection
        self._max_batch_size: int | None = None

    @property
    def name(self) -> str:
        """What and which it is."""
        return f"Chroma collection {self._collection.name!r}"

    @property
    def max_batch_size(self) -> int:
        """What Chroma says of itself; asked once."""
        if self._max_batch_size is None:
            with store_errors(self.name, "tell its batch size"):
                self._max_batch_size = int(self._collection._client.get_max_batch_size())
        return self._max_batch_size

    @property
    def space(self) -> str:
        """How Chroma measures distances: `"cosine"`, `"l2"` or `"ip"`."""
        configuration = self._now().configuration_json
        index = configuration.get("hnsw") or configuration.get("spann") or {}
        return str(index.get("space") or "l2")

    @property
    def width(self) -> int | None:
        """Of the first row ever written, which Chroma holds all others to."""
        width: int | None = self._now().dimension
        return width

    @property
    def id_namespace(self) -> str:
        """Empty: ids are the collection's own."""
        return ""

    def read_stamp(self) -> dict[str, Any] | None:
        """Return the stamp as it is now, not as it was when the collection was opened.

        Without one, it is that of the collection's own `F2LLMEmbeddingFunction`, if it has one.
        """
        now = self._now()
        function = now.configuration_json.get("embedding_function") or {}
        if STAMP in (now.metadata or {}):
            stamp = _parsed(now.metadata[STAMP])
        elif function.get("name") == STAMP:
            stamp = function.get("config", {}).get("fingerprint")
        else:
            return None
        return stamp if isinstance(stamp, dict) else None

    def write_stamp(self, stamp: Metadata) -> None:
        """Write the stamp, keeping the rest of the collection's metadata."""
        # Chroma replaces all of it, and refuses the key of the distance, which lives on elsewhere.
        metadata = self._now().metadata or {}
        kept = {k: v for k, v in metadata.items() if not k.startswith("hnsw:")}
        with store_errors(self.name, "keep its stamp"):
            self._collection.modify(metadata=kept | {STAMP: json.dumps(dict(stamp))})

    def refusal(self, document: str, metadata: Metadata) -> str | None:
        """Say what Chroma's own check of metadata says, and what it lets pass but cannot write."""
        from chromadb.api.types import validate_metadata

        given: dict[str, Any] = dict(metadata)
        try:
            if given:  # which it wants not empty, and upsert makes None
                validate_metadata(given)
        except (TypeError, ValueError) as error:
            return f"{error!s:.300}".rstrip(".")
        for key, value in metadata.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, int) and not -(2**63) <= one < 2**63:
                    return f"the number at {key!r} of its metadata has more than 64 bits"
                if isinstance(one, float) and not math.isfinite(one):
                    return f"the number at {key!r} of its metadata is {one}, which Chroma drops"
        return "its metadata has an empty key" if "" in metadata else None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait for others at a folder: Chroma keeps its vectors in files without locks.

        A Chroma server needs nothing of the kind.

        Raises:
            StoreError: The folder cannot be written.
        """
        from filelock import FileLock, Timeout

        settings = self._collection._client._system.settings
        if not settings.is_persistent or settings.chroma_server_host:
            yield
            return
        folder = Path(settings.persist_directory)
        if not (folder / "chroma.sqlite3").exists():  # a relative path, and no longer from there
            msg = (
                f"{self.name}: its database is not in {folder.absolute()} any more. Give Chroma's "
                "client an absolute path if the working directory changes."
            )
            raise StoreError(msg)
        lock = FileLock(folder / "f2llm.lock")
        with store_errors(self.name, "be locked for writing"):
            try:
                lock.acquire(timeout=_PATIENCE)
            except Timeout:
                _LOGGER.warning("%s: waiting until another process has written", self.name)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def count(self) -> int:
        """Return the number of rows."""
        with store_errors(self.name, "count its rows"):
            return self._collection.count()

    def entries(self, keys: Sequence[str] = ()) -> Iterator[Entry]:
        """Yield every row's id; rows that others add or delete meanwhile may be missed."""
        offset = 0
        size = min(_LISTED, self.max_batch_size)
        while True:
            with store_errors(self.name, "list its rows"):
                page = self._collection.get(
                    limit=size, offset=offset, include=["metadatas"] if keys else []
                )
            found: list[Any] = page["metadatas"] or [None] * len(page["ids"])
            for id_, metadata in zip(page["ids"], found, strict=True):
                yield Entry(id_, {k: metadata[k] for k in keys if metadata and k in metadata})
            offset += size
            if len(page["ids"]) < size:
                return

    def get(self, ids: Sequence[str]) -> Records:
        """Return rows in the order of `ids`."""
        found = {}
        for page in pages(ids):
            with store_errors(self.name, "read rows"):
                rows = self._collection.get(
                    ids=page, include=["documents", "metadatas", "embeddings"]
                )
            columns = (rows["documents"], rows["metadatas"], rows["embeddings"])
            documents, metadatas, vectors = (
                [None] * len(rows["ids"]) if column is None else column for column in columns
            )
            for id_, document, metadata, vector in zip(
                rows["ids"], documents, metadatas, vectors, strict=True
            ):
                found[id_] = (document, metadata or {}, vector)
        return in_order(self.name, ids, found)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        documents: Sequence[str],
        metadatas: Sequence[Metadata],
    ) -> None:
        """Write rows; see `VectorStore.upsert`."""
        given = batches(self, ids, vectors, documents, metadatas)
        for keys, rows, texts, metadata in given:
            with store_errors(self.name, f"write {len(keys)} rows"):
                self._collection.upsert(
                    ids=keys,
                    embeddings=rows,
                    documents=texts,
                    metadatas=self._replacing(keys, metadata),
                )

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""
        for page in pages(ids):
            with store_errors(self.name, f"delete {len(page)} rows"):
                self._collection.delete(ids=page)

    def search(self, vector: Vectors, k: int, *, where: Where | None = None) -> list[Match]:
        """Return the nearest rows by the collection's own distance, as cosines of unit vectors."""
        chosen = to_chroma(where)
        with store_errors(self.name, "search"):
            found = self._collection.query(
                query_embeddings=vector[None], n_results=k, where=chosen, include=["distances"]
            )
        distances = np.asarray((found["distances"] or [[]])[0])
        similarities = 1 - (distances / 2 if self.space == "l2" else distances)
        return list(map(Match, found["ids"][0], similarities.tolist()))

    def _now(self) -> Any:  # noqa: ANN401  (Chroma's model of a collection)
        """Return what the database, not this process, knows of the collection."""
        collection = self._collection
        with store_errors(self.name, "be opened"):
            return collection._client.get_collection(
                name=collection.name, tenant=collection.tenant, database=collection.database
            )

    def _replacing(self, ids: list[str], metadatas: list[dict[str, Any]]) -> list[Any]:
        """Return metadata that leaves nothing of what the rows had: Chroma merges the two."""
        rows = self._collection.get(ids=ids, include=["metadatas"])
        before = dict(zip(rows["ids"], rows["metadatas"] or [], strict=True))
        gone = [dict.fromkeys(before.get(id_) or {}) for id_ in ids]
        return [(old | new) or None for old, new in zip(gone, metadatas, strict=True)]


def _parsed(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None  # somebody else's key


def from_collection(collection: Collection) -> ChromaStore:
    """Use a collection."""
    return ChromaStore(collection)


def from_wrapper(store: Any) -> ChromaStore:  # noqa: ANN401  (not imported)
    """Use the collection of LangChain's `Chroma` or LlamaIndex's `ChromaVectorStore`.

    Raises:
        StoreError: It was deleted through this store.
    """
    with store_errors(f"The collection of this {type(store).__name__}", "be opened"):
        return ChromaStore(store._collection)
