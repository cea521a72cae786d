"""One call of an engine: the folder opened, blocks counted, the report made of what is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from f2llm_core.distributed.block import OTHER_TEXT
from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.report import BlockReport, EmbedReport
from f2llm_core.errors import F2LLMError, StoreError, TruncationWarning, warn
from f2llm_core.indexing.run import Failure

_NAMED_IN_WARNING = 5


def progress_bar(*, show: bool) -> Any:  # noqa: ANN401  (tqdm has no types)
    """Return a bar on standard error that counts rows, or nothing if it is not to be shown."""
    from tqdm.auto import tqdm

    return tqdm(desc="Embedding", unit="row", disable=not show)


class Run:
    """Counts what becomes of blocks.

    Attributes:
        done: Sorted keys of the rows that the folder held at the start.
    """

    def __init__(self, folder: VectorFolder, begin: float) -> None:
        self._folder = folder
        self._begin = begin
        self._total = BlockReport()
        self._parts: set[str] = set()
        self.done, _ = folder.read_keys()

    def add(self, block: BlockReport) -> None:
        """Count a block, which is written by now."""
        total = self._total
        total.rows += block.rows
        if block.part not in self._parts:  # rows that came as a block twice are one part
            total.written += block.written
            self._parts.add(block.part)
        total.tokens += block.tokens
        total.too_long += block.too_long
        total.failed += block.failed

    def report(self) -> EmbedReport:
        """Compare what the folder holds with what the blocks said.

        Raises:
            StoreError: Rows are missing there.
        """
        total, before = self._total, len(self.done)
        keys, removed = self._folder.read_keys()
        embedded = len(keys) - before
        if embedded + len(removed) < total.written:
            msg = (
                f"{total.written} rows were written and {embedded + len(removed)} of them are in "
                f"{self._folder.path} here. All nodes must share one folder, and nobody may remove "
                "parts meanwhile. The same call embeds what is missing."
            )
            raise StoreError(msg)
        total.failed += [Failure(f"id {id_!r}", OTHER_TEXT) for id_, same in removed if not same]
        self._warn()
        return EmbedReport(
            embedded=embedded,
            skipped=total.rows - embedded - len(total.failed),
            failed=tuple(total.failed),
            truncated=len(total.too_long),
            tokens=total.tokens,
            seconds=time.monotonic() - self._begin,
        )

    def _warn(self) -> None:
        long = self._total.too_long
        if long:
            named = ", ".join(long[:_NAMED_IN_WARNING])
            rest = len(long) - _NAMED_IN_WARNING
            warn(
                f"Of {len(long)} texts, longer than max_length, only the head was embedded: {named}"
                f"{f' and {rest} more' if rest > 0 else ''}. Split long texts, raise max_length, "
                "or choose on_truncate='error' or 'ignore'.",
                TruncationWarning,
            )


@contextmanager
def running(folder: VectorFolder, begin: float) -> Iterator[Run]:
    """Open the folder for a run; an error says that what was written stays.

    Args:
        folder: Where to.
        begin: Of the call, by `time.monotonic`.
    """
    with folder.open():
        run = Run(folder, begin)
        try:
            yield run
        except F2LLMError as error:
            if written := run._total.written:
                said = f"{written} rows were written before; the same call goes on from there."
                error.args = (f"{error} {said}", *error.args[1:])
            raise
