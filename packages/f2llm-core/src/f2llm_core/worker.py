"""One thread per loaded model: callers queue, and whoever waits shares a forward pass.

All of torch's work happens on that thread. Its pool of OpenMP threads then belongs to no other, and
the process can fork: it waits for the batch at hand, and the child starts a thread of its own.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque

from f2llm_core.engine.preload import imports_torch
from f2llm_core.errors import ClosedError
from f2llm_core.jobs import Batch, Job, Runner, assemble

#: Jobs of up to so many tokens, queries for instance, take turns with the longer ones, so that they
#: wait for one slice of a long job and not for its end. What comes untokenised counts as short.
SHORT_TOKENS = 512

#: While the short come and go, slices of the long are a quarter of a batch: queries wait a quarter
#: of the time for them. Documents give up some speed, since smaller products are less efficient.
CAREFUL_SLICES = 8

#: Callers who shared a batch tend to come again together. They are waited for, for this part of the
#: time that the batch took: else the first of them to come would get the next one alone, over and
#: over. Who comes alone waits for nobody.
PATIENCE = 0.1

#: Seconds without a job after which memory is given back that a batch of more than `SHORT_TOKENS`
#: took.
REST = 1.0


class Worker:
    """The queue of one model, and the thread that serves it while there is work.

    The short jobs of all callers are merged in the order they came. Long jobs get a slice each in
    turn. Where both wait, they alternate. Nobody waits for more callers to come.
    """

    def __init__(self, runner: Runner) -> None:
        """Make a worker; its thread starts with the first job.

        Args:
            runner: Owns this worker, and is freed as if it were not known here.
        """
        self._runner = weakref.ref(runner)
        self._closed = False
        self._careful = 0
        self._reset()
        _WORKERS[id(self)] = self
        weakref.finalize(runner, self.close, wait=False).atexit = False

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._paused, self._computing = 0, False
        self._short: deque[Job] = deque()
        self._long: deque[Job] = deque()
        self._last: deque[Job] | None = None  # the lane served last
        self._running: list[Job] = []
        self._company = 0, 0.0  # how many may come again, and until when they are waited for
        self._rested = True
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            ClosedError: After `close`.
        """
        with self._changed:
            self.check_open()
            self._start()
            (self._short if job.tokens <= SHORT_TOKENS else self._long).append(job)
            self._changed.notify_all()

    def check_open(self) -> None:
        """Raise `ClosedError` after `close`."""
        if self._closed:
            raise ClosedError.of_all(shared="weights")

    def close(self, *, wait: bool = True) -> None:
        """End the jobs that wait with a `ClosedError`, and the thread after its batch.

        Args:
            wait: Return only when the thread has ended.
        """
        with self._changed:
            self._closed = True
            thread = self._thread
            waiting = self._clear()
            self._changed.notify_all()
        for job in waiting:
            job.fail(ClosedError.of_all(shared="weights"))
        if wait and thread not in {None, threading.current_thread()}:
            thread.join()

    def pause(self) -> None:
        """Let the batch at hand end, and none begin until `resume`.

        The thread stays, asleep. While one ends, its OpenMP threads and MKL give back memory under
        locks, for some time after `join` has returned; a child born then spins for ever.
        """
        with self._changed:
            self._paused += 1
            # A callback on the worker's own thread may fork, too, as may what torch imports.
            here = self._thread is threading.current_thread() or imports_torch()
            while self._computing and not here:
                self._changed.wait()

    def resume(self) -> None:
        """Go on after `pause`, once for each."""
        with self._changed:
            self._paused -= 1
            self._changed.notify_all()

    def abandon(self) -> None:
        """Begin anew in a forked process: locks and jobs are those of threads it does not have."""
        self._reset()
        if (runner := self._runner()) is not None:
            runner.forked()

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="f2llm-worker", daemon=True)
            thread.start()
            self._thread = thread

    def _clear(self) -> list[Job]:
        jobs = [*self._short, *self._long]
        self._short.clear()
        self._long.clear()
        return jobs

    def _work(self) -> None:
        try:
            while self._wait():
                self._serve()
                with self._changed:
                    self._computing = False
                    self._changed.notify_all()
        except BaseException as error:  # whatever it is, nobody may wait for ever
            with self._changed:
                self._thread = None
                self._computing = False
                self._changed.notify_all()
                jobs = self._running + self._clear()
            for job in jobs:
                job.fail(error)

    def _wait(self) -> bool:
        """Wait for jobs; False tells the thread to end."""
        with self._changed:
            while not self._closed:
                if self._paused or not (self._short or self._long):
                    if not self._changed.wait(None if self._rested else REST):
                        self._rest()
                elif not self._company_may_come():
                    self._computing = True
                    return True
            self._thread = None
            return False

    def _company_may_come(self) -> bool:
        """Wait for the next who may share a batch; False if there is nobody to wait for."""
        many, until = self._company
        if self._long or len(self._short) >= many:
            return False
        return self._changed.wait(until - time.monotonic())

    def _rest(self) -> None:
        """Have memory given back; a method, so that no frame that waits keeps the runner alive."""
        if self._paused or self._closed or self._short or self._long:
            return
        self._rested = True
        if (runner := self._runner()) is not None:
            runner.rest()  # under the lock: no process forks meanwhile

    def _serve(self) -> None:
        """Compute one batch."""
        runner = self._runner()
        if runner is None:
            return
        try:
            runner.prepare()
            with self._changed:
                untokenized = [job for job in self._short if job.untokenized is not None]
            runner.tokenize(untokenized)
        except Exception as error:  # the same for all who wait
            with self._changed:
                waiting = self._clear()
            for job in waiting:
                job.fail(error)
            return
        with self._changed:
            lane, budget = self._next_lane(runner.batch_tokens)
            batch = assemble(lane, budget)
            self._running = [job for job, _ in batch]
            if sum(prompt.tokens for _, taken in batch for prompt in taken) > SHORT_TOKENS:
                self._rested = False
        start = time.monotonic()
        _compute(runner, batch)
        end = time.monotonic()
        with self._changed:
            self._company = len(batch) if len(batch) > 1 else 0, end + PATIENCE * (end - start)
            unfinished = [job for job in self._running if not job.future.done()]
            self._running = []
            if not self._closed:
                lane.extend(unfinished)
                return
        for job in unfinished:
            job.fail(ClosedError.of_all(shared="weights"))

    def _next_lane(self, budget: int) -> tuple[deque[Job], int]:
        """Return the lane whose turn it is, and what its batch may hold."""
        if self._short and not (self._long and self._last is self._short):
            self._last = self._short
            if self._long:
                self._careful = CAREFUL_SLICES
        else:
            self._last = self._long
            if self._careful:
                self._careful -= 1
                budget //= 4
        return self._last, budget


