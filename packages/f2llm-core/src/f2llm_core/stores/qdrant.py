"""Qdrant, served or embedded. The stamp is a key of the collection's metadata (Qdrant 1.16 on).

Under the cosine distance Qdrant normalises what it stores, so that vectors read back are of unit
length whatever was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from f2llm_core.errors import ConfigurationError, StoreError
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores.base import (
    PAGE,
    Entry,
    Match,
    Metadata,
    Records,
    batches,
    in_order,
    pages,
    store_errors,
)
from f2llm_core.stores.filters import Where, to_qdrant
from f2llm_core.stores.qdrant_layouts import LangChainLayout, Layout, LlamaIndexLayout

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

STAMP = "f2llm"  # key of the stamp

# A server takes 32 MiB a request: 5120 dimensions at 20 bytes of JSON each, and room for the text.
_BATCH = 256


class _Dense(NamedTuple):
    """One kind of vector that a collection's points have."""

    name: str
    params: models.VectorParams


class QdrantStore:
    """One collection, in the layout of the framework whose store it was opened from.

    Ids are UUIDs or unsigned integers; Qdrant has no others.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        layout: Layout,
        *,
        vector_name: str = "",
        create: Callable[[int], object] | None = None,
        hybrid: bool = False,
    ) -> None:
        """Use a collection.

        Args:
            client: Of a server or of a folder.
            collection: Its name.
            layout: Of the payloads.
            vector_name: Which of a point's vectors, if the collection has named ones.
            create: Makes the collection, of the width given, if it is not there.
            hybrid: Whether its points need sparse vectors, too, which are not made here.
        """
        self._client = client
        self._collection = collection
        self._layout = layout
        self._vector_name = vector_name
        self._create = create
        self._hybrid = hybrid

    @property
    def name(self) -> str:
        """What and which it is."""
        return f"Qdrant collection {self._collection!r}"

    @property
    def max_batch_size(self) -> int:
        """Few enough rows for one request at any width."""
        return _BATCH

    @property
    def width(self) -> int | None:
        """What the collection was created with; None as long as it is not there."""
        dense = self._dense()
        return int(dense.params.size) if dense else None

    @property
    def id_namespace(self) -> str:
        """Empty: ids are the collection's own."""
        return ""

    def read_stamp(self) -> dict[str, Any] | None:
        """Return the stamp."""
        config = self._config()
        stamp = config and (getattr(config, "metadata", None) or {}).get(STAMP)
        return stamp if isinstance(stamp, dict) else None

    def write_stamp(self, stamp: Metadata) -> None:
        """Write the stamp, making the collection first if its framework does that with rows.

        Raises:
            StoreError: Also if the server keeps no metadata, being older than 1.16.
        """
        self._made(int(stamp["dimensions"]))
        with store_errors(self.name, "keep its stamp"):
            self._client.update_collection(self._collection, metadata={STAMP: dict(stamp)})
        if self.read_stamp() != dict(stamp):
            msg = (
                f"{self.name} keeps no metadata, and so no stamp: that needs Qdrant 1.16 or newer."
            )
            raise StoreError(msg)

    def refusal(self, document: str, metadata: Metadata) -> str | None:
        """Say so of metadata that would stand where the text does; a payload is any JSON."""
        return self._layout.refusal(metadata)

    def exclusive(self) -> AbstractContextManager[object]:
        """A server takes any number of writers; a folder's client locks it itself."""
        self._check_writable()
        return nullcontext()

    def count(self) -> int:
        """Return the number of rows."""
        if self._config() is None:
            return 0
        with store_errors(self.name, "count its rows"):
            return int(self._client.count(self._collection).count)

    def entries(self, keys: Sequence[str] = ()) -> Iterator[Entry]:
        """Yield every row's id, in the order of ids."""
        offset = None
        wanted = [self._layout.path(key) for key in keys] or False
        while self._config() is not None:
            with store_errors(self.name, "list its rows"):
                points, offset = self._client.scroll(
                    self._collection, limit=PAGE, offset=offset, with_payload=wanted
                )
            for point in points:
                _, metadata = self._layout.unpack(point.payload or {})
                yield Entry(str(point.id), {k: metadata[k] for k in keys if k in metadata})
            if offset is None:
                return

    def get(self, ids: Sequence[str]) -> Records:
        """Return rows in the order of `ids`."""
        found: dict[str, tuple[str | None, Metadata, Any]] = {}
        dense = self._dense()
        using = dense.name if dense else ""
        for page in pages(ids) if dense else ():
            with store_errors(self.name, "read rows"):
                points = self._client.retrieve(
                    self._collection, [_point_id(i) for i in page], with_vectors=True
                )
            for point in points:
                vector = point.vector[using] if isinstance(point.vector, dict) else point.vector
                found[str(point.id)] = (*self._layout.unpack(point.payload or {}), vector)
        return in_order(self.name, ids, found)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        documents: Sequence[str],
        metadatas: Sequence[Metadata],
    ) -> None:
        """Write rows; see `VectorStore.upsert`. A folder is written row by row, not by batch."""
        from qdrant_client import models

        self._check_writable()
        given = batches(self, ids, vectors, documents, metadatas)
        using = None
        for keys, part, texts, metadata in given:
            using = self._made(part.shape[1]) if using is None else using
            values: Any = {using: part.tolist()} if using else part.tolist()
            batch = models.Batch(
                ids=[_point_id(key) for key in keys],
                vectors=values,
                payloads=list(map(self._layout.pack, texts, metadata)),
            )
            with store_errors(self.name, f"write {len(keys)} rows"):
                self._client.upsert(self._collection, points=batch)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""
        for page in pages(ids):
            with store_errors(self.name, f"delete {len(page)} rows"):
                self._client.delete(self._collection, [_point_id(i) for i in page])

    def search(self, vector: Vectors, k: int, *, where: Where | None = None) -> list[Match]:
        """Return the nearest rows by the collection's distance, with exact cosines."""
        chosen = to_qdrant(where, self._layout.path)
        dense = self._dense()
        if dense is None:
            return []
        with store_errors(self.name, "search"):
            points = self._client.query_points(
                self._collection,
                query=vector.tolist(),
                using=dense.name or None,
                query_filter=chosen,
                limit=k,
                with_payload=False,
            ).points
        euclidean = dense.params.distance == "Euclid"
        scores = [1 - p.score**2 / 2 if euclidean else p.score for p in points]
        return [Match(str(p.id), s) for p, s in zip(points, scores, strict=True)]

    def _config(self) -> models.CollectionConfig | None:
        """Return how the collection is made; None if it is not there."""
        with store_errors(self.name, "be opened"):
            if not self._client.collection_exists(self._collection):
                return None
            return self._client.get_collection(self._collection).config

    def _dense(self) -> _Dense | None:
        """Return which of a point's vectors is meant; None if the collection is not there."""
        config = self._config()
        if config is None:
            return None
        vectors = config.params.vectors
        if not isinstance(vectors, dict):
            return _Dense("", vectors) if vectors else None
        if self._vector_name in vectors or len(vectors) == 1:
            name = self._vector_name if self._vector_name in vectors else next(iter(vectors))
            return _Dense(name, vectors[name])
        known = ", ".join(vectors) or "none"
        msg = f"{self.name} has no dense vectors {self._vector_name!r}, but these: {known}."
        raise StoreError(msg)

    def _check_writable(self) -> None:
        if self._hybrid:
            msg = (
                f"{self.name} is for hybrid search, and no sparse vectors are made here: add "
                "documents by the framework's own methods. guard and audit work on it."
            )
            raise StoreError(msg)

    def _made(self, width: int) -> str:
        """Return the name of the vectors, of a collection that is there from now on."""
        dense = self._dense()
        if dense is None and self._create is not None:
            with store_errors(self.name, "be created"):
                self._create(width)
            dense = self._dense()
        if dense is None:
            msg = f"{self.name} does not exist. Create it first, with the cosine distance."
            raise StoreError(msg)
        return dense.name


