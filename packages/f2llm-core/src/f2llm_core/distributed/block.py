"""What both engines do with a table: check, leave out what is done, embed, write."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.keys import Keys, find, make_keys, text_hash
from f2llm_core.distributed.report import BlockReport
from f2llm_core.distributed.rows import Columns, Row, check_rows
from f2llm_core.encoder import F2LLM
from f2llm_core.errors import InputError, NonFiniteError
from f2llm_core.indexing.run import Failure
from f2llm_core.matryoshka import Vectors
from f2llm_core.pipeline import Call

if TYPE_CHECKING:
    import pyarrow as pa

#: Why a row is refused whose id has a vector already.
OTHER_TEXT = (
    "its id stands for another text already, whose vector is kept; give every text an id of its "
    "own, or embed changed texts into another folder"
)


class BlockEmbedder:
    """One loaded model that turns tables into parts of a folder."""

    def __init__(self, model: F2LLM, folder: VectorFolder, done: Keys, columns: Columns) -> None:
        """Prepare; weights are loaded with the first text.

        Args:
            model: Embeds.
            folder: Where to; opened already.
            done: Sorted keys of the rows that it held at the start.
            columns: Names of what is read.
        """
        self._model = model
        self._folder = folder
        self._done = done
        self._columns = columns

    def embed(self, table: pa.Table, *, given_up: str = "") -> BlockReport:
        """Embed the rows of a table that the folder lacks, and write them as one part.

        Args:
            table: The rows.
            given_up: Why those that it lacks have failed and are not to be embedded, if so.

        Raises:
            ConfigurationError: The table lacks a column.
            StoreError: The part cannot be written.
        """
        rows, failed = check_rows(table, self._columns)
        report = BlockReport(rows=table.num_rows, failed=failed)
        fresh = self._fresh(rows, report)
        if given_up:
            report.failed += [Failure(row.place, given_up) for row in fresh]
        elif fresh:
            self._write(fresh, report)
        return report

    def _write(self, rows: list[Row], report: BlockReport) -> None:
        name = hashlib.sha256(_keys(rows).tobytes()).hexdigest()[:32]
        rows, vectors = self._vectors(rows, report)
        if rows:
            hashes = [text_hash(row.text) for row in rows]
            self._folder.write(name, [row.id for row in rows], hashes, vectors)
            report.part, report.written = name, len(rows)

    def _fresh(self, rows: Sequence[Row], report: BlockReport) -> list[Row]:
        """Return the rows that are not done; those of a done id and another text have failed."""
        there, same = find(self._done, _keys(rows))
        fresh: dict[str, Row] = {}
        for row, done, right in zip(rows, there.tolist(), same.tolist(), strict=True):
            if not done:
                right = fresh.setdefault(row.id, row).text == row.text
            if not right:
                report.failed.append(Failure(row.place, OTHER_TEXT))
        return list(fresh.values())

    def _vectors(self, rows: list[Row], report: BlockReport) -> tuple[list[Row], Vectors]:
        """Embed rows; those that prove to be too long, or make no vector, have failed."""
        model, bad = self._model, {}
        pipeline = model._pipeline("document")
        while rows:
            lengths = _Lengths(rows, model.max_length, refuse=pipeline.on_truncate == "error")
            try:
                pending = pipeline.submit([row.text for row in rows], lengths)
                vectors = Call(pending, model.dimensions).result()
            except NonFiniteError as error:
                bad = dict.fromkeys(error.rows, "the model makes no finite vector of it")
            except InputError:
                bad = lengths.refused
            else:
                report.tokens += lengths.tokens
                if pipeline.on_truncate != "ignore":
                    report.too_long += lengths.cut
                return rows, vectors
            report.failed += [Failure(rows[i].place, reason) for i, reason in bad.items()]
            rows = [row for i, row in enumerate(rows) if i not in bad]
        return rows, np.empty((0, model.dimensions), dtype=np.float32)


def _keys(rows: Sequence[Row]) -> Keys:
    return make_keys([row.id for row in rows], [text_hash(row.text) for row in rows])


class _Lengths:
    """Observes one call: tokens of its texts, and those that are too long."""

    def __init__(self, rows: Sequence[Row], max_length: int, *, refuse: bool) -> None:
        self.tokens = 0
        self.cut: list[str] = []
        self.refused: dict[int, str] = {}
        self._rows = rows
        self._max_length = max_length
        self._refuse = refuse

    @property
    def at_once(self) -> bool:
        return self._refuse

    def tokenized(self, lengths: Sequence[int]) -> None:
        long = [i for i, length in enumerate(lengths) if length > self._max_length]
        self.tokens = sum(min(length, self._max_length) for length in lengths)
        self.cut = [f"{self._rows[i].place} ({lengths[i]} tokens)" for i in long]
        if long and self._refuse:
            limit = f"max_length is {self._max_length}"
            self.refused = {i: f"it has {lengths[i]} tokens, {limit}" for i in long}
            msg = f"{len(long)} texts are too long"
            raise InputError(msg, index=long[0])

    def embedded(self, count: int) -> None:
        """Nothing to do: the progress of a run is that of its blocks."""
