"""Whoever stops waiting takes nothing away from the others, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random

import pytest

from f2llm_core import F2LLM
from faults.figures import Tally
from faults.requests import Request
from faults.stubs import calling

PATIENCE = 10  # seconds for one schedule
LEAST_SHARE = 0.1  # of tasks that end early, or cancelling is not what is tried


async def _one_caller(asend, request, rng, gives_up):
    """Wait for a request; the one who gives up waits for a few milliseconds only."""
    patience = rng.uniform(0, 0.006) if gives_up else PATIENCE
    return await asyncio.wait_for(asend(request), patience)


async def _one_schedule(asend, answers, rng, tally, patience, ended):
    """Let several callers wait, and some of them be cancelled or give up, all at random times."""
    requests = [answers.random_request(rng) for _ in range(rng.randint(2, 8))]
    gives_up = [rng.random() < 0.3 for _ in requests]
    tasks = [
        asyncio.create_task(_one_caller(asend, request, rng, early))
        for request, early in zip(requests, gives_up, strict=True)
    ]
    cancelled = rng.sample(tasks, rng.randint(0, len(tasks) - 1))
    for task in cancelled:
        await asyncio.sleep(rng.choice((0, 0, 0.0005, 0.002)))
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=patience)
    for task in pending:
        tally.fault("hangs", requests[tasks.index(task)])
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task, request, early in zip(tasks, requests, gives_up, strict=True):
        if task not in pending:
            may_end = early or task in cancelled
            ended.append(_judge(task, request, answers, tally, may_end=may_end))


def _judge(task, request, answers, tally, *, may_end):
    """Compare what became of a task; return whether it ended early."""
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        if wrong := answers.wrong(request, task.result()):
            tally.fault("wrong rows", request, times=wrong)
    elif not may_end or not isinstance(error, (asyncio.CancelledError, asyncio.TimeoutError)):
        tally.fault("untyped errors", f"{request}: {error!r}")
    return error is not None


def check_cancelling(asend, answers, schedules, *, patience=PATIENCE, seed=0, ended=None):
    """Play random schedules, a hundred in each event loop.

    Args:
        asend: Coroutine function, `Request` to rows; under test.
        answers: The right rows.
        schedules: How many.
        patience: Seconds after which a schedule hangs.
        seed: Of the schedules.
        ended: Takes, of every task, whether it was cancelled or gave up in time.
    """
    tally = Tally("cancelling")
    rng = random.Random(seed)
    ended = [] if ended is None else ended

    async def play(count):
        for _ in range(count):
            tally.tried += 1
            await _one_schedule(asend, answers, rng, tally, patience, ended)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            tally.fault("tasks left", left, times=len(left))

    for first in range(0, schedules, 100):
        asyncio.run(play(min(100, schedules - first)))
    return tally


def check_streams(stream, answers, streams, seed=0):
    """Abandon streams after a random number of blocks; the next one starts afresh.

    Args:
        stream: Texts and a block size to blocks of rows; under test.
        answers: The right rows.
        streams: How many.
        seed: Of the streams.
    """
    tally = Tally("cancelling")
    rng = random.Random(seed)
    for _ in range(streams):
        tally.tried += 1
        texts, size = tuple(rng.choices(answers.texts, k=rng.randint(1, 12))), rng.randint(1, 4)
        blocks = stream(texts, size)
        for first in range(0, rng.randint(0, len(texts)), size):
            part = texts[first : first + size]
            rows = next(blocks)
            if wrong := answers.wrong(Request(part, "document", None, 64), rows):
                tally.fault("wrong rows", part, times=wrong)
        blocks.close()
    return tally


@pytest.fixture(scope="module")
def shared(checkpoint):
    return F2LLM(checkpoint, dtype="float32")


def test_random_schedules(shared, answers, amount, prove):
    ended, schedules = [], amount(2_000, 60)
    prove(check_cancelling(lambda r: r.asend(shared), answers, schedules, ended=ended))
    assert sum(ended) > LEAST_SHARE * len(ended)
    assert shared.encode_query("a").shape == (64,)


def test_abandoned_streams(shared, answers, amount, prove):
    def stream(texts, size):
        return shared.iter_documents(texts, block_size=size)

    prove(check_streams(stream, answers, amount(500, 30)))


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (calling.asend_with_a_hole, "wrong rows"),
        (calling.asend_that_waits_for_the_cancelled, "hangs"),
        (calling.asend_that_leaves_a_task, "tasks left"),
        (calling.asend_that_fails_all_for_one, "untyped errors"),
    ],
)
def test_a_broken_cancelling_is_found(shared, answers, broken, found):
    tally = check_cancelling(broken(shared), answers, 12, patience=0.3)
    assert tally.found[found] > 0


def test_cancelling_that_comes_too_late_is_found(shared, answers):
    ended = []
    asend = calling.asend_that_is_never_interrupted(shared)
    check_cancelling(asend, answers, 60, ended=ended)
    assert sum(ended) < LEAST_SHARE * len(ended)


def test_a_stream_that_goes_on_where_the_last_one_ended_is_found(shared, answers):
    tally = check_streams(calling.stream_that_keeps_its_place(shared), answers, 20)
    assert tally.found["wrong rows"] > 0
