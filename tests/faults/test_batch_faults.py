"""A batch that fails is its callers' error and nobody else's, and the next one is computed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

from f2llm_core import F2LLM
from f2llm_core.engine.qwen3 import Qwen3Encoder
from faults.figures import Tally
from faults.requests import LEAST_COSINE
from faults.stubs import calling
from support import gate

CALLERS, EACH = 10, 5
BATCHES = CALLERS * EACH
POISON = "\0" * 76  # no other text here has as many tokens
ERRORS = (
    RuntimeError("injected"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ValueError("injected"),
    KeyError("injected"),
)


class Faults:
    """Makes forward passes fail: the one of an index, or those that a poisoned text is in."""

    def __init__(self, monkeypatch):
        self.error, self.at, self.passes, self.most = None, None, 0, 0
        self.together = []  # the most texts in one pass, of every round
        forward = Qwen3Encoder.forward

        def forward_or_fail(engine, sequences, prefixes=None):
            self.passes += 1
            self.most = max(self.most, len(sequences))
            poisoned = any(len(sequence) == len(POISON) + 1 for sequence in sequences)
            if self.error is not None and (poisoned or self.passes - 1 == self.at):
                raise self.error
            return forward(engine, sequences, prefixes)

        monkeypatch.setattr(Qwen3Encoder, "forward", forward_or_fail)

    def inject(self, error, at=None):
        self.error, self.at, self.passes, self.most = error, at, 0, 0


def texts_of(caller):
    return [f"Text {i} of caller {caller}." for i in range(EACH)]


def no_queue():
    return nullcontext(lambda jobs: None)


def check_faults(send, faults, right, rounds, queue=no_queue):
    """Let several callers wait, of whom exactly one meets a fault; then all of them, again.

    Args:
        send: Texts to rows; under test.
        faults: Prepares each round.
        right: Rows of every caller.
        rounds: `(error, at, caller)`: the pass of an index fails, or the caller's poisoned text.
        queue: Makes what holds the model back until all of them wait.
    """
    tally = Tally("batch_faults", tried=len(rounds))
    went_on = 0
    for error, at, poisoned in rounds:
        batches = [texts_of(caller) for caller in range(CALLERS)]
        if poisoned is not None:
            batches[poisoned][2] = POISON
        faults.inject(error, at)
        outcomes = _at_once(send, batches, queue)
        faults.together.append(faults.most)
        failed = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
        faults.inject(None)
        again = _at_once(send, [texts_of(caller) for caller in range(CALLERS)], queue)
        expected = failed == [poisoned] if poisoned is not None else len(failed) == 1
        own = all(type(outcomes[i]) is type(error) for i in failed)
        wrong = sum(_wrong(outcomes[i], right[i]) for i in range(CALLERS) if i not in failed)
        if wrong:
            tally.fault("wrong rows", (error, at, poisoned), times=wrong)
        went_on += expected and own and not any(map(_wrong, again, right))
    tally.measure("service went on, %", 100 * went_on / len(rounds))
    return tally


def _at_once(send, batches, queue):
    def outcome(texts):
        try:
            return send(texts)
        except Exception as error:
            return error

    with ThreadPoolExecutor(CALLERS) as pool:
        with queue() as wait_for_queue:
            outcomes = [pool.submit(outcome, texts) for texts in batches]
            wait_for_queue(len(batches))
        return [done.result() for done in outcomes]


def _wrong(rows, right):
    return isinstance(rows, Exception) or not ((rows * right).sum(axis=1) >= LEAST_COSINE).all()


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch)


@pytest.fixture(scope="module")
def right(encoder):
    rows = encoder.encode_document([text for i in range(CALLERS) for text in texts_of(i)])
    return np.split(rows, CALLERS)


def sender(checkpoint, budget):
    encoder = F2LLM(checkpoint, dtype="float32", max_batch_tokens=budget)
    encoder.encode_document("a")
    return encoder.encode_document, partial(gate, encoder._backend)


def test_a_fault_at_every_batch(checkpoint, faults, right, prove):
    rounds = [(ERRORS[at % len(ERRORS)], at, None) for at in range(BATCHES)]
    send, queue = sender(checkpoint, 1)
    prove(check_faults(send, faults, right, rounds, queue))


def test_a_text_that_no_batch_can_be_computed_with(checkpoint, faults, right, prove):
    rounds = [(error, None, caller) for caller in range(CALLERS) for error in ERRORS]
    send, queue = sender(checkpoint, 4096)
    prove(check_faults(send, faults, right, rounds, queue))
    assert set(faults.together) == {BATCHES}


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (calling.send_until_the_first_error, "service went on, %"),
        (calling.send_with_everybodys_errors, "service went on, %"),
        (calling.send_with_errors_swallowed, "wrong rows"),
    ],
)
def test_a_broken_service_is_found(checkpoint, faults, right, broken, found):
    rounds = [(ERRORS[0], None, caller) for caller in (0, 7)]
    send, _ = sender(checkpoint, 1)
    tally = check_faults(broken(send), faults, right, rounds)
    assert any(message.startswith(found) for message in tally.missed())


def test_callers_that_never_share_a_batch_are_found(checkpoint, faults, right):
    send = calling.send_in_turn(sender(checkpoint, 4096)[0])
    assert not check_faults(send, faults, right, [(ERRORS[0], None, 7)]).missed()
    assert faults.together == [EACH]


def test_faults_come_when_they_should(checkpoint, faults, right):
    send, _ = sender(checkpoint, 1)
    faults.inject(ERRORS[0], at=3)
    with pytest.raises(RuntimeError, match="injected"):
        send(texts_of(0))
    assert faults.passes == 4
    assert not _wrong(partial(send, texts_of(0))(), right[0])
