"""What every store shares."""

from __future__ import annotations

import re

import numpy as np
import pytest

from f2llm_core import ConfigurationError, StoreError, open_store
from f2llm_core.errors import NonFiniteError
from f2llm_core.stores.base import in_order, sample, store_errors
from store_kinds import MemoryStore


def filled(n):
    store = MemoryStore()
    store.upsert([str(i) for i in range(n)], np.ones((n, 8), np.float32), ["t"] * n, [{}] * n)
    return store


@pytest.mark.parametrize(("rows", "n"), [(20, 5), (2, 1), (3, 2)])
def test_a_sample_is_fair(rows, n):
    store = filled(rows)
    seen = np.zeros(rows)
    for seed in range(2000):
        for id_ in sample(store, n, seed).ids:
            seen[int(id_)] += 1
    assert abs(seen / 2000 - n / rows).max() < 0.05


def test_rows_of_several_widths_are_said():
    found = {"a": ("t", {}, np.ones(8)), "b": ("t", {}, np.ones(9))}
    with pytest.raises(StoreError, match="of 8, 9 dimensions"):
        in_order("Memory", ["a", "b"], found)


def test_a_row_that_lost_its_vector_counts_as_missing():
    assert in_order("Memory", ["a"], {"a": ("t", {}, None)}).ids == []


def test_vectors_that_are_no_rows_are_refused():
    for shape in ((2,), (2, 4, 2)):
        with pytest.raises(StoreError, match=re.escape(f"vectors of shape {shape}")):
            MemoryStore().upsert(["a", "b"], np.ones(shape, np.float32), ["t"] * 2, [{}] * 2)


def test_a_clients_error_becomes_ours_and_ours_stays():
    expected = pytest.raises(StoreError, match="Memory could not write: KeyError: 'x'")
    with expected as caught, store_errors("Memory", "write"):
        raise KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(NonFiniteError), store_errors("Memory", "write"):
        raise NonFiniteError("ours", rows=[0])


def test_batches_before_the_failed_one_stay():
    store = MemoryStore(max_batch_size=2)
    writes = store.rows

    class Full(dict):
        def __ior__(self, other):
            if len(writes) >= 4:
                raise OSError("disk full")
            writes.update(other)
            return self

    store.rows = Full()
    with pytest.raises(OSError, match="disk full"):
        store.upsert(list("abcdef"), np.ones((6, 8), np.float32), ["t"] * 6, [{}] * 6)
    assert sorted(writes) == list("abcd")


def test_what_is_no_store_is_refused():
    for thing in (None, "papers", {}, object()):
        with pytest.raises(ConfigurationError, match=r"no store that this library knows.*Chroma"):
            open_store(thing)
