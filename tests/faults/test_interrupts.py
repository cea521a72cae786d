"""Ctrl-C ends what it should end: the call, if it is caught, and otherwise the process."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from faults.figures import Tally
from faults.processes import command, environment

CAUGHT = 4  # of the interrupts of one process; one more is not
HANG = 60.0  # seconds; only a guard

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")


@dataclass
class Interrupted:
    """A process that embeds, and is interrupted at random times."""

    process: subprocess.Popen
    rng: random.Random

    def interrupt(self):
        """Wait until it embeds, and for a random time; then press Ctrl-C."""
        said = self._line()
        if said == "ready":
            time.sleep(self.rng.uniform(0, 0.15))
            self.process.send_signal(signal.SIGINT)
        return said

    def answer(self):
        """Return what it says about the model after an interrupt that it caught."""
        return self._line()

    def end(self, seconds):
        """Return whether it has ended, after so many seconds at most."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _line(self):
        return self.process.stdout.readline().strip()


def check_interrupts(folder, processes, seconds, *, how="right", seed=0):
    """Interrupt processes that embed, each several times.

    Args:
        folder: The model.
        processes: How many.
        seconds: How long one may take to end.
        how: See `faults.interrupted.main`.
        seed: Of the moments.
    """
    tally = Tally("interrupts")
    rng = random.Random(seed)
    for _ in range(processes):
        process = subprocess.Popen(
            command("faults.interrupted", folder, CAUGHT, how),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _interrupt_all(Interrupted(process, rng), tally, seconds)
        finally:
            process.kill()
            process.communicate()
    return tally


def _interrupt_all(embedding, tally, seconds):
    for _ in range(CAUGHT):
        tally.tried += 1
        embedding.interrupt()
        if not _answers(embedding):
            tally.fault("exits after more than 2 s", "goes on as if nothing had happened")
            return
        if (said := embedding.answer()) != "right":
            tally.fault("other ends than KeyboardInterrupt", f"the model is {said} afterwards")
            return
    tally.tried += 1
    embedding.interrupt()
    if not embedding.end(seconds):
        tally.fault("exits after more than 2 s", "the last interrupt")
    elif embedding.process.returncode not in {-signal.SIGINT, 128 + signal.SIGINT}:
        said = embedding.process.stderr.read()[-300:]
        tally.fault("other ends than KeyboardInterrupt", f"{embedding.process.returncode}: {said}")


def _answers(embedding):
    """Tell whether anything is said within the time that only a hang takes."""
    import select

    return bool(select.select([embedding.process.stdout], [], [], ANSWER)[0])


ANSWER = HANG


def test_interrupts(checkpoint, full, prove):
    seconds = 2.0 if full else HANG  # no clock decides in a test that must pass on any machine
    prove(check_interrupts(checkpoint, 10 if full else 1, seconds))


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("deaf", "exits after more than 2 s"),
        ("lost", "other ends than KeyboardInterrupt"),
        ("silent", "other ends than KeyboardInterrupt"),
        ("stuck", "exits after more than 2 s"),
    ],
)
def test_a_broken_end_is_found(checkpoint, monkeypatch, how, found):
    last = how in {"silent", "stuck"}
    monkeypatch.setattr(f"{__name__}.ANSWER", HANG if last else 2.0)
    tally = check_interrupts(checkpoint, 1, HANG if how == "silent" else 2.0, how=how)
    assert tally.found[found] == 1
    assert (tally.tried == CAUGHT + 1) == last
