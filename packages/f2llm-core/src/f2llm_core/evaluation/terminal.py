"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from f2llm_core.errors import MissingExtraError
from f2llm_core.evaluation.results import (
    BYTES_PER_NUMBER,
    Comparison,
    Estimate,
    EvaluationResults,
    SystemResult,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLUMNS = 120  # of a file or pipe, which has no width of its own
_MOST_LANGUAGES = 12  # of documents that a table has columns for


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
    console = Console(
        file=file, width=None if file.isatty() else _COLUMNS, highlight=False, markup=False
    )
    first = results.systems[0]
    data, settings = results.data, results.settings
    console.print(
        f"{data.name}: {sum(data.queries.values()):,} queries, {data.documents:,} documents. "
        f"In brackets: {settings.confidence:.0%} bootstrap intervals."
    )
    parts: list[RenderableType] = [_systems(results)]
    parts += [
        _widths(results, system)
        for system in results.systems
        if system.kind == "f2llm" and len(system.widths) > 1
    ]
    if results.query_languages:
        parts.append(_languages(results, first))
    if results.comparisons:
        parts.append(_comparisons(results))
    for part in parts:
        console.print()
        console.print(part)
    for sentence in results.recommendation:
        console.print(f"\n{sentence}" if sentence is results.recommendation[0] else sentence)


def _systems(results: EvaluationResults) -> Table:
    timed = any(system.speed for system in results.systems)
    speeds = ["queries/s", "documents/s"] if timed else []
    table = _table(
        "At full width", ["", "precision", "dimensions", *results.settings.metrics, *speeds]
    )
    for system in results.systems:
        score = system.overall()
        metrics = [_interval(score.metrics[name]) for name in results.settings.metrics]
        speed = system.speed
        rates = [speed.queries_per_second, speed.documents_per_second] if speed else []
        cells = [system.name, system.dtype or "", f"{system.full_width:,}", *metrics]
        table.add_row(*cells, *(f"{rate:,.1f}" for rate in rates))
    return table


def _widths(results: EvaluationResults, system: SystemResult) -> Table:
    head = ["dimensions", "bytes", "kept", *results.settings.metrics]
    table = _table(f"{system.name}, by dimensions", head)
    primary = results.settings.primary
    full = system.overall().metrics[primary].mean
    for width in system.widths:
        score = system.overall(width)
        kept = f"{score.metrics[primary].mean / full:.1%}" if full else ""
        metrics = [_interval(score.metrics[name]) for name in results.settings.metrics]
        table.add_row(f"{width:,}", f"{width * BYTES_PER_NUMBER:,}", kept, *metrics)
    return table


def _languages(results: EvaluationResults, system: SystemResult) -> Table:
    """Make a row for each language of queries, and a column for each of documents."""
    primary = results.settings.primary
    columns = results.document_languages
    columns = columns if 1 < len(columns) <= _MOST_LANGUAGES else ()
    title = f"{system.name}, {primary} by language" + (
        ": queries down, documents across" if columns else ""
    )
    table = _table(title, ["", "queries", "all", *columns])
    for language in results.query_languages:
        score = system.score(None, language)
        if score is not None:
            cells = [system.score(None, language, to) for to in columns]
            shown = [f"{cell.metrics[primary].mean:.3f}" if cell else "" for cell in cells]
            every = _interval(score.metrics[primary])
            table.add_row(language, f"{score.queries:,}", every, *shown)
    return table


def _comparisons(results: EvaluationResults) -> Table:
    table = _table(
        f"{results.systems[0].name} less the others, {results.settings.primary}",
        ["", "language", "queries", "difference", "better", "worse", "p"],
    )
    before: str | None = None
    for found in results.comparisons:
        name = "" if found.baseline == before else found.baseline
        before = found.baseline
        table.add_row(
            name,
            found.query_language or "all",
            f"{found.queries:,}",
            _difference(found),
            f"{found.better:,}",
            f"{found.worse:,}",
            f"{found.p_value:.3g}",
        )
    return table


def _table(title: str, head: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)
    for place, name in enumerate(head):
        if place == 0:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _interval(found: Estimate) -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _difference(found: Comparison) -> str:
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
