"""Threads that share a model get their own vectors, each in its own role and width."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from f2llm_core import F2LLM
from faults.figures import Tally
from faults.stubs import calling

THREADS = 16


def check_threads(send, answers, calls):
    """Call from many threads at once and compare every row.

    Args:
        send: `Request` to rows; under test.
        answers: The right rows.
        calls: How many each thread makes.
    """
    tally = Tally("threads")

    def caller(seed):
        rng = random.Random(seed)
        requests = [answers.random_request(rng) for _ in range(calls)]
        return [(request, _outcome(send, request)) for request in requests]

    with ThreadPoolExecutor(THREADS) as pool:
        for request, outcome in [
            pair for made in pool.map(caller, range(THREADS)) for pair in made
        ]:
            tally.tried += 1
            if isinstance(outcome, Exception):
                tally.fault("errors", f"{request}: {outcome!r}")
            else:
                for _ in range(answers.wrong(request, outcome)):
                    tally.fault("wrong rows", request)
    return tally


def _outcome(send, request):
    try:
        return send(request)
    except Exception as error:
        return error


def test_threads(checkpoint, answers, amount, prove):
    encoder = F2LLM(checkpoint, dtype="float32")  # not loaded yet: that is part of it
    prove(check_threads(lambda request: request.send(encoder), answers, amount(500, 20)))


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (calling.send_through_shared_state, "wrong rows"),
        (calling.send_one_at_a_time_or_fail, "errors"),
        (calling.send_for_whoever_asks, "wrong rows"),
    ],
)
def test_a_broken_sharing_is_found(checkpoint, answers, broken, found):
    send = broken(F2LLM(checkpoint, dtype="float32"))
    assert check_threads(send, answers, calls=10).found[found] > 0
