"""Whenever indexing is killed, or done twice at once, nothing is lost, doubled or changed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from f2llm_core.indexing import index
from faults.figures import ROWS, Tally
from faults.processes import lines_of
from store_kinds import MemoryStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

FOUND = ("lost", "doubled", "changed")
HOUR = 3600  # in full; a process that hangs is found by `faults.killing.PATIENCE` long before


def play(checkpoint, folder, *plan):
    """Carry out plans of `faults.killing`; return what was found of each."""
    lines = lines_of(
        "faults.killing", checkpoint, folder, json.dumps(plan), timeout=HOUR, OMP_NUM_THREADS="1"
    )
    return [json.loads(line) for line in lines]


def tally_of(row, *found):
    tally = Tally(row)
    for one in found:
        tally.tried += one["kills"]
        for name in FOUND:
            if one[name]:
                tally.fault(name, one, times=one[name])
        if row == "kills":
            tally.measure("batches embedded again per kill", one["again"])
    return tally


@pytest.mark.timeout(HOUR)
def test_kills(checkpoint, tmp_path, full, prove):
    plan = ["right", "any", 5000, 512, 100, 0] if full else ["right", "any", 1000, 128, 20, 0]
    prove(tally_of("kills", *play(checkpoint, tmp_path, plan)))


@pytest.mark.timeout(HOUR)
def test_kills_inside_writes(checkpoint, tmp_path, full, prove):
    sizes = {500: 20, 1500: 20, 6000: 10} if full else {500: 2}
    plans = [["right", "writing", rows, 2 * rows, kills, rows] for rows, kills in sizes.items()]
    prove(tally_of("kills_in_writes", *play(checkpoint, tmp_path, *plans)))


def test_broken_indexing_is_found(checkpoint, tmp_path):
    expected = {
        "manifest": "lost",
        "random ids": "doubled",
        "rows shifted": "changed",
        "all at once": "batches embedded again per kill",
    }
    plans = [[how, "written", 300, 50, 1, 0] for how in expected]
    found = play(checkpoint, tmp_path, *plans)
    for one, name in zip(found, expected.values(), strict=True):
        tally = tally_of("kills", one)
        assert tally.found[name] > 1, one
        assert tally.missed()


@pytest.mark.parametrize("ruined", [range(3), [1]])
def test_vectors_that_became_nan_are_found(encoder, ruined):
    from faults.indexer import differences  # which makes processes as only POSIX can

    records = [(f"{i}.txt", f"Text {i}.") for i in range(3)]
    store = MemoryStore()
    index(store, encoder, records)
    vectors = encoder.encode_document([text for _, text in records])
    assert not any(differences(store, records, vectors).values())
    for i in ruined:
        id_ = list(store.rows)[i]
        store.rows[id_] = (store.rows[id_][0] * np.nan, *store.rows[id_][1:])
    assert differences(store, records, vectors)["changed"] == len(ruined)


def found_by(module, checkpoint, folder, *arguments):
    """Run `faults.histories` or `faults.together`; return what it found."""
    [line] = lines_of(module, checkpoint, folder, *arguments, timeout=3 * HOUR, OMP_NUM_THREADS="1")
    return json.loads(line)


def tally_of_counts(row, tried, found):
    tally = Tally(row, tried=tried)
    for name in ROWS[row].limits:
        if found[name]:
            tally.fault(name, found, times=found[name])
    return tally


@pytest.mark.timeout(3 * HOUR)
def test_histories(checkpoint, tmp_path, full, prove):
    examples, steps = (100, 200) if full else (4, 20)
    found = found_by("faults.histories", checkpoint, tmp_path, "right", examples, steps)
    assert found["kills"] > found["histories"]
    prove(tally_of_counts("histories", found["histories"], found))


@pytest.mark.timeout(HOUR)
def test_two_indexers_at_once(checkpoint, tmp_path, full, prove):
    times = 20 if full else 1
    found = found_by("faults.together", checkpoint, tmp_path, "right", times)
    prove(tally_of_counts("two_indexers", times, found))


@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize(
    ("row", "how", "arguments"),
    [("histories", "random ids", (4, 20)), ("two_indexers", "without a lock", (1,))],
)
def test_broken_indexing_is_found_there_too(checkpoint, tmp_path, row, how, arguments):
    module = {"histories": "faults.histories", "two_indexers": "faults.together"}[row]
    found = found_by(module, checkpoint, tmp_path, how, *arguments)
    assert tally_of_counts(row, 1, found).missed()
