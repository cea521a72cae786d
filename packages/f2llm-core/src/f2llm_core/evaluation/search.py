"""Exact search in bounded memory: a stream of passages, the best of each query kept, every width.

No more than a block of passages against a block of queries is ever scored at a time. Memory beyond
the model's is the query rows (cut to every width: less than three times the full ones), one block
of passage rows, `_QUERIES` x block scores with what they are compared by, and 16 bytes for each
query, width and rank kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f2llm_core.matryoshka import Vectors, truncate

_QUERIES = 256  # scored at a time
_LAST = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Hits:
    """The best passages of each query.

    Attributes:
        positions: int64 `(queries, kept)`, places in the stream, best first; -1 where there were
            fewer passages.
        scores: float32 `(queries, kept)`, cosines.
    """

    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def search(
    queries: Vectors, blocks: Iterable[Vectors], depths: Mapping[int, int]
) -> dict[int, Hits]:
    """Find the passages of highest cosine, at several widths in one pass.

    Of equal scores the earlier passage in the stream wins.

    Args:
        queries: `(n, width)` float32 of full width.
        blocks: `(m, width)` each, as wide as the queries; read once.
        depths: How many passages to keep, by width.

    Returns:
        The hits by width.

    Raises:
        NonFiniteError: A row that cannot be normalised.
    """
    cut = {width: truncate(queries, width) for width in depths}
    best = {width: _Best(len(queries), depth) for width, depth in depths.items()}
    first = 0
    for block in blocks:
        for width, rows in cut.items():
            passages = truncate(block, width)
            for start in range(0, len(rows), _QUERIES):
                part = slice(start, start + _QUERIES)
                best[width].add(part, rows[part] @ passages.T, first)
        first += len(block)
    return {width: found.hits() for width, found in best.items()}


class _Best:
    """The best passages so far. A key holds a score above a place, so that no two are equal."""

    def __init__(self, queries: int, depth: int) -> None:
        self._keys: Keys = np.zeros((queries, depth), dtype=np.uint64)

    def add(self, part: slice, scores: Vectors, first: int) -> None:
        """Merge the scores `(queries of the part, m)` of a block whose first place is given."""
        kept = self._keys[part]
        depth = kept.shape[1]
        # All but the first blocks hold few passages that could still come in.
        rows, columns = np.nonzero(scores > _scores(kept.min(axis=1))[:, None])
        if not len(rows):
            return
        counts = np.bincount(rows, minlength=len(kept))
        new = np.zeros((len(kept), int(counts.max())), dtype=np.uint64)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        new[rows, np.arange(len(rows)) - starts[rows]] = _keys(
            scores[rows, columns], first + columns
        )
        merged = np.concatenate([kept, new], axis=1)
        self._keys[part] = np.partition(merged, merged.shape[1] - depth, axis=1)[:, -depth:]

    def hits(self) -> Hits:
        keys = np.sort(self._keys, axis=1)[:, ::-1]
        positions = (_LAST - (keys & _LAST)).astype(np.int64)
        return Hits(np.where(keys == 0, -1, positions), _scores(keys))


def _keys(scores: Vectors, positions: npt.NDArray[np.int64]) -> Keys:
    """Return integers that sort like the scores, and of equal ones like earlier places."""
    bits = (scores + np.float32(0)).view(np.uint32)  # the sum turns -0 into 0, which it equals
    bits = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (bits.astype(np.uint64) << np.uint64(32)) | (_LAST - positions.astype(np.uint64))


def _scores(keys: Keys) -> npt.NDArray[np.float32]:
    """Return the scores of keys; of a key that is still zero minus infinity."""
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(bits & _SIGN, bits ^ _SIGN, ~bits)
    return np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32))
