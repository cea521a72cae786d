"""A model goes along into processes, however they are started and whenever it was loaded."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from faults.figures import Tally
from faults.processes import lines_of
from faults.starting import TEXT

METHODS = multiprocessing.get_all_start_methods()
SECONDS = 30
IN_SHORT = {("fork", "before"): 2, ("spawn", "before"): 1}
LEAST_COSINE = 0.99999


def check_start(folder, method, when, count, right, *, child="embed", seconds=SECONDS):
    """Start processes that embed with their parent's encoder.

    Args:
        folder: The model.
        method: How to start them.
        when: Whether the model is loaded `before` or `after`.
        count: How many.
        right: The vector that each should answer with.
        child: What each does; broken on purpose, if not `embed`.
        seconds: How long each may take.
    """
    answers = lines_of(
        "faults.starting",
        *(folder, method, when, count, seconds, child),
        timeout=count * seconds + 60,
        OMP_NUM_THREADS="2",  # with threads that a fork leaves behind
    )
    tally = Tally("starts", tried=count)
    assert len(answers) == count + 1
    for answer in answers:
        if answer == "hangs":
            tally.fault("ends after more than 30 s", f"{method}, loaded {when}")
        elif answer == "died" or not _is(answer, right):
            tally.fault("wrong vectors", f"{method}, loaded {when}: {answer[:20]}")
    return tally


def _is(answer, right):
    vector = np.frombuffer(bytes.fromhex(answer), dtype=np.float32)
    return vector @ right >= LEAST_COSINE


@pytest.fixture(scope="module")
def right(encoder):
    return encoder.encode_query(TEXT)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", METHODS)
def test_processes(checkpoint, right, full, prove, method, when):
    count = 20 if full else IN_SHORT.get((method, when), 0)
    if not count:
        pytest.skip("in a full run only: a process takes seconds to import torch")
    prove(check_start(checkpoint, method, when, count, right))


@pytest.mark.parametrize(
    ("child", "seconds", "found"),
    [
        ("hang", 1, "ends after more than 30 s"),
        ("die", SECONDS, "wrong vectors"),
        ("embed_another", SECONDS, "wrong vectors"),
    ],
)
def test_a_broken_process_is_found(checkpoint, right, child, seconds, found):
    tally = check_start(checkpoint, "fork", "after", 1, right, child=child, seconds=seconds)
    assert tally.found[found] == 1
