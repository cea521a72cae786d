"""Rows of documents that are no more, removed after all others are stored."""

from __future__ import annotations

import hashlib
from array import array
from contextlib import suppress
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from f2llm_core.indexing.records import SOURCE, Row
from f2llm_core.stores import VectorStore

#: Rows of which sources are removed if they did not come again: of those that came, or of all.
RemoveMissing = Literal["source", "collection"]

_ID = 16  # bytes of a UUID


class FormerRows:
    """The rows that a collection held before a call, against those that came.

    Rows that another process writes meanwhile are none of these: whoever removes the versions of
    others would, with two at work, leave none. What others than `index` wrote is not looked at.

    It takes 24 bytes for each row of the collection and 16 for each that came; ids and sources are
    known by 64 bits of their hashes, so that two are mistaken for one less often than disks fail.

    Attributes:
        replaced: Rows removed for which others of their source came.
        removed: Rows removed besides.
    """

    def __init__(self, store: VectorStore, remove_missing: RemoveMissing | None) -> None:
        """Read the ids of a collection.

        Args:
            store: The collection.
            remove_missing: Which rows to remove; None, none.
        """
        self.replaced = self.removed = 0
        self._store = store
        self._mode = remove_missing
        self._ids, self._sources = bytearray(), array("Q")
        self._came_ids, self._came_sources = array("Q"), array("Q")
        self._new_sources = array("Q")
        for entry in store.entries([SOURCE]) if remove_missing else ():
            if SOURCE in entry.metadata:
                with suppress(ValueError):  # a copy by others, under an id of theirs
                    self._ids += UUID(entry.id).bytes
                    self._sources.append(_short(str(entry.metadata[SOURCE])))

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
