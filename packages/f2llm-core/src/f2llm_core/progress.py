"""What one call tells its caller while it runs: texts that are too long, and how far it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from f2llm_core.inputs import TruncationReport


class CallObserver:
    """A backend's observer for one call; a context manager that reports at its end."""

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
        self._truncation = truncation
        self._show_progress = show_progress
        self._total = total
        self._skipped = 0
        self._bar: Any = None

    @property
    def at_once(self) -> bool:
        """Whether a text may be refused, or a bar is drawn, which is the caller's to see."""
        return self._show_progress or self._truncation.refuses

    def tokenized(self, lengths: Sequence[int], first: int = 0) -> None:
        """Record token counts; the bar is drawn with the first.

        Args:
            lengths: Of all texts, or of a block of them.
            first: Position in the call of the first of these texts.
        """
        self._truncation.add(lengths, first)
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


class BlockObserver:
    """A backend's observer for a block of a stream, of which several may be on their way."""

    #: Blocks are counted one after the other, in the thread that reads them.
    at_once = True

    def __init__(self, call: CallObserver, first: int) -> None:
        """Observe a block.

        Args:
            call: Of the whole stream.
            first: Position in the stream of the block's first text.
        """
        self._call = call
        self._first = first

    def tokenized(self, lengths: Sequence[int]) -> None:
        """Record the token counts of this block."""
        self._call.tokenized(lengths, self._first)

    def embedded(self, count: int) -> None:
        """Advance the bar."""
        self._call.embedded(count)
