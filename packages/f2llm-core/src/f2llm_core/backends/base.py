"""The seam between what is shared and what runs the model: prompts in, full-width rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from f2llm_core.engine.hub import ModelSource
from f2llm_core.fingerprint import ModelIdentity
from f2llm_core.instructions import Prompts
from f2llm_core.matryoshka import Vectors


@dataclass(frozen=True, slots=True)
class Stats:
    """What a loaded model has computed so far, for all of its callers.

    Attributes:
        passes: Forward passes, or a server's answers.
        texts: Texts in them; equal ones that stood in one pass count once.
    """

    passes: int = 0
    texts: int = 0


class Observer(Protocol):
    """What a backend tells about one call while it works."""

    @property
    def at_once(self) -> bool:
        """Whether lengths are wanted before `submit` returns, in its thread."""

    def tokenized(self, lengths: Sequence[int]) -> None:
        """Receive the untruncated token count of every prompt, EOS included, in order.

        0 stands for one that could not be counted, for want of the model's tokenizer.
        Called once, before anything is computed; in the thread that computes, unless `at_once`. May
        raise `InputError` there, to stop the call.
        """

    def embedded(self, count: int) -> None:
        """Receive how many more of the prompts are done.

        Called on the thread that computes; what it raises ends this call and no other.
        """


class Pending:
    """One call's rows on their way. Whoever does not want them any more cancels `future`.

    Attributes:
        future: Done when the rows are computed; belongs to no event loop.
    """

    __slots__ = ("_finish", "future")

    def __init__(
        self, future: Future[Vectors], finish: Callable[[Vectors], Vectors] | None = None
    ) -> None:
        """Wait for a future.

        Args:
            future: Holds computed rows.
            finish: Makes of them what the caller asked for, in the caller's thread.
        """
        self.future = future
        self._finish = finish

    @property
    def quick(self) -> bool:
        """Whether nothing is left to do once the rows are computed."""
        return self._finish is None

    def then(self, finish: Callable[[Vectors], Vectors]) -> Pending:
        """Return the same rows with another step at their end, in the caller's thread, too."""
        before = self._finish
        return Pending(self.future, finish if before is None else lambda r: finish(before(r)))

    def result(self) -> Vectors:
        """Wait for the rows; a caller that is interrupted meanwhile leaves no work behind."""
        try:
            rows = self.future.result()
        except BaseException:
            self.future.cancel()
            raise
        return rows if self._finish is None else self._finish(rows)


class Backend(Protocol):
    """Runs one model for any number of callers. All give the same rows for the same prompts."""

    @property
    def source(self) -> ModelSource:
        """Which model."""

    def identity(self) -> ModelIdentity:
        """Return what a row depends on, from the model's files; loads no weights.

        Raises:
            ConfigurationError: The device does not exist here.
            ModelError: The model cannot be found, or its files are damaged.
            FingerprintError: It is not known which model this is.
            OSError: A file cannot be read.
        """

    @property
    def eos_id(self) -> int:
        """Token that ends every text."""

    @property
    def width(self) -> int:
        """Full embedding width of the model."""

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts."""

    @property
    def stats(self) -> Stats:
        """What was computed so far."""

    def submit(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Pending:
        """Have prompts tokenised and embedded, by other threads where that takes long.

        Args:
            prompts: Texts with their instruction already in front; at least one; never altered.
            prefix: What all of them start with, possibly nothing: a backend may compute it once.
            max_length: Tokens kept per prompt, EOS included; the tail is dropped, EOS stays last.
            observer: Told of the lengths before, and of the progress during, the computation.

        Returns:
            Shape `(len(prompts), width)`, float32, row i for prompt i, not necessarily normalised.

        Raises:
            ConfigurationError: `max_length` leaves no room after the prefix.
            ClosedError: After `close`.
        """

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""

    def close(self) -> None:
        """Free the model; callers that wait get a `ClosedError`, and so does every later one."""
