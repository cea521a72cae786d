"""Rows of documents that are no more, removed after all others are stored."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from f2llm_core.indexing.records import SOURCE, Row
from f2llm_core.stores import VectorStore
from f2llm_core.stores.base import Entry

#: Rows of which sources are removed if they did not come again: of those that came, or of all.
RemoveMissing = Literal["source", "collection"]

_ID = 16  # bytes of a UUID
# Sources whose rows are asked for by name; for more, all rows are listed once. An index over its
# metadata, as Chroma has, would serve any number, but without one each question takes a look at
# every row, and a Qdrant folder compares every row with every name.
_FEW = 100


class FormerRows:
    """The rows that a collection held before a call, against those that came.

    Of a source, those are the rows that were there before the call wrote one of its own. Of two
    calls at once, then, one at most removes what the other wrote; never both, so one version stays.
    What others than `index` wrote is not looked at.

    It takes 24 bytes for each row of the collection, once more than a few sources have come, and 16
    for each that came; ids and sources are known by 64 bits of their hashes, so that two are
    mistaken for one less often than disks fail.

    Attributes:
        replaced: Rows removed for which others of their source came.
        removed: Rows removed besides.
    """

    def __init__(self, store: VectorStore, remove_missing: RemoveMissing | None) -> None:
        """Begin a call.

        Args:
            store: The collection; its rows are listed at once where all can be removed.
            remove_missing: Which rows to remove; None, none.
        """
        self.replaced = self.removed = 0
        self._store = store
        self._mode = remove_missing
        self._ids, self._sources = bytearray(), array("Q")
        self._came_ids, self._came_sources = array("Q"), array("Q")
        self._new_sources = array("Q")
        self._asked: set[str] = set()  # sources whose rows are known; the first few
        self._listed = remove_missing is None
        if remove_missing == "collection":
            self._list()

    def expect(self, rows: Iterable[Row]) -> None:
        """Read what the collection holds of the sources of rows, before any of them is written.

        Raises:
            StoreError: The store failed.
        """
        if self._listed:
            return
        # A row without a source is one of its own: none but itself can be there.
        new = {row.source for row in rows if row.source != row.id} - self._asked
        if len(self._asked) + len(new) > _FEW:
            self._list()
        elif new:
            self._keep(self._store.entries([SOURCE], where={SOURCE: {"$in": sorted(new)}}))
            self._asked |= new

    def came(self, row: Row) -> None:
        """Keep a row, whether the collection has it or not."""
        if self._mode:
            self._came_ids.append(UUID(row.id).int >> 64)
            self._came_sources.append(_short(row.source))

    def stored(self, row: Row) -> None:
        """Count a row that was not there."""
        if self._mode:
            self._new_sources.append(_short(row.source))

    def remove(self) -> None:
        """Remove the rows that did not come again.

        Raises:
            StoreError: The store failed; the next call removes what is left.
        """
        stale = self._stale()
        ids = [
            str(UUID(bytes=bytes(self._ids[_ID * place : _ID * (place + 1)])))
            for place in np.flatnonzero(stale)
        ]
        if ids:
            self._store.delete(ids)
        self.replaced = _in_common(_numbers(self._sources)[stale], _numbers(self._new_sources))
        self.removed = len(ids) - self.replaced

    def _list(self) -> None:
        self._keep(self._store.entries([SOURCE]))
        self._listed = True

    def _keep(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if SOURCE not in entry.metadata:
                continue
            source = str(entry.metadata[SOURCE])
            if source not in self._asked:
                with suppress(ValueError):  # a copy by others, under an id of theirs
                    self._ids += UUID(entry.id).bytes
                    self._sources.append(_short(source))

    def _stale(self) -> npt.NDArray[np.bool_]:
        ids = np.frombuffer(self._ids, dtype=">u8")[::2].astype(np.uint64)
        stale = np.isin(ids, _numbers(self._came_ids), invert=True)
        if self._mode == "source":
            stale &= np.isin(_numbers(self._sources), _numbers(self._came_sources))
        return stale


def _short(source: str) -> int:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big")


def _numbers(values: array[int]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(values, dtype=np.uint64) if values else np.empty(0, dtype=np.uint64)


def _in_common(some: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> int:
    """Count the pairs that two bags of numbers make."""
    one, ones = np.unique(some, return_counts=True)
    two, twos = np.unique(others, return_counts=True)
    _, first, second = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    return int(np.minimum(ones[first], twos[second]).sum())
