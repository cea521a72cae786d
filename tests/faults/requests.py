"""Calls of every kind on one model, and the rows that each should get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from texts import many_texts

from f2llm_core import F2LLM

WIDTHS = (8, 16, 64)
TASKS = (None, "code", "sts")
LEAST_COSINE = 0.99999


@dataclass(frozen=True)
class Request:
    """One call: some texts, as queries or documents of a task, at a width."""

    texts: tuple[str, ...]
    side: str
    task: str | None
    dimensions: int

    def send(self, encoder):
        """Embed the texts."""
        return getattr(self._of(encoder), f"encode_{self.side}")(list(self.texts))

    async def asend(self, encoder):
        """Embed the texts, from an event loop."""
        return await getattr(self._of(encoder), f"aencode_{self.side}")(list(self.texts))

    def _of(self, encoder):
        return encoder.with_options(task=self.task, dimensions=self.dimensions)


class Answers:
    """The right row for every text a request can hold, embedded one by one beforehand."""

    def __init__(self, checkpoint):
        encoder = F2LLM(checkpoint, dtype="float32")
        pool = many_texts()
        self.texts = [*pool[::9], " ".join(pool[:4]), ""]
        self._rows = {
            (side, task): {
                text: getattr(encoder.with_options(task=task), f"encode_{side}")(text)
                for text in self.texts
            }
            for side in ("query", "document")
            for task in TASKS
        }

    def random_request(self, rng):
        count = rng.choice((1, 1, 1, 1, 2, 5))
        return Request(
            texts=tuple(rng.choices(self.texts, k=count)),
            side=rng.choice(("query", "document")),
            task=rng.choice(TASKS),
            dimensions=rng.choice(WIDTHS),
        )

    def wrong(self, request, rows):
        """Count the rows that are not those of the request's texts."""
        if rows.shape != (len(request.texts), request.dimensions):
            return len(request.texts)
        known = self._rows[request.side, request.task]
        right = np.array([known[text][: request.dimensions] for text in request.texts])
        right /= np.linalg.norm(right, axis=1, keepdims=True)
        return int((~((rows * right).sum(axis=1) >= LEAST_COSINE)).sum())
