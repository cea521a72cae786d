"""The seam between this library and vector stores: what an index needs of one, and no more.

Every store is used through the client object that LangChain's and LlamaIndex's own classes wrap, so
that both sides see the same rows in the same layout.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from f2llm_core.errors import F2LLMError, NonFiniteError, StoreError
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores.filters import Where

#: What is kept beside a document: keys and values that JSON can hold.
Metadata = Mapping[str, Any]

PAGE = 1000  # rows read at a time


class Entry(NamedTuple):
    """A row without its text and vector.

    Attributes:
        id: Of the row.
        metadata: Only the keys that were asked for, as far as the row has them.
    """

    id: str
    metadata: dict[str, Any]


class Records(NamedTuple):
    """Rows in full.

    Attributes:
        ids: One a row.
        documents: Their texts; None where the store holds none.
        metadatas: What is kept beside them.
        vectors: `(len(ids), width)` float32, as stored.
    """

    ids: list[str]
    documents: list[str | None]
    metadatas: list[dict[str, Any]]
    vectors: Vectors


class Match(NamedTuple):
    """A row that was found.

    Attributes:
        id: Of the row.
        similarity: Cosine of its vector with the one that was asked for, as far as the store is
            exact.
    """

    id: str
    similarity: float


@runtime_checkable
class VectorStore(Protocol):
    """One collection of a vector store, for indexing, guarding and auditing.

    Ids are strings; UUIDs as `str(uuid)` writes them fit every store. What goes wrong in the store
    itself is a `StoreError` that holds the store's own error as its cause.
    """

    @property
    def name(self) -> str:
        """What and which it is, for messages: `"Chroma collection 'papers'"`."""

    @property
    def max_batch_size(self) -> int:
        """Rows that the store takes at once."""

    @property
    def width(self) -> int | None:
        """Dimensions of the vectors that it holds or was made for; None as long as any will do."""

    @property
    def id_namespace(self) -> str:
        """What ids are to be made with, if other collections share them; empty if none do."""

    def read_stamp(self) -> dict[str, Any] | None:
        """Return what `write_stamp` left here, by whichever process; None if nothing."""

    def write_stamp(self, stamp: Metadata) -> None:
        """Keep a JSON object with the collection itself, apart from its rows.

        Args:
            stamp: Its `"dimensions"` decide the width of a collection that is only made with it.
        """

    def refusal(self, document: str, metadata: Metadata) -> str | None:
        """Say why the store cannot hold such a row, before it is embedded; None if it can."""

    def exclusive(self) -> AbstractContextManager[object]:
        """Keep other writers of this kind out meanwhile, where the store cannot take two.

        Raises:
            StoreError: It cannot be written.
        """

    def count(self) -> int:
        """Return the number of rows."""

    def entries(self, keys: Sequence[str] = ()) -> Iterator[Entry]:
        """Yield every row's id, read in pages, in an order of the store's own.

        Args:
            keys: Metadata to bring along.
        """

    def get(self, ids: Sequence[str]) -> Records:
        """Return rows in the order of `ids`; those not there, or without a vector, are left out."""

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        documents: Sequence[str],
        metadatas: Sequence[Metadata],
    ) -> None:
        """Write rows in batches that the store takes, replacing those of the same id.

        A batch is written whole or not at all. If one fails, those before it stay.

        Args:
            ids: n of them, all different.
            vectors: `(n, width)` float32.
            documents: The n texts.
            metadatas: n mappings; None values are dropped, as not every store holds them.

        Raises:
            NonFiniteError: A vector that is NaN, infinite or zero; nothing was written.
            StoreError: The lengths differ, an id comes twice, or the store cannot hold a row;
                nothing was written. Or the store failed.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; those that are not there are passed over."""

    def search(self, vector: Vectors, k: int, *, where: Where | None = None) -> list[Match]:
        """Return the nearest rows by cosine, nearest first.

        Args:
            vector: `(width,)` float32.
            k: How many; fewer if there are not so many.
            where: Only rows whose metadata passes this filter; see `f2llm_core.stores.filters`.

        Raises:
            ConfigurationError: `where` is no filter.
        """


def sample(store: VectorStore, n: int, seed: int = 0) -> Records:
    """Return up to `n` rows, each with the same chance; the same ones for the same seed and ids.

    Args:
        store: Every id is read, but no other row than those.
        n: How many.
        seed: Of the choice.
    """
    chosen: list[str] = []
    choice = random.Random(seed)  # noqa: S311  (no secret)
    for index, entry in enumerate(store.entries()):
        if index < n:
            chosen.append(entry.id)
        elif (place := choice.randrange(index + 1)) < n:
            chosen[place] = entry.id
    return store.get(chosen)


def batches(
    store: VectorStore,
    ids: Sequence[str],
    vectors: npt.ArrayLike,
    documents: Sequence[str],
    metadatas: Sequence[Metadata],
) -> Iterator[tuple[list[str], Vectors, list[str], list[dict[str, Any]]]]:
    """Check the rows of an `upsert`, all before the first, and yield them in batches.

    Args:
        store: That is to hold them.
        ids: As in `VectorStore.upsert`, as are the others.
        vectors: `(n, width)`.
        documents: n texts.
        metadatas: n mappings.

    Raises:
        NonFiniteError: A vector that is NaN, infinite or zero.
        StoreError: The lengths differ, an id comes twice, or the store cannot hold a row.
    """
    name, size = store.name, store.max_batch_size
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = len(ids), len(rows), len(documents), len(metadatas)
    if rows.ndim != 2 or len(set(lengths)) != 1:
        msg = (
            f"{name}: {lengths[0]} ids, vectors of shape {rows.shape}, {lengths[2]} documents and "
            f"{lengths[3]} metadatas; expected as many of each, and (n, width) vectors."
        )
        raise StoreError(msg)
    if len(set(ids)) != len(ids):
        twice = next(id_ for id_, times in Counter(ids).items() if times > 1)
        msg = f"{name}: the id {twice!r} comes twice in one call; keep one row of each id."
        raise StoreError(msg)
    bad = np.flatnonzero(~searchable(rows))
    if bad.size:
        msg = (
            f"{name}: {bad.size} of {len(rows)} vectors are NaN, infinite or zero, the first is of "
            f"id {ids[bad[0]]!r}. Nothing was written."
        )
        raise NonFiniteError(msg, rows=bad.tolist())
    for id_, document, metadata in zip(ids, documents, metadatas, strict=True):
        if reason := store.refusal(document, metadata):
            msg = f"{name} cannot hold the row of id {id_!r}: {reason}. Nothing was written."
            raise StoreError(msg)
    for start in range(0, len(ids), size):
        part = slice(start, start + size)
        kept = [{k: v for k, v in m.items() if v is not None} for m in metadatas[part]]
        yield list(ids[part]), rows[part], list(documents[part]), kept


def searchable(vectors: Vectors) -> npt.NDArray[np.bool_]:
    """Tell which rows a search can find, `(n,)`: not those that are NaN, infinite or zero."""
    return np.asarray(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))


def pages(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ids in pieces of `PAGE`."""
    return (list(ids[start : start + PAGE]) for start in range(0, len(ids), PAGE))


