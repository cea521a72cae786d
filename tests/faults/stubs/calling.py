"""Ways to share one model that are broken on purpose, each in one way that a check must find."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time

import numpy as np


def send_through_shared_state(encoder):
    """Sets role and width on the one model, where another thread sets them, too."""
    state = {}

    def send(request):
        state["request"] = request
        time.sleep(0.0005)
        now = state["request"]
        return dataclasses.replace(now, texts=request.texts).send(encoder)

    return send


def send_one_at_a_time_or_fail(encoder):
    """Refuses a second borrower, as a tokenizer does whose settings are changed by every call."""
    borrowed = threading.Lock()

    def send(request):
        if not borrowed.acquire(blocking=False):
            msg = "Already borrowed"
            raise RuntimeError(msg)
        try:
            time.sleep(0.0005)
            return request.send(encoder)
        finally:
            borrowed.release()

    return send


def send_for_whoever_asks(encoder):
    """Merges callers and gives the rows back to the wrong ones, once in a while."""
    last, calls = {}, itertools.count()

    def send(request):
        rows = request.send(encoder)
        swapped = last.get(rows.shape)
        last[rows.shape] = rows
        return rows if swapped is None or next(calls) % 3 else swapped

    return send


def aembed_in_the_loop(encoder):
    """A coroutine only by its name."""

    async def aembed(text):
        time.sleep(0.001)
        return encoder.encode_query(text)

    return aembed


def aembed_last_of_the_batch(encoder):
    """One variable for all callers of a batch."""
    state = {}

    async def aembed(text):
        state["text"] = text
        await asyncio.sleep(0.001)
        return encoder.encode_query(state["text"])

    return aembed


def aembed_few_at_once(encoder):
    """A queue that is full."""
    waiting = []

    async def aembed(text):
        if len(waiting) >= 50:
            msg = "Model is overloaded"
            raise RuntimeError(msg)
        waiting.append(text)
        await asyncio.sleep(0.001)
        return encoder.encode_query(waiting.pop(waiting.index(text)))

    return aembed


def asend_with_a_hole(encoder):
    """Hands out rows by position, and has one too many after somebody has left."""
    rows_left = []

    async def asend(request):
        rows_left.append(request.send(encoder))
        await asyncio.sleep(0.004)  # whoever is cancelled here leaves rows behind
        return rows_left.pop(0)

    return asend


def asend_that_waits_for_the_cancelled(encoder):
    """A batch is full when as many have come as were announced; whoever leaves is missed."""
    announced, come = [], []

    async def asend(request):
        announced.append(request)
        await asyncio.sleep(0.0005)
        come.append(request)
        while len(come) < len(announced):
            await asyncio.sleep(0.001)
        return await request.asend(encoder)

    return asend


def asend_that_leaves_a_task(encoder):
    """Starts its work in a task that nobody ends with the caller."""
    tasks = set()

    async def asend(request):
        tasks.add(asyncio.create_task(asyncio.sleep(3_600)))
        return await request.asend(encoder)

    return asend


def asend_that_fails_all_for_one(encoder):
    """One cancelled caller cancels the batch of all the others."""
    together = []

    async def asend(request):
        together.append(asyncio.current_task())
        try:
            await asyncio.sleep(0.002)
            return await request.asend(encoder)
        except asyncio.CancelledError:
            for task in together:
                task.cancel()
            raise

    return asend


def asend_that_is_never_interrupted(encoder):
    """Blocks the loop until it is done, so that nobody can leave."""

    async def asend(request):
        return request.send(encoder)

    return asend


def stream_that_keeps_its_place(encoder):
    """Keeps the texts that it read ahead for the next stream."""
    ahead = []

    def stream(texts, size):
        ahead.extend(texts)
        while ahead:
            block = ahead[:size]
            del ahead[:size]
            yield encoder.encode_document(block)

    return stream


def send_in_turn(send):
    """Lets one caller in at a time, so that no batch is of several."""
    turn = threading.Lock()

    def send_alone(texts):
        with turn:
            return send(texts)

    return send_alone


def send_until_the_first_error(send):
    """A worker that an error ends, while its callers go on to wait for it."""
    dead = threading.Event()

    def send_or_fail(texts):
        if dead.is_set():
            msg = "the worker has died"
            raise RuntimeError(msg)
        try:
            return send(texts)
        except Exception:
            dead.set()
            raise

    return send_or_fail


def send_with_everybodys_errors(send):
    """Tells all callers of the error of one."""
    errors = []

    def send_or_fail(texts):
        try:
            rows = send(texts)
        except Exception as error:
            errors.append(error)
            raise
        time.sleep(0.05)
        if errors:
            raise errors[0]
        return rows

    return send_or_fail


def send_with_errors_swallowed(send):
    """Gives zeros for what could not be computed."""

    def send_anyway(texts):
        try:
            return send(texts)
        except Exception:
            return np.zeros((len(texts), 64), dtype=np.float32)

    return send_anyway