def _compute(runner: Runner, batch: Batch) -> None:
    """Give every job of a batch its rows, or the error that is its own."""
    different = {prompt for _, taken in batch for prompt in taken}
    prompts = sorted(different, key=lambda p: (-p.tokens, p.ids[: p.shared], p.ids))
    try:
        rows = dict(zip(prompts, runner.run(prompts) if prompts else [], strict=True))
    except Exception as error:  # handed to whom it belongs
        if len(batch) == 1:
            batch[0][0].fail(error)
        else:
            for part in batch:
                _compute(runner, [part])
        return
    try:
        for job, taken in batch:
            job.receive(taken, rows)
    finally:
        for job, _ in batch:  # those woken take the interpreter, and would keep others waiting
            job.end()


_WORKERS: weakref.WeakValueDictionary[int, Worker] = weakref.WeakValueDictionary()


def _all() -> list[Worker]:
    return [worker for ref in _WORKERS.valuerefs() if (worker := ref()) is not None]


_forking = threading.local()  # the workers that a thread has paused


def _before_fork() -> None:
    _forking.paused = []
    while new := [worker for worker in _all() if worker not in _forking.paused]:
        for worker in new:  # others may be made while these end their batches
            worker.pause()
        _forking.paused += new


def _after_fork_here() -> None:
    while _forking.paused:
        _forking.paused.pop().resume()


def _after_fork_there() -> None:
    _forking.paused = []
    for worker in _all():
        worker.abandon()


def _at_exit() -> None:
    # A thread inside torch while the interpreter goes away brings the process down.
    for worker in _all():
        worker.close()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork_there
    )
