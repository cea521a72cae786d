"""The seam between what is shared and what runs the model: prompts in, full-width rows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from f2llm_core.instructions import Prompts
from f2llm_core.matryoshka import Vectors


class Observer(Protocol):
    """What a backend tells about one call while it works."""

    def tokenized(self, lengths: Sequence[int]) -> None:
        """Receive the untruncated token count of every prompt, EOS included, in order.

        Called once, before anything is computed; may raise `InputError` to stop the call.
        """

    def embedded(self, count: int) -> None:
        """Receive how many more of the prompts are done."""


class Backend(Protocol):
    """Runs one model. Every backend gives the same rows for the same prompts."""

    @property
    def width(self) -> int:
        """Full embedding width of the model."""

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts."""

    def encode(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Vectors:
        """Embed whole prompts.

        Args:
            prompts: Texts with their instruction already in front; never altered.
            prefix: What all of them start with, possibly nothing: a backend may compute it once.
            max_length: Tokens kept per prompt, EOS included; the tail is dropped, EOS stays last.
            observer: Told of the lengths before, and of the progress during, the computation.

        Returns:
            Shape `(len(prompts), width)`, float32, row i for prompt i, not necessarily normalised.

        Raises:
            ConfigurationError: `max_length` leaves no room after the prefix.
        """

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""
