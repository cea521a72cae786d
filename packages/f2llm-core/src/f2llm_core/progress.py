"""What one call tells its caller while it runs: texts that are too long, and how far it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from f2llm_core.inputs import TruncationReport


class CallObserver:
    """A backend's observer for one call; a context manager that reports at its end.

    Attributes:
        offset: Position in the call of the block of texts being embedded.
    """

    def __init__(
        self,
        truncation: TruncationReport,
        *,
        show_progress: bool = False,
        total: int | None = None,
    ) -> None:
        """Start observing.

        Args:
            truncation: Collects the texts that are too long.
            show_progress: Draw a tqdm bar on standard error.
            total: Number of texts, if it is known.
        """
        self.offset = 0
        self._truncation = truncation
        self._show_progress = show_progress
        self._total = total
        self._skipped = 0
        self._bar: Any = None

    @property
    def at_once(self) -> bool:
        """Whether a text may be refused, or a bar is drawn, which is the caller's to see."""
        return self._show_progress or self._truncation.refuses

    def tokenized(self, lengths: Sequence[int]) -> None:
        """Record the token counts of the current block; the bar is drawn with the first."""
        self._truncation.add(lengths, self.offset)
        if self._show_progress and self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self._total,
                initial=self._skipped,
                desc="Embedding",
                unit="text",
                disable=sys.stderr is None,  # a service of Windows, for one, has none
            )

    def embedded(self, count: int) -> None:
        """Advance the bar; tqdm takes that from any thread."""
        if self._bar is not None:
            self._bar.update(count)

    def skipped(self, count: int) -> None:
        """Advance the bar by texts that need no embedding; the rate does not count the first."""
        self._skipped += count
        self.embedded(count)

    def __enter__(self) -> CallObserver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if error is None or isinstance(error, GeneratorExit):
            self._truncation.close()