def _point_id(id_: str) -> int | str:
    number = id_.isascii() and id_.isdecimal()
    return int(id_) if number and str(int(id_)) == id_ else id_  # "007" is another id than 7


def from_langchain(store: Any) -> QdrantStore:  # noqa: ANN401  (not imported)
    """Wrap the collection of a `langchain_qdrant.QdrantVectorStore`."""
    layout = LangChainLayout(store.content_payload_key, store.metadata_payload_key)
    return QdrantStore(
        store.client,
        store.collection_name,
        layout,
        vector_name=store.vector_name,
        hybrid=store.retrieval_mode != "dense",
    )


def from_llama_index(store: Any) -> QdrantStore:  # noqa: ANN401
    """Wrap the collection of a `llama_index` `QdrantVectorStore`, which makes it when it must.

    Raises:
        ConfigurationError: It is asynchronous.
    """
    if store.client is None:
        msg = "This QdrantVectorStore works asynchronously only; pass it client=, too, for this."
        raise ConfigurationError(msg)
    return QdrantStore(
        store.client,
        store.collection_name,
        LlamaIndexLayout(store.text_key or "text"),
        vector_name=store.dense_vector_name,
        create=lambda width: _create(store, width),
        hybrid=store.enable_hybrid,
    )


def _create(store: Any, width: int) -> None:  # noqa: ANN401
    store._create_collection(store.collection_name, width)
    store._collection_initialized = True
    store._detect_vector_format(store.collection_name)  # as it does when it opens one
