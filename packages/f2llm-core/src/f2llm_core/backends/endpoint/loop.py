"""An event loop in a thread of its own, which serves callers of every kind through futures."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from f2llm_core.errors import ClosedError

_GRACE = 1.0  # seconds for what was cancelled to end


class Session(Protocol):
    """What works in a loop, and in no other."""

    async def aclose(self) -> None:
        """Let go of connections."""


T = TypeVar("T")
S = TypeVar("S", bound=Session)


class LoopThread(Generic[S]):
    """Runs coroutines with a session; thread and session begin with the first of them.

    A forked process begins anew with its first call.
    """

    def __init__(self, open_session: Callable[[], S], forked: Callable[[], None]) -> None:
        """Prepare.

        Args:
            open_session: Makes a session, in the thread of the first caller.
            forked: Called in a forked process, to let go of locks that its parent's threads held.
        """
        self._open_session = open_session
        self._forked = forked
        self._closed = False
        self._reset()
        _ALL[id(self)] = self

    def _reset(self) -> None:
        self._changing = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread, S] | None = None

    def run(self, work: Callable[[S], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin some work; to cancel the future ends it.

        Raises:
            ClosedError: After `close`.
        """
        with self._changing:
            if self._closed:
                raise ClosedError.of_all(shared="connections")
            if self._running is None:
                self._running = self._start()
            loop, _, session = self._running
            return asyncio.run_coroutine_threadsafe(self._guard(work, session), loop)

    def close(self, *, wait: bool = True) -> None:
        """End all work with a `ClosedError`, and the thread.

        Args:
            wait: Return only when the thread has ended.
        """
        with self._changing:
            self._closed = True
            running, self._running = self._running, None
        if running is None:
            return
        loop, thread, session = running
        asyncio.run_coroutine_threadsafe(_end(session), loop).add_done_callback(
            lambda _: loop.call_soon_threadsafe(loop.stop)
        )
        if wait and thread is not threading.current_thread():
            thread.join()

    def abandon(self) -> None:
        """Begin anew in a forked process, where the thread does not exist."""
        if self._running is not None:
            # Kept and never touched: closing it would reach into the parent's selector.
            _INHERITED.append(self._running)
        self._reset()
        self._forked()

    def _start(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread, S]:
        loop, session = asyncio.new_event_loop(), self._open_session()
        thread = threading.Thread(target=_serve, args=(loop,), name="f2llm-endpoint", daemon=True)
        thread.start()
        return loop, thread, session

    async def _guard(self, work: Callable[[S], Coroutine[Any, Any, T]], session: S) -> T:
        try:
            return await work(session)
        except asyncio.CancelledError:
            if not self._closed:
                raise
        raise ClosedError.of_all(shared="connections")


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end(session: Session) -> None:
    await asyncio.sleep(0)  # what was begun just now must run to hear that it is cancelled
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_GRACE)
    await session.aclose()


_ALL: weakref.WeakValueDictionary[int, LoopThread[Any]] = weakref.WeakValueDictionary()
_INHERITED: list[object] = []


def _after_fork_in_child() -> None:
    for ref in _ALL.valuerefs():
        if (thread := ref()) is not None:
            thread.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
