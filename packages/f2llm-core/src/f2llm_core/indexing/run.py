"""One call of `index`, from documents to stored rows and a report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import InputError
from f2llm_core.indexing.records import DIGEST, Placed, Row, RowMaker
from f2llm_core.indexing.stale import FormerRows
from f2llm_core.inputs import TruncationReport
from f2llm_core.matryoshka import Vectors
from f2llm_core.pipeline import Call
from f2llm_core.progress import CallObserver
from f2llm_core.stores import VectorStore
from f2llm_core.stores.base import searchable


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that was not indexed.

    Attributes:
        place: Where it came from.
        reason: Why not.
    """

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What a call did, in rows of the store.

    Attributes:
        added: Rows of texts that were not there.
        changed: Rows that took the place of others of their source, or got other metadata.
        unchanged: Rows that were there already, and texts that came twice.
        removed: Rows whose texts are no more.
        embedded: Texts that were embedded for this.
        failed: Documents that were not indexed; if there are any, nothing is removed.
        seconds: Duration.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    failed: tuple[Failure, ...] = ()
    seconds: float = 0.0


class Run:
    """One call of `index`. While a block of rows is embedded, the one before it is stored."""

    def __init__(
        self, store: VectorStore, model: F2LLM, former: FormerRows, *, collect: bool, size: int
    ) -> None:
        """Prepare.

        Args:
            store: Where to; stamped already.
            model: Embeds.
            former: Told of all rows that come.
            collect: Go on after a document that cannot be indexed.
            size: Rows of a block; fewer if the store takes fewer at once.
        """
        self.failed: list[Failure] = []
        self._begin = time.monotonic()
        self._store = store
        self._model = model
        self._former = former
        self._collect = collect
        self._size = min(size, store.max_batch_size)
        self._error: Exception | None = None  # raised when what came before it is stored
        self._unwritten: set[str] = set()  # ids of rows on their way
        self._submitted: list[Row] = []
        self._flying: Call | None = None  # their vectors
        self._stored = self._rewritten = self._unchanged = 0

    def observe(self, total: int | None, *, show_progress: bool) -> CallObserver:
        """Return what is to be open meanwhile: the bar, and the report of texts too long."""
        model = self._model
        self._pipeline = model._pipeline("document")
        report = TruncationReport(
            model.max_length, self._pipeline.on_truncate, lambda i: self._submitted[i].place
        )
        self._observer = CallObserver(report, show_progress=show_progress, total=total)
        return self._observer

    def read(self, stream: Iterator[Placed], maker: RowMaker) -> Iterator[Row]:
        """Yield the rows of documents; an error ends the stream, to be raised in its turn."""
        try:
            for place, document in stream:
                try:
                    row = maker.make(document, place)
                    if reason := self._store.refusal(row.document, row.metadata):
                        msg = f"{self._store.name} cannot hold it: {reason}"
                        raise InputError(msg)
                except InputError as error:
                    self._fail(place, f"{place}: {error}")
                    if not self._collect:
                        return
                    continue
                self._former.came(row)
                yield row
        except Exception as error:  # documents may come from anywhere
            self._error = error

    def embed_and_store(self, rows: Iterator[Row]) -> None:
        """Store the rows that the collection lacks, and what changed of the others."""
        for block in self._blocks(rows):
            landed = self._land()
            try:
                complete = self._submit(block)
            finally:
                self._write(landed)
            if not complete:
                break
        self._write(self._land())
        if self._error is not None:
            raise self._error

    def report(self) -> IndexReport:
        """Return what was done."""
        replaced = self._former.replaced
        return IndexReport(
            added=self._stored - replaced,
            changed=self._rewritten + replaced,
            unchanged=self._unchanged,
            removed=self._former.removed,
            embedded=self._stored,
            failed=tuple(self.failed),
            seconds=time.monotonic() - self._begin,
        )

    def said(self) -> str:
        """Tell what the store holds of this call, for the message of an error."""
        return (
            f"By then {self._stored + self._rewritten} rows were stored and "
            f"{self._unchanged} found unchanged; they stay, and the same call goes on from there."
        )

    def close(self) -> None:
        """Leave no work behind."""
        if self._flying is not None:
            self._flying.cancel()

    def _blocks(self, rows: Iterator[Row]) -> Iterator[list[Row]]:
        """Yield the rows to be embedded, read and looked up while those before are embedded."""
        fresh: list[Row] = []
        while page := list(islice(rows, self._size)):
            fresh += self._look_up(page)
            while len(fresh) >= self._size:
                yield fresh[: self._size]
                del fresh[: self._size]
        if fresh:
            yield fresh

    def _look_up(self, page: list[Row]) -> list[Row]:
        """Return the rows that the store lacks; write the metadata of those where only it differs.

        A row whose vector is lost or could never be found is one that the store lacks.
        """
        absent: dict[str, Row] = {}
        for row in page:
            if row.id not in self._unwritten:
                absent.setdefault(row.id, row)
        twice = len(page) - len(absent)
        found = self._store.get(list(absent))
        usable = searchable(found.vectors)
        changed: list[Row] = []
        places: list[int] = []
        for place in np.flatnonzero(usable).tolist():
            row = absent.pop(found.ids[place])
            if found.metadatas[place].get(DIGEST) != row.metadata[DIGEST]:
                changed.append(row)
                places.append(place)
        if changed:
            self._upsert(changed, found.vectors[places])
            self._rewritten += len(changed)
        self._unchanged += twice + len(found.ids) - len(changed) - int((~usable).sum())
        self._observer.skipped(len(page) - len(absent))
        self._unwritten |= absent.keys()
        return list(absent.values())

    def _submit(self, rows: list[Row]) -> bool:
        """Have rows embedded; return whether the stream goes on after them."""
        while rows:
            self._submitted = rows
            try:
                pending = self._pipeline.submit([row.text for row in rows], self._observer)
            except InputError as error:  # too long, and the model's options make that an error
                if error.index is None:
                    raise
                found = [error, *error.others] if self._collect else [error]
                bad = {one.index: str(one) for one in found if one.index is not None}
                for place, reason in bad.items():
                    self._unwritten.discard(rows[place].id)
                    self._fail(rows[place].place, reason)
                if not self._collect:
                    self._submit(rows[: error.index])
                    return False
                rows = [row for place, row in enumerate(rows) if place not in bad]
                continue
            self._flying = Call(pending, self._model.dimensions)
            break
        return True

    def _land(self) -> tuple[list[Row], Vectors] | None:
        """Wait for the rows that were submitted last, if there are any."""
        if self._flying is None:
            return None
        vectors = self._flying.result()
        self._flying = None
        return self._submitted, vectors

    def _write(self, landed: tuple[list[Row], Vectors] | None) -> None:
        if landed is None:
            return
        rows, vectors = landed
        self._upsert(rows, vectors)
        self._stored += len(rows)
        self._unwritten.difference_update(row.id for row in rows)
        for row in rows:
            self._former.stored(row)

    def _upsert(self, rows: list[Row], vectors: Vectors) -> None:
        self._store.upsert(
            [row.id for row in rows],
            vectors,
            [row.document for row in rows],
            [row.metadata for row in rows],
        )

    def _fail(self, place: str, reason: str) -> None:
        """Take a document that cannot be indexed into the report, or into an error to be raised."""
        if self._collect:
            self.failed.append(Failure(place, reason.removeprefix(f"{place}: ")))
            self._observer.skipped(1)
        else:
            self._error = InputError(reason)
