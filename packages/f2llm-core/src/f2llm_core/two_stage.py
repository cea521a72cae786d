"""Search in two stages: a shortlist by the first dimensions of a vector, then the order by all.

The index of a vector store is held in memory, and most of it is vectors. Here it holds only their
first dimensions, which a Matryoshka model puts most into; the whole ones lie in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from f2llm_core.errors import ConfigurationError, FingerprintError, StoreError
from f2llm_core.full_vectors import FullVectors
from f2llm_core.matryoshka import Vectors, check_dimensions, truncate
from f2llm_core.options import check_positive
from f2llm_core.stores import Entry, Match, Metadata, Records, open_store
from f2llm_core.stores.base import batches
from f2llm_core.stores.filters import Where

#: Rows on the shortlist where nothing is said.
FETCH_K = 200

_FULL = "full_dimensions"  # in the collection's stamp, whose "dimensions" are those of its rows


class Found(NamedTuple):
    """A row that was found, with what is stored of it.

    Attributes:
        id: Of the row.
        score: Cosine of the whole vectors.
        document: Its text; None where the store holds none.
        metadata: What is kept beside it.
    """

    id: str
    score: float
    document: str | None
    metadata: dict[str, Any]


class TwoStageStore:
    """A collection of cut vectors with the whole ones in a file beside it, used as one store.

        store = TwoStageStore(collection, "papers.full", dimensions=64)
        index(store, F2LLM("80M"), documents)

    It pays where the index of whole vectors is large for the memory: with 64 of 1024 dimensions it
    is a tenth, and the file, in half precision, is only read, a few hundred rows a query. It never
    pays in time, which grows with `fetch_k` by some milliseconds a query, nor in a collection of
    some thousand rows, whose index is small in any width. What the shortlist misses is lost; how
    many rows it needs depends on model and data (`benchmarks/two_stage.md` in the repository), so
    measure recall against whole vectors on your own.

    Rows are written to the file first and deleted from it last, so that every row of the collection
    has its whole vector, whenever a process was killed.

    Attributes:
        dimensions: Of the vectors in the collection.
    """

    def __init__(self, collection: object, path: str | Path, *, dimensions: int) -> None:
        """Use a collection and a file; neither is written yet.

        Args:
            collection: What `open_store` takes. Its rows are written by this class only.
            path: Of the file, which the first row makes.
            dimensions: Of the cut vectors.

        Raises:
            ConfigurationError: `dimensions` is no width, or not less than that of the file, or the
                collection is of no known kind or of another width.
            StoreError: The collection is not there, or the file is another program's.
        """
        self.dimensions = check_dimensions(dimensions)
        self._cut = open_store(collection)
        self._full = FullVectors(Path(path))
        width = self._cut.width
        if width not in {None, self.dimensions}:
            msg = (
                f"dimensions={dimensions}, but {self._cut.name} holds vectors of {width}. Pass "
                f"dimensions={width}, or index into a new collection."
            )
            raise ConfigurationError(msg)
        self._check_cut(self._full.width)

    @property
    def name(self) -> str:
        """What and which it is."""
        return f"{self._cut.name} with full vectors in {self._full.path}"

    @property
    def max_batch_size(self) -> int:
        """Rows that the collection takes at once."""
        return self._cut.max_batch_size

    @property
    def width(self) -> int | None:
        """Dimensions of the whole vectors; None as long as any will do."""
        return None if self._cut.width is None else self._full.width

    @property
    def id_namespace(self) -> str:
        """That of the collection."""
        return self._cut.id_namespace

    def refusal(self, document: str, metadata: Metadata) -> str | None:
        """Say why the collection cannot hold such a row; None if it can."""
        return self._cut.refusal(document, metadata)

    def exclusive(self) -> AbstractContextManager[object]:
        """Keep other writers out of the collection, and so out of the file."""
        return self._cut.exclusive()

    def read_stamp(self) -> dict[str, Any] | None:
        """Return the stamp of the whole vectors.

        Raises:
            FingerprintError: Collection and file are not of one model.
        """
        cut, full = self._cut.read_stamp(), self._full.read_stamp()
        if cut is None:
            return None  # whatever the file holds is of an earlier collection
        if _FULL not in cut:
            msg = (
                f"{self._cut.name} was made without full vectors: there is nothing to order a "
                "shortlist by. Index the documents into a new collection."
            )
            raise FingerprintError(msg)
        stamp = {k: v for k, v in cut.items() if k != _FULL} | {"dimensions": cut[_FULL]}
        if full not in (None, stamp):
            msg = (
                f"{self._full.path} does not belong to {self._cut.name}: its vectors are of "
                f"{full.get('name')!r}, the collection's of {stamp.get('name')!r}, or otherwise "
                "made. Pass the collection's own file, or delete this one and index again."
            )
            raise FingerprintError(msg)
        return stamp

    def write_stamp(self, stamp: Metadata) -> None:
        """Keep a stamp with the collection and with the file.

        What the file holds of another stamp is kept as long as the collection has rows: they are
        given another name for the same model then, as `guard(…, adopt=True)` does.

        Raises:
            FingerprintError: The collection is empty, and the file another one's.
        """
        kept = self._full.read_stamp()
        same = kept == dict(stamp) and self._cut.read_stamp() is not None
        if kept is not None and not same and self._cut.count() == 0:
            if (owner := self._full.collection) not in {None, self._cut.name}:
                msg = (
                    f"{self._full.path} holds the full vectors of {owner}, not of "
                    f"{self._cut.name}. Choose another path; or delete the file, if that "
                    "collection is no more."
                )
                raise FingerprintError(msg)
            self._full.clear()  # the collection is made anew
        self._full.write_stamp(stamp, self._cut.name)
        narrow = {"dimensions": self.dimensions, _FULL: stamp["dimensions"]}
        self._cut.write_stamp({**stamp, **narrow})

    def count(self) -> int:
        """Return the number of rows."""
        return self._cut.count()

    def entries(self, keys: Sequence[str] = ()) -> Iterator[Entry]:
        """Yield every row's id; see `VectorStore.entries`."""
        return self._cut.entries(keys)

    def get(self, ids: Sequence[str]) -> Records:
        """Return rows with their whole vectors; those that lack one are left out."""
        rows = self._cut.get(ids)
        full = self._full.read(rows.ids)
        kept = [place for place, id_ in enumerate(rows.ids) if id_ in full]
        vectors = [full[rows.ids[place]] for place in kept]
        return Records(
            [rows.ids[place] for place in kept],
            [rows.documents[place] for place in kept],
            [rows.metadatas[place] for place in kept],
            np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32),
        )

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        documents: Sequence[str],
        metadatas: Sequence[Metadata],
    ) -> None:
        """Write rows of whole vectors; see `VectorStore.upsert`.

        Raises:
            ConfigurationError: They are not wider than the collection's.
        """
        self._check_cut(np.shape(vectors)[-1])
        if self._full.read_stamp() is None and (stamp := self.read_stamp()):
            self._full.write_stamp(stamp, self._cut.name)  # the file was lost
        given = batches(self, ids, vectors, documents, metadatas)
        for keys, rows, texts, metadata in given:
            cut = truncate(rows, self.dimensions)
            self._full.write(keys, truncate(rows))
            self._cut.upsert(keys, cut, texts, metadata)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; those that are not there are passed over."""
        self._cut.delete(ids)
        self._full.delete(ids)

    def search(
        self,
        vector: Vectors,
        k: int,
        fetch_k: int | None = None,
        *,
        where: Where | None = None,
    ) -> list[Match]:
        """Return the nearest rows by whole vectors, among the nearest by cut ones.

        Args:
            vector: `(width,)`, of a query at full width.
            k: How many; fewer if there are not so many.
            fetch_k: How many to choose from; None is `FETCH_K`, or `k` if that is more.
            where: Only rows whose metadata passes this filter; see `f2llm_core.stores.filters`.

        Raises:
            ConfigurationError: `k` or `fetch_k` is no positive integer, `fetch_k` less than `k`, or
                `where` no filter.
            StoreError: The store failed, the vector is not as wide as those in the file, or rows
                lack their whole vector.
        """
        k, fetch_k = check_sizes(k, fetch_k)
        width = self._full.width
        if width not in {None, len(vector)}:
            msg = f"{self.name}: asked with {len(vector)} dimensions, it holds vectors of {width}."
            raise StoreError(msg)
        whole = truncate(vector)
        shortlist = self._cut.search(truncate(vector, self.dimensions), fetch_k, where=where)
        ids = [match.id for match in shortlist]
        full = self._full.read(ids)
        # A row that was deleted meanwhile is in neither.
        if lost := self._cut.get([id_ for id_ in ids if id_ not in full]).ids:
            msg = (
                f"{self.name}: {len(lost)} of {len(ids)} rows found have no full vector, the first "
                f"is {lost[0]!r}. Index the same documents again, which embeds what is missing."
            )
            raise StoreError(msg)
        matches = [Match(id_, float(full[id_] @ whole)) for id_ in ids if id_ in full]
        return sorted(matches, key=lambda match: -match.similarity)[:k]

    def find(
        self,
        vector: Vectors,
        k: int,
        fetch_k: int | None = None,
        *,
        where: Where | None = None,
    ) -> list[Found]:
        """Search as `search` does, and return what is stored of the rows, too."""
        matches = self.search(vector, k, fetch_k, where=where)
        if not matches:
            return []
        rows = self._cut.get([match.id for match in matches])
        stored = dict(zip(rows.ids, zip(rows.documents, rows.metadatas, strict=True), strict=True))
        # A row that was deleted meanwhile is not there any more.
        return [Found(*match, *stored[match.id]) for match in matches if match.id in stored]

    def _check_cut(self, width: int | None) -> None:
        if width is not None and width <= self.dimensions:
            msg = (
                f"dimensions={self.dimensions}: vectors are cut to these for the shortlist, so the "
                f"whole ones must have more than {width}."
            )
            raise ConfigurationError(msg)


def check_sizes(k: int, fetch_k: int | None) -> tuple[int, int]:
    """Return how many rows to return, and how many to choose them from.

    Raises:
        ConfigurationError: They are no positive integers, or `fetch_k` is less than `k`.
    """
    k = check_positive("k", k)
    if fetch_k is None:
        return k, max(k, FETCH_K)
    fetch_k = check_positive("fetch_k", fetch_k)
    if fetch_k < k:
        msg = f"fetch_k={fetch_k} is less than k={k}: the shortlist must hold all that is returned."
        raise ConfigurationError(msg)
    return k, fetch_k
