"""What one call wants to have computed, and how several calls share a batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from f2llm_core.matryoshka import Vectors


class Prompt(NamedTuple):
    """A whole prompt in tokens.

    Attributes:
        ids: All of them, instruction and EOS included.
        shared: How many, from the start, are an instruction's that is computed once for all.
    """

    ids: tuple[int, ...]
    shared: int = 0

    @property
    def tokens(self) -> int:
        """How many are to be computed for this prompt."""
        return len(self.ids) - self.shared


@dataclass(frozen=True, slots=True)
class Untokenized:
    """The prompts of a job before they are tokens.

    Attributes:
        prompts: In the order of the rows.
        start: Tokens of the instruction in front of them, as a rule.
        max_length: Tokens kept of each.
        tokenized: To be told the token count of each; may raise, which ends the job.
    """

    prompts: Sequence[str]
    start: tuple[int, ...]
    max_length: int
    tokenized: Callable[[Sequence[int]], None]


class Job:
    """What one call wants to have computed, and the future of its rows.

    Attributes:
        future: Of the rows, `(count, width)` float32. It can be cancelled until it is done.
        tokens: Of all different prompts together; 0 before `fill`.
        waiting: Prompts that were not taken into a batch yet, the longest last.
        untokenized: What the prompts are to be made of; None after `fill`.
    """

    def __init__(
        self,
        count: int,
        width: int,
        progressed: Callable[[int], None],
        untokenized: Untokenized | None = None,
    ) -> None:
        """Make a job; it has no prompts yet.

        Args:
            count: Rows.
            width: Columns of the rows.
            progressed: Told, on the worker's thread, how many more rows are done; must not wait.
            untokenized: For who calls `fill`.
        """
        self.future: Future[Vectors] = Future()
        self.tokens = 0
        self.waiting: list[Prompt] = []
        self.untokenized = untokenized
        self._places: dict[Prompt, list[int]] = {}
        self._rows = np.empty((count, width), dtype=np.float32)
        self._progressed = progressed
        self._open = threading.Lock()  # taken for good by the first to end the job, of any thread

    def fill(self, prompts: Sequence[Prompt]) -> None:
        """Receive the prompts in the order of the rows; equal ones are computed once."""
        for index, prompt in enumerate(prompts):
            self._places.setdefault(prompt, []).append(index)
        # Longest first: equal lengths meet in one batch, and memory peaks at the start rather than
        # after an hour.
        self.waiting = sorted(self._places, key=lambda prompt: prompt.tokens)
        self.tokens = sum(prompt.tokens for prompt in self._places)
        self.untokenized = None

    def take(self, budget: int, *, at_least: int) -> list[Prompt]:
        """Remove prompts of up to `budget` tokens from those that wait, and return them."""
        taken: list[Prompt] = []
        while self.waiting and (len(taken) < at_least or self.waiting[-1].tokens <= budget):
            taken.append(self.waiting.pop())
            budget -= taken[-1].tokens
        return taken

    def receive(self, prompts: Sequence[Prompt], rows: Mapping[Prompt, Vectors]) -> None:
        """Write rows of prompts that were taken to their places; who waits sleeps on."""
        places = [self._places.pop(prompt) for prompt in prompts]
        for prompt, where in zip(prompts, places, strict=True):
            self._rows[where] = rows[prompt]
        try:
            self._progressed(sum(map(len, places)))
        except Exception as error:  # the caller's own code
            self.fail(error)

    def end(self) -> None:
        """End the job if it has all its rows, which wakes who waits."""
        if not self._places and self._settling():
            self.future.set_result(self._rows)

    def fail(self, error: BaseException) -> None:
        """End the job with an error, unless it has ended."""
        if self._settling():
            self.future.set_exception(error)

    def _settling(self) -> bool:
        """Tell whether the future still wants an outcome, and let it be cancelled no more."""
        return self._open.acquire(blocking=False) and self.future.set_running_or_notify_cancel()


#: Jobs and what of each is computed now.
Batch = list[tuple[Job, list[Prompt]]]


def assemble(lane: deque[Job], budget: int) -> Batch:
    """Take jobs from the head of a lane, the last of them perhaps in part, up to the budget."""
    batch: Batch = []
    while lane:
        if lane[0].future.done():  # cancelled, or it could not be tokenised
            lane.popleft()
            continue
        if lane[0].untokenized is not None:  # it came just now
            break
        taken = lane[0].take(budget, at_least=0 if batch else 1)
        if lane[0].waiting and not taken:
            break
        batch.append((lane.popleft(), taken))
        if batch[-1][0].waiting:
            break
        budget -= sum(prompt.tokens for prompt in taken)
    return batch


class Runner(Protocol):
    """What computes the rows. Called on the worker's thread only."""

    @property
    def batch_tokens(self) -> int:
        """Tokens per forward pass, known after `prepare`."""

    def prepare(self) -> None:
        """Get ready; called before every batch."""

    def tokenize(self, jobs: list[Job]) -> None:
        """Fill jobs that came untokenised; one that cannot be fails, and no other."""

    def forked(self) -> None:
        """Let go of locks that threads of the parent process may have held."""

    def rest(self) -> None:
        """Give back memory that small batches do not need; there was a larger one."""

    def run(self, prompts: list[Prompt]) -> Vectors:
        """Return one row per prompt; equal lengths stand together, the longest first."""
