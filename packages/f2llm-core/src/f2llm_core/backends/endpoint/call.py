"""One call's texts on their way to a server, a piece at a time, and their rows on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from f2llm_core.backends.endpoint.served import ServedModel
from f2llm_core.errors import EndpointTimeoutError
from f2llm_core.matryoshka import Vectors

#: Requests of one call at once: half of all, so that a query never waits for a whole corpus.
REQUESTS = 8

_GRACE = 0.5  # seconds for requests that are given up to end


@dataclass(slots=True)
class Traffic:
    """What is learnt of a server by all calls.

    Attributes:
        max_texts: Texts to send at once; the default of text-embeddings-inference to begin with.
        max_bytes: UTF-8 bytes of them; a longer text goes alone. Proxies often stop at a megabyte.
        answers: Requests that were answered with rows.
        texts: Texts in them.
    """

    max_texts: int = 32
    max_bytes: int = 500_000
    answers: int = 0
    texts: int = 0

    def shrink(self, texts: int, size: int) -> None:
        """Learn that so many texts, of so many bytes, were too much, while halves were not."""
        # Which of the two it was is not said: whichever was nearer to its limit.
        if texts / self.max_texts >= size / self.max_bytes:
            self.max_texts = min(self.max_texts, max(1, texts // 2))
        else:
            self.max_bytes = min(self.max_bytes, max(1, size // 2))


class Call:
    """Texts to embed; used once."""

    def __init__(
        self,
        texts: Sequence[str],
        traffic: Traffic,
        progressed: Callable[[int], None],
        timeout: float,
    ) -> None:
        """Prepare.

        Args:
            texts: At least one; equal ones are sent once.
            traffic: What is known of the server.
            progressed: Told how many more texts are done; what it raises ends the call.
            timeout: Seconds to wait for an answer, whichever of the call's it is.
        """
        self._places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            self._places.setdefault(text, []).append(place)
        self._different = list(self._places)
        self._sizes = [len(text.encode()) for text in self._different]
        self._count = len(texts)
        self._traffic = traffic
        self._progressed = progressed
        self._timeout = timeout

    async def run(self, served: ServedModel) -> Vectors:
        """Return the rows of all texts, `(n, width)` float32.

        Raises:
            EndpointError: Some could not be had; the requests at hand are given up.
        """
        found: dict[int, Vectors] = {}
        waiting: dict[asyncio.Task[Vectors], tuple[int, int]] = {}
        spans = self._spans()
        try:
            while True:
                while len(waiting) < REQUESTS and (span := next(spans, None)) is not None:
                    waiting[asyncio.create_task(self._embed(served, *span))] = span
                if not waiting:
                    return self._put_together(found)
                done, _ = await asyncio.wait(
                    waiting, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    raise self._too_late(served)
                for task in done:
                    start, stop = waiting.pop(task)
                    found[start] = task.result()
                    texts = self._different[start:stop]
                    self._progressed(sum(len(self._places[text]) for text in texts))
        finally:
            await _give_up(waiting)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield from where to where to send at once, as it is known at the time."""
        start = 0
        while start < len(self._sizes):
            stop, size = start + 1, self._sizes[start]
            for more in self._sizes[start + 1 : start + self._traffic.max_texts]:
                if (size := size + more) > self._traffic.max_bytes:
                    break
                stop += 1
            yield start, stop
            start = stop

    async def _embed(self, served: ServedModel, start: int, stop: int) -> Vectors:
        """Return the rows of some texts, in halves if the server says that they are too much."""
        rows = await served.embed(self._different[start:stop])
        if rows is not None:
            self._traffic.answers += 1
            self._traffic.texts += stop - start
            return rows
        middle = (start + stop) // 2
        halves = [
            await self._embed(served, start, middle),
            await self._embed(served, middle, stop),
        ]
        # Only now is it certain that it was not one bad text.
        self._traffic.shrink(stop - start, sum(self._sizes[start:stop]))
        return np.concatenate(halves)

    def _put_together(self, found: dict[int, Vectors]) -> Vectors:
        different = np.concatenate([found[start] for start in sorted(found)])
        rows = np.empty((self._count, different.shape[1]), dtype=np.float32)
        for row, places in zip(different, self._places.values(), strict=True):
            rows[places] = row
        return rows

    def _too_late(self, served: ServedModel) -> EndpointTimeoutError:
        trouble = served.client.trouble
        last = f"; before that, it {trouble}" if trouble else ""
        return EndpointTimeoutError(
            f"{served.client.where} gave no answer within {self._timeout:g} s{last}. It is down, "
            "busy or far: look at it, or raise timeout."
        )


async def _give_up(tasks: dict[asyncio.Task[Vectors], tuple[int, int]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=_GRACE)
        for task in done:
            _ = task.cancelled() or task.exception()  # seen, or asyncio complains
