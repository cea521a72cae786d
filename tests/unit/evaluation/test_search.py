"""Exact search by blocks: equal to sorting the whole matrix, ties and all."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from f2llm_core import NonFiniteError, truncate
from f2llm_core.evaluation.search import _Best, search


def unit(rows, width, seed):
    return truncate(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


def blocks(rows, size):
    return (rows[start : start + size] for start in range(0, len(rows), size))


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("queries", [1, 300])
def test_as_sorting_everything(size, queries):
    asked, passages = unit(queries, 32, 0), unit(200, 32, 1)
    depths = {8: 5, 16: 200, 32: 10}
    found = search(asked, blocks(passages, size), depths)
    for width, depth in depths.items():
        scores = truncate(asked, width) @ truncate(passages, width).T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        np.testing.assert_allclose(
            found[width].scores, np.take_along_axis(scores, order, axis=1), atol=1e-6
        )
        # Blocks may round the last bit otherwise, which may change places of near ties only.
        same = found[width].positions == order
        assert same.mean() > 0.99


@pytest.mark.parametrize("seed", range(20))
def test_of_equal_scores_the_earlier_passage_wins(seed):
    generator = np.random.default_rng(seed)
    count, depth = int(generator.integers(1, 60)), int(generator.integers(1, 12))
    scores = generator.choice([-1.0, -0.5, -0.0, 0.0, 0.25, 1.0], size=(9, count)).astype(
        np.float32
    )
    best = _Best(9, depth)
    first = 0
    while first < count:
        size = int(generator.integers(1, 20))
        best.add(slice(0, 9), scores[:, first : first + size], first)
        first += size
    hits = best.hits()
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    np.testing.assert_array_equal(hits.positions[:, : order.shape[1]], order)
    np.testing.assert_array_equal(
        hits.scores[:, : order.shape[1]], np.take_along_axis(scores, order, axis=1)
    )
    assert (hits.positions[:, order.shape[1] :] == -1).all()


def test_nothing_to_search():
    [hits] = search(unit(3, 16, 0), iter([]), {16: 4}).values()
    assert (hits.positions == -1).all()
    assert hits.positions.shape == (3, 4)


def test_a_row_that_cannot_be_normalised():
    with pytest.raises(NonFiniteError):
        search(unit(2, 16, 0), iter([np.zeros((1, 16), np.float32)]), {8: 1})


def test_no_matrix_of_all_scores():
    asked = unit(1000, 16, 0)
    made = (unit(1024, 16, seed) for seed in range(30))  # of all scores: 117 MiB
    tracemalloc.start()
    try:
        search(asked, made, {8: 10, 16: 10})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * 2**20
