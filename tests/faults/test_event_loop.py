"""A thousand queries at once get their own vectors, and the event loop lives on meanwhile."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from texts import many_texts

from f2llm_core import F2LLM
from faults.figures import Tally
from faults.requests import LEAST_COSINE
from faults.stubs import calling

TICK = 0.002  # seconds between two looks at the clock
LAG = "p99 loop lag in ms"


def queries(count):
    """Return different queries."""
    pool = many_texts()
    return [f"{i}: {pool[i % len(pool)][:60]}" for i in range(count)]


async def _lags(stop, lags):
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - before - TICK)


async def _at_once(embed, texts):
    """Return what every query came to, and how late the loop was at every tick."""
    lags, stop = [], asyncio.Event()
    clock = asyncio.create_task(_lags(stop, lags))
    await asyncio.sleep(10 * TICK)
    outcomes = await asyncio.gather(*map(embed, texts), return_exceptions=True)
    stop.set()
    await clock
    return outcomes, lags


def check_loop(embed, texts, right):
    """Ask all queries at once and compare every vector.

    Args:
        embed: Coroutine function, query to vector; under test.
        texts: The queries.
        right: Their vectors.
    """
    tally = Tally("loop", tried=len(texts))
    outcomes, lags = asyncio.run(_at_once(embed, texts))
    for text, row, outcome in zip(texts, right, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            tally.fault("errors", f"{text}: {outcome!r}")
        elif not row @ outcome >= LEAST_COSINE:
            tally.fault("wrong rows", text)
    tally.measure(LAG, 1000 * float(np.percentile(lags, 99)))
    return tally


def test_queries_at_once(checkpoint, encoder, full, prove):
    texts = queries(1_000 if full else 150)
    right = encoder.encode_query(texts)
    ours = F2LLM(checkpoint, dtype="float32")
    ours.encode_query("a")
    tally = check_loop(ours.aencode_query, texts, right)
    if not full:  # a clock has no place in a test that must pass on any machine
        del tally.found[LAG]
    prove(tally)


def test_a_loop_that_is_blocked_is_found(encoder):
    texts = queries(60)
    right = encoder.encode_query(texts)
    tally = check_loop(calling.aembed_in_the_loop(encoder), texts, right)
    assert tally.found[LAG] > 50  # 60 times a millisecond and more, whatever the machine


def test_queries_that_get_each_others_vectors_are_found(encoder):
    texts = queries(60)
    tally = check_loop(
        calling.aembed_last_of_the_batch(encoder), texts, encoder.encode_query(texts)
    )
    assert tally.found["wrong rows"] > 0


def test_queries_that_are_turned_away_are_found(encoder):
    texts = queries(60)
    tally = check_loop(calling.aembed_few_at_once(encoder), texts, encoder.encode_query(texts))
    assert tally.found["errors"] > 0
