"""Whenever indexing is killed, the same call completes it: nothing is lost, doubled or changed."""

from __future__ import annotations

import json
import os

import pytest

from faults.figures import Tally
from faults.processes import lines_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

FOUND = ("lost", "doubled", "changed")


def play(checkpoint, folder, *plan):
    """Carry out plans of `faults.killing`; return what was found of each."""
    lines = lines_of(
        "faults.killing", checkpoint, folder, json.dumps(plan), timeout=390, OMP_NUM_THREADS="1"
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


@pytest.mark.timeout(400)
def test_kills(checkpoint, tmp_path, full, prove):
    plan = ["right", "any", 5000, 512, 100, 0] if full else ["right", "any", 1000, 128, 20, 0]
    prove(tally_of("kills", *play(checkpoint, tmp_path, plan)))


@pytest.mark.timeout(400)
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
