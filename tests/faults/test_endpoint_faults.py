"""Whatever a server does: the right rows or a typed error, in time, and the key is never shown."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import random
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from f2llm_core import F2LLM, EndpointError, truncate
from f2llm_core.backends.endpoint import client as clients
from faults.channels import SENTINEL, everything_said, frames, leaks
from faults.endpoint_faults import (
    RETRIES,
    Fault,
    broken,
    disguises,
    malformed,
    orders,
    redirects,
    stalls,
    statuses,
)
from faults.faulty_server import Request, Server, answer, running, vector_of
from faults.figures import Tally
from faults.stubs import serving

pytestmark = pytest.mark.enable_socket

TIMEOUT = 20.0  # seconds, where none is to be reached
SHORT = 0.5  # where it is
BESIDE = "307 to another server"
LEAST_PEAK = 32 << 20  # bytes, of a client that keeps what it need not
OVERRUN = "worst overrun of the timeout in s"


class Trial:
    """A server that answers each text as the fault says whose number it begins with."""

    def __init__(self, checkpoint, timeout=TIMEOUT):
        self.faults: list[Fault] = []
        self.attempts = collections.Counter()
        self.server: Server | None = None
        self._checkpoint = checkpoint
        self._timeout = timeout
        self._lock = threading.Lock()

    def __enter__(self):
        self._running = running(self._answer)
        self.server = self._running.__enter__()
        self.encoder = F2LLM(
            self._checkpoint,
            base_url=self.server.url,
            server_model="model",
            api_key=SENTINEL,
            timeout=self._timeout,
            max_retries=RETRIES,
            document_instruction="",
        )
        return self

    def __exit__(self, *error):
        self.encoder.close()
        self._running.__exit__(*error)

    def _answer(self, request: Request):
        number = int(request.texts[0].split()[0])
        before = self.attempts[number]
        self.attempts[number] += 1
        return self.faults[number].answer(request, before)

    def texts(self, fault: Fault) -> list[str]:
        with self._lock:
            number = len(self.faults)
            self.faults.append(fault)
        return [f"{number} {place}" for place in range(fault.texts)]

    def check(self, tally: Tally, fault: Fault, *, wait: bool) -> None:
        """Put one fault into the way of one call, and look at all that comes of it."""
        texts = self.texts(fault)
        rows, error, began = None, None, time.monotonic()
        try:
            if wait:
                rows = self.encoder.encode_document(texts)
            else:
                rows = asyncio.run(self.encoder.aencode_document(texts))
        except Exception as caught:
            error = caught
        tally.measure(OVERRUN, time.monotonic() - began - self._timeout)
        tally.tried += 1
        if error is not None and not isinstance(error, EndpointError):
            tally.fault("untyped errors", f"{fault.name}: {error!r}")
        if type(error) is not (fault.error or type(None)):
            tally.fault("other outcomes", f"{fault.name}: {error!r}")
        if rows is not None:
            right = truncate(np.stack([vector_of(text) for text in texts]))
            wrong = int((~(np.abs(rows - right).max(axis=1) <= 1e-5)).sum())
            tally.fault("wrong rows", fault.name, wrong) if wrong else None
        asked = self.attempts[int(texts[0].split()[0])]
        if fault.attempts not in {None, asked}:
            tally.fault("other outcomes", f"{fault.name}: asked {asked} times")
        if error is not None and any(map(leaks, frames(error, __file__))):
            tally.fault("leaks", f"{fault.name}: {error}")

    def check_all(self, tally: Tally, faults, *, ways=(True, False)) -> None:
        with everything_said() as said:
            for fault in faults:
                for wait in ways:
                    self.check(tally, fault, wait=wait)
        if leaks(said.getvalue()):
            tally.fault("leaks", "in logs or warnings")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Repeat at once: the pauses between are looked at elsewhere."""
    monkeypatch.setattr(clients, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def trial(checkpoint):
    with Trial(checkpoint) as trial:
        yield trial


@pytest.fixture
def tally():
    return Tally("endpoint")


def some(faults, full, every):
    return list(faults) if full else list(faults)[::every]


def test_orders(trial, tally, amount, prove):
    trial.check_all(tally, orders(amount(200, 8), random.Random(1)))
    prove(tally)


def test_right_answers_that_look_otherwise(trial, tally, prove):
    trial.check_all(tally, disguises())
    prove(tally)


def test_malformed_answers(trial, tally, full, prove):
    trial.check_all(tally, some(malformed(), full, 2))
    prove(tally)


def peak_of(trial, tally, *names):
    endless = [f for f in malformed() if any(name in f.name for name in names)]
    tracemalloc.start()
    try:
        trial.check_all(tally, endless)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_never_ends_takes_no_memory(trial, tally):
    peak = peak_of(trial, tally, "bomb", "billion")
    assert not tally.missed()
    assert tally.tried == 6
    assert peak < LEAST_PEAK


def test_broken_connections(trial, tally, full, prove):
    trial.check_all(tally, some(broken(), full, 2))
    prove(tally)


def test_statuses(trial, tally, amount, prove):
    trial.check_all(tally, statuses(amount(200, 20), random.Random(2)), ways=(True,))
    prove(tally)


def check_redirects(trial, tally, chosen):
    """Redirect to a server that must see nothing, and wherever else is chosen."""
    with running(answer) as other:
        trial.check_all(tally, chosen(list(redirects(other.url, trial.server.url))))
        if other.requests:
            tally.fault("leaks", f"{len(other.requests)} requests followed a redirect")


def test_redirects(trial, tally, full, prove):
    check_redirects(trial, tally, lambda faults: some(faults, full, 3))
    prove(tally)


def test_stalls(checkpoint, tally, full, amount, prove):
    """Many at once, each in a thread, or this would take minutes."""
    with Trial(checkpoint, SHORT) as trial, ThreadPoolExecutor(10) as threads:
        for _ in range(amount(10, 1)):
            list(threads.map(lambda fault: trial.check(tally, fault, wait=True), stalls()))
    if not full:  # a clock has no place in a test that must pass on any machine
        del tally.found[OVERRUN]
    prove(tally)


# The same checks on versions that are broken on purpose.


@pytest.mark.parametrize(
    ("broken_version", "faults", "found"),
    [
        (serving.believe_the_order, lambda _: orders(0, random.Random(1)), "wrong rows"),
        (serving.believe_the_numbers, lambda _: malformed(), "other outcomes"),
        (serving.follow_redirects, lambda trial: redirected_within(trial), "other outcomes"),
        (serving.show_what_is_said, lambda _: statuses(3, random.Random(2)), "leaks"),
        (serving.retry_everything, lambda _: statuses(0, random.Random(2)), "other outcomes"),
        (serving.raise_on_the_way, lambda _: statuses(0, random.Random(2)), "leaks"),
        (serving.hand_out_nan, lambda _: orders(0, random.Random(1)), "wrong rows"),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else value,
)
def test_a_broken_version_is_found(checkpoint, monkeypatch, tally, broken_version, faults, found):
    broken_version(monkeypatch)
    with Trial(checkpoint) as trial:
        trial.check_all(tally, faults(trial), ways=(True,))
    assert tally.found[found]


def test_a_redirect_that_is_followed_to_another_server_is_found(trial, tally, monkeypatch):
    serving.follow_redirects(monkeypatch)
    # Only those to the server beside: whoever follows the others leaves this machine.
    check_redirects(trial, tally, lambda faults: [f for f in faults if f.name == BESIDE])
    assert any("requests followed a redirect" in example for example in tally.examples)


def test_a_bomb_that_is_unpacked_is_found(trial, tally, monkeypatch):
    serving.unpack_without_limit(monkeypatch)
    assert peak_of(trial, tally, "gzip bomb") > LEAST_PEAK


def redirected_within(trial):
    return [fault for fault in redirects(trial.server.url, "") if "another server" in fault.name]


def test_a_timeout_that_is_not_kept_is_found(checkpoint, monkeypatch, tally):
    with Trial(checkpoint, SHORT) as trial:
        late = dataclasses.replace(trial.encoder._backend._options, timeout=2.0)
        monkeypatch.setattr(trial.encoder._backend, "_options", late)
        trial.check(tally, next(stalls()), wait=True)
    assert tally.found[OVERRUN] > 1