def in_order(
    name: str,
    ids: Iterable[str],
    found: Mapping[str, tuple[str | None, Metadata, Any]],
) -> Records:
    """Put rows into the order of `ids`.

    Args:
        name: The store's.
        ids: As they were asked for.
        found: Document, metadata and vector of each row that is there.

    Raises:
        StoreError: The vectors are of several widths.
    """
    kept = [id_ for id_ in ids if id_ in found and found[id_][2] is not None]
    rows = [np.asarray(found[id_][2], dtype=np.float32) for id_ in kept]
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        msg = (
            f"{name} holds vectors of {', '.join(map(str, widths))} dimensions. Only one width can "
            "be searched: find out which rows are of another model, and index them again."
        )
        raise StoreError(msg)
    vectors = np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)
    documents = [found[id_][0] for id_ in kept]
    return Records(kept, documents, [dict(found[id_][1]) for id_ in kept], vectors)


@contextmanager
def store_errors(name: str, doing: str) -> Iterator[None]:
    """Turn what a store's client raises into a `StoreError`.

    Args:
        name: The store's.
        doing: What was tried, to follow "could not".

    Raises:
        StoreError: Whatever was raised, save errors of this library.
    """
    try:
        yield
    except F2LLMError:
        raise
    except Exception as error:  # clients raise what they like
        msg = f"{name} could not {doing}: {type(error).__name__}: {error}"
        raise StoreError(msg) from error
