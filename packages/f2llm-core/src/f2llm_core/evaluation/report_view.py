"""What the report shows, made of results: cells, curves and rows, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from f2llm_core.evaluation.recommend import SURE
from f2llm_core.evaluation.report_chart import Chart, Frame, Series, chart, round_range
from f2llm_core.evaluation.results import (
    BYTES_PER_NUMBER,
    Comparison,
    Estimate,
    EvaluationResults,
    Score,
    SystemResult,
    is_mixed,
)

#: Shades of the heat map, each with its own colour of text in the style sheet.
SHADES = 9
_WIDE = Frame(left=40, right=456, top=12, bottom=220)
_SMALL = Frame(left=4, right=156, top=4, bottom=76)
_METRICS = {
    "nDCG": "How high the right documents stand among the first {k}; 1 is the best possible order.",
    "R": "Share of the right documents that are among the first {k}.",
    "RR": "1 divided by the rank of the first right document, if among the first {k}.",
    "P": "Share of the first {k} documents that are right.",
    "AP": "Precision at the rank of every right document, averaged.",
}


class SystemView:
    """A system's result, with its scores found at once: there may be ten thousand of them."""

    def __init__(self, result: SystemResult, metric: str) -> None:
        self.result = result
        self.name = result.name
        self.widths = result.widths
        self.width = self.widths[-1]
        self._metric = metric
        self._scores = {(s.width, s.query_language, s.document_language): s for s in result.scores}

    def score(
        self, width: int | None = None, asked: str | None = None, to: str | None = None
    ) -> Score | None:
        """Return the score at a width (None: the full one), by language of queries, documents."""
        return self._scores.get((width or self.width, asked, to))

    def estimate(self, width: int | None = None, asked: str | None = None) -> Estimate | None:
        """Return the primary metric likewise."""
        score = self.score(width, asked)
        return score.metrics[self._metric] if score else None

    def series(self, asked: str | None, name: str) -> Series:
        """Return the primary metric over the widths, under a name."""
        found = ((width, self.estimate(width, asked)) for width in self.widths)
        return Series(name, tuple((width, estimate) for width, estimate in found if estimate))


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of languages in the heat map.

    Attributes:
        found: The primary metric.
        queries: How many it is the mean of.
        shade: 0, the lowest, to `SHADES - 1`.
    """

    found: Estimate
    queries: int
    shade: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Query language by document language, at a system's full width.

    Attributes:
        system: Its name.
        width: Dimensions.
        columns: Document languages; None stands for all.
        rows: Query language (None for all) and a cell for each column, None where nobody asked.
    """

    system: str
    width: int
    columns: tuple[str | None, ...]
    rows: tuple[tuple[str | None, tuple[Cell | None, ...]], ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparisons with one other system.

    Attributes:
        name: Of the other system.
        rows: All queries first, then each language.
        reach: The largest end of an interval, by amount.
    """

    name: str
    rows: tuple[Comparison, ...]
    reach: float


class View:
    """All that the template names."""

    bytes_per_number = BYTES_PER_NUMBER
    shades = range(SHADES)
    sure = SURE
    open_queries = 5  # of the worst; the others open on demand

    def __init__(self, results: EvaluationResults) -> None:
        self.results = results
        self.data = results.data
        self.settings = results.settings
        self.metric = results.settings.primary
        self.systems = [SystemView(system, self.metric) for system in results.systems]
        self.first = self.systems[0]
        self.timed = any(system.speed for system in results.systems)
        self.languages = results.query_languages
        self.language_count = sum(not is_mixed(language) for language in self.languages)
        self.mixed = self.language_count < len(self.languages)
        self.curve = _curve(self.systems)
        self.small_curves = _small_curves(self.first, self.languages)
        self.shade_range = self._shade_range()
        self.heat_maps = self._heat_maps()
        self.reach = self._reach()
        self.compared = _compared(results.comparisons)
        self.meanings = [
            (name, meaning) for name in self.settings.metrics if (meaning := _meaning(name))
        ]

    def _shade_range(self) -> tuple[float, float]:
        """Return the values of the palest and of the strongest shade, the same for all systems."""
        means = [
            score.metrics[self.metric].mean
            for system in self.systems
            for score in system.result.scores
            if score.width == system.width
        ]
        return round_range(min(means), max(means), 0.05)

    def _heat_maps(self) -> list[HeatMap]:
        """Return a heat map of each system, if there are pairs of languages."""
        if len(self.languages) < 2 or len(self.results.document_languages) < 2:
            return []
        return [self._heat_map(system) for system in self.systems]

    def _heat_map(self, system: SystemView) -> HeatMap:
        low, high = self.shade_range

        def cell(asked: str | None, to: str | None) -> Cell | None:
            score = system.score(None, asked, to)
            if score is None:
                return None
            found = score.metrics[self.metric]
            shade = int((found.mean - low) / (high - low) * SHADES)
            return Cell(found, score.queries, min(SHADES - 1, shade))

        columns = (*self.results.document_languages, None)
        rows = (*self.languages, None)
        return HeatMap(
            system=system.name,
            width=system.width,
            columns=columns,
            rows=tuple((asked, tuple(cell(asked, to) for to in columns)) for asked in rows),
        )

    def _reach(self) -> tuple[float, float]:
        """Return both ends of the axis on which the languages' intervals lie."""
        asked = (None, *self.languages)
        found = [one for language in asked if (one := self.first.estimate(None, language))]
        return round_range(min(one.low for one in found), max(one.high for one in found), 0.05)


def _curve(systems: Sequence[SystemView]) -> Chart | None:
    """Return the quality of every system over its widths; None if there is one width only."""
    if all(len(system.widths) < 2 for system in systems):
        return None
    return chart([system.series(None, system.name) for system in systems], _WIDE)


def _small_curves(first: SystemView, languages: Sequence[str]) -> Chart | None:
    """Return the first system's curve of each language, all on one scale; that of all is last."""
    if len(languages) < 2 or len(first.widths) < 2:
        return None
    many = [first.series(language, language) for language in languages]
    return chart([*many, first.series(None, "all")], _SMALL)


def _compared(comparisons: Sequence[Comparison]) -> list[Compared]:
    found = []
    for name in dict.fromkeys(comparison.baseline for comparison in comparisons):
        rows = sorted((one for one in comparisons if one.baseline == name), key=_order)
        reach = max(abs(end) for row in rows for end in (row.low, row.high))
        found.append(Compared(name, tuple(rows), reach or 1.0))
    return found


def _order(comparison: Comparison) -> tuple[bool, str]:
    """Put all queries first and code-switched ones last, as everywhere on the page."""
    language = comparison.query_language or ""
    return is_mixed(language), language


def _meaning(metric: str) -> str:
    """Say what a metric measures; empty for one that is not described."""
    name, _, k = metric.partition("@")
    return _METRICS.get(name, "").format(k=k)
