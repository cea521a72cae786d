"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from f2llm_core.errors import MissingExtraError
from f2llm_core.evaluation.results import (
    BYTES_PER_NUMBER,
    Estimate,
    EvaluationResults,
    SystemResult,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLUMNS = 120  # of a file or pipe, which has no width of its own
_LEAST = 80  # columns that the tables need; a narrower terminal breaks their lines
_WIDE = 110  # columns from which an interval stands beside its figure, not below it


def print_results(results: EvaluationResults, file: TextIO) -> None:
    """Write the tables and the recommendation.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        feature = "The table of an evaluation"
        raise MissingExtraError(feature, "eval") from error
    width = None if file.isatty() else _COLUMNS
    console = Console(file=file, width=width, highlight=False, markup=False)
    console.width = max(console.width, _LEAST)
    tables = _Tables(results, console.width)
    data, settings = results.data, results.settings
    console.print(
        f"{data.name}: {sum(data.queries.values()):,} queries, {data.documents:,} documents. "
        f"In brackets: {settings.confidence:.0%} bootstrap intervals."
    )
    for part in tables.all():
        console.print()
        console.print(part)
    for sentence in results.recommendation:
        console.print(f"\n{sentence}" if sentence is results.recommendation[0] else sentence)


class _Tables:
    """The tables, for a terminal of so many columns."""

    def __init__(self, results: EvaluationResults, width: int) -> None:
        self._results = results
        self._metrics = results.settings.metrics
        self._primary = results.settings.primary
        self._width = width
        self._narrow = width < _WIDE

    def all(self) -> list[RenderableType]:
        results = self._results
        parts: list[RenderableType] = [self._systems()]
        if any(system.speed for system in results.systems):
            parts.append(self._speeds())
        parts += [
            self._widths(system)
            for system in results.systems
            if system.kind == "f2llm" and len(system.widths) > 1
        ]
        if results.query_languages:
            parts.append(self._languages(results.systems[0]))
        others = dict.fromkeys(comparison.baseline for comparison in results.comparisons)
        return [*parts, *map(self._comparisons, others)]

    def _systems(self) -> Table:
        head = self._one_or_two("precision", "dimensions")
        table = _table("At full width", ["", *head, *self._metrics])
        for system in self._results.systems:
            score = system.overall()
            kind = self._one_or_two(system.dtype or "–", f"{system.full_width:,}")
            metrics = [self._interval(score.metrics[name]) for name in self._metrics]
            table.add_row(system.name, *kind, *metrics)
        return table

    def _speeds(self) -> Table:
        table = _table("Speed", ["", "queries/s", "documents/s"])
        for system in self._results.systems:
            speed = system.speed
            rates = [speed.queries_per_second, speed.documents_per_second] if speed else []
            table.add_row(system.name, *(f"{rate:,.1f}" for rate in rates))
        return table

    def _widths(self, system: SystemResult) -> Table:
        head = ["dimensions", "bytes", "kept", *self._metrics]
        table = _table(f"{system.name}, by dimensions", head)
        full = system.overall().metrics[self._primary].mean
        for width in system.widths:
            score = system.overall(width)
            kept = f"{score.metrics[self._primary].mean / full:.1%}" if full else ""
            metrics = [self._interval(score.metrics[name]) for name in self._metrics]
            table.add_row(f"{width:,}", f"{width * BYTES_PER_NUMBER:,}", kept, *metrics)
        return table

    def _languages(self, system: SystemResult) -> Table:
        """Make a row for each language of queries, and columns of documents' if they fit."""
        columns = self._results.document_languages
        room = self._width - (38 if self._narrow else 45)  # beside the first columns
        taken = sum(max(5, len(language)) + 2 for language in columns)
        columns = columns if len(columns) > 1 and taken <= room else ()
        title = f"{system.name}, {self._primary} by language" + (
            ": queries down, documents across" if columns else ""
        )
        table = _table(title, ["", "queries", "all", *columns])
        for language in self._results.query_languages:
            score = system.score(None, language)
            if score is not None:
                every = self._interval(score.metrics[self._primary])
                pairs = [system.score(None, language, to) for to in columns]
                means = [f"{s.metrics[self._primary].mean:.3f}" if s else "" for s in pairs]
                table.add_row(language, f"{score.queries:,}", every, *means)
        return table

    def _comparisons(self, baseline: str) -> Table:
        first = self._results.systems[0].name
        table = _table(
            f"{first} less {baseline}, {self._primary}",
            ["", "queries", "difference", "better", "worse", "p (Holm)"],
        )
        for found in self._results.comparisons:
            if found.baseline == baseline:
                table.add_row(
                    found.query_language or "all",
                    f"{found.queries:,}",
                    f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
                    f"{found.better:,}",
                    f"{found.worse:,}",
                    f"{found.p_holm:.3g}",
                )
        return table

    def _interval(self, found: Estimate) -> str:
        between = "\n" if self._narrow else " "
        return f"{found.mean:.3f}{between}[{found.low:.3f}, {found.high:.3f}]"

    def _one_or_two(self, upper: str, lower: str) -> list[str]:
        """Return two cells; where there is little room one, with two lines."""
        return [f"{upper}\n{lower}"] if self._narrow else [upper, lower]


def _table(title: str, head: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for place, name in enumerate(head):
        if place == 0:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table
