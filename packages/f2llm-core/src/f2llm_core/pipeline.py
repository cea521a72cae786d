"""From texts to vectors, as one side of one encoder wants it, for callers of every kind."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from f2llm_core.backends.base import Backend, Observer, Pending
from f2llm_core.inputs import OnTruncate, TruncationReport
from f2llm_core.matryoshka import Vectors, truncate
from f2llm_core.progress import CallObserver

_QUICK = 2**15  # numbers normalised in less time than it takes to start a thread


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What happens to texts: prompt, tokens, rows, vectors.

    Attributes:
        backend: Runs the model.
        prompt: Put before every text.
        max_length: Tokens kept of each text, prompt and EOS included.
        dimensions: Width of the vectors.
        on_truncate: What to do with longer texts.
    """

    backend: Backend
    prompt: str
    max_length: int
    dimensions: int
    on_truncate: OnTruncate

    def begin(self, texts: list[str], *, single: bool, show_progress: bool) -> Call:
        """Queue checked texts; `single` is for one of which the row is wanted."""
        observer = self._observe(show_progress=show_progress, total=len(texts))
        pending = self.submit(texts, observer)
        return Call(pending, self.dimensions, single=single, observer=observer)

    def stream(self, blocks: Iterable[list[str]], *, show_progress: bool) -> Iterator[Vectors]:
        """Embed blocks of checked texts, one after the other."""
        with self._observe(show_progress=show_progress, total=None) as observer:
            for block in blocks:
                rows = self.submit(block, observer).result()
                yield truncate(rows, self.dimensions, first_row=observer.offset)
                observer.offset += len(block)

    def submit(self, texts: list[str], observer: Observer) -> Pending:
        """Queue checked texts; returns their rows of full width on their way."""
        return self.backend.submit(
            [self.prompt + text for text in texts],
            prefix=self.prompt,
            max_length=self.max_length,
            observer=observer,
        )

    def _observe(self, *, show_progress: bool, total: int | None) -> CallObserver:
        report = TruncationReport(self.max_length, self.on_truncate)
        return CallObserver(report, show_progress=show_progress, total=total)


class Call:
    """A call whose texts are checked and queued."""

    __slots__ = ("_dimensions", "_observer", "_pending", "_single")

    def __init__(
        self,
        pending: Pending,
        dimensions: int,
        *,
        single: bool = False,
        observer: CallObserver | None = None,
    ) -> None:
        self._pending = pending
        self._dimensions = dimensions
        self._single = single
        self._observer = observer or CallObserver(TruncationReport(0, "ignore"))

    @classmethod
    def of_nothing(cls, dimensions: int) -> Call:
        """A call without texts, which needs no model."""
        done: Future[Vectors] = Future()
        done.set_result(np.empty((0, dimensions), dtype=np.float32))
        return cls(Pending(done), dimensions)

    def result(self) -> Vectors:
        """Wait for the vectors."""
        with self._observer:
            return self._finish()

    async def aresult(self) -> Vectors:
        """Wait for the vectors; a task that is cancelled meanwhile leaves no work behind."""
        with self._observer:  # not in a thread, so that warnings name the caller's line
            rows = await asyncio.wrap_future(self._pending.future)
            if self._pending.quick and rows.size <= _QUICK:
                return self._finish()
            return await asyncio.to_thread(self._finish)

    def _finish(self) -> Vectors:
        rows = self._pending.result()
        if not len(rows):
            return rows
        vectors = truncate(rows, self._dimensions)
        return vectors[0] if self._single else vectors

    def cancel(self) -> None:
        """Tell that nobody waits any more."""
        self._pending.future.cancel()


class Intake:
    """Begins the calls of event loops in threads, so that the loops go on meanwhile."""

    __slots__ = ("_executor", "_process")

    def __init__(self) -> None:
        self._process = 0

    async def begin(self, begin: Callable[[], Call], *, short: bool) -> Call:
        """Call `begin` in a thread; if the task is cancelled meanwhile, so is the call.

        Args:
            begin: Checks and queues, and tokenises what is long.
            short: It takes no longer than a query. A thousand queries in the threads of the event
                loop would fight it for the interpreter; in one thread they are as quick, and the
                loop lags a third as long.
        """
        begun: list[Call] = []
        cancelled = False

        def run() -> None:
            begun.append(begin())
            if cancelled:  # the task looked at `begun` too early
                begun[0].cancel()

        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        try:
            await loop.run_in_executor(self._one_thread() if short else None, context.run, run)
        except asyncio.CancelledError:
            cancelled = True
            for call in begun:
                call.cancel()
            raise
        return begun[0]

    def _one_thread(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():  # the thread of a parent process is not in its child
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="f2llm-intake")
            self._process = os.getpid()
        return self._executor
