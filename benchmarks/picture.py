"""The results as a picture: one panel a figure, one bar an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import batch

Row = dict[str, Any]
_OURS, _PEERS = "#1f6f8b", "#b8b8b8"
_INK = "#333333"


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        title: With its unit, and whether more or less is better.
        workload: Where the figure is found.
        figure: Median, low and high of one row.
        shown: How the median is written beside its bar.
    """

    title: str
    workload: str
    figure: Callable[[Row], tuple[float, float, float]]
    shown: str


def _spread(name: str) -> Callable[[Row], tuple[float, float, float]]:
    return lambda row: (row[name]["median"], row[name]["low"], row[name]["high"])


PANELS = (
    Panel("Documents, tokens/s →", "D", _spread("tokens_per_second"), "{:,.0f}"),
    Panel(
        "← One query, ms (p50, whisker to p95)",
        "Q",
        lambda row: (row["p50_ms"], row["p50_ms"], row["p95_ms"]),
        "{:.1f}",
    ),
    Panel("16 callers, queries/s →", "C", _spread("served_per_second"), "{:,.0f}"),
    Panel("← Cold start, s", "cold", _spread("seconds"), "{:.1f}"),
    Panel(
        "← Memory, MB (steady, whisker to peak)",
        "memory",
        lambda row: (row["steady_mb"], row["steady_mb"], row["peak_mb"]),
        "{:,.0f}",
    ),
    Panel(
        "Of the ceiling's FLOP/s at that precision, % →",
        "D",
        lambda row: (100 * row.get("mfu", 0.0),) * 3,
        "{:.0f}",
    ),
)


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the picture.

    Args:
        results: Content of `results.json`.
        path: A `.png` file.
    """
    from matplotlib.figure import Figure

    rows = results["rows"]
    figure = Figure(figsize=(16, 1.9 + 0.66 * len(rows)), layout="constrained")
    for panel, axes in zip(PANELS, figure.subplots(2, 3, sharey=True).flat, strict=True):
        _draw_panel(axes, panel, rows)
    machine = results["machine"]
    figure.suptitle(
        f"{results['model']} · {machine['cpu']}, {machine['cores']} cores · "
        "median, lowest to highest round",
        color=_INK,
    )
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Any, panel: Panel, rows: list[Row]) -> None:  # noqa: ANN401  (untyped library)
    found = [
        (place, *panel.figure(row[panel.workload]), row["engine"].startswith("f2llm"))
        for place, row in enumerate(rows)
        if panel.workload in row and any(panel.figure(row[panel.workload]))
    ]
    for place, middle, low, high, ours in found:
        color = _OURS if ours else _PEERS
        axes.barh(place, middle, height=0.68, color=color)
        if high > low:
            axes.plot([low, high], [place, place], color=_INK, linewidth=1.3, marker="|")
        axes.annotate(
            panel.shown.format(middle),
            (max(middle, high), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_INK,
        )
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=9)
    if not axes.yaxis_inverted():  # shared by the panels
        axes.invert_yaxis()
    axes.set_title(panel.title, fontsize=11, color=_INK, loc="left")
    if found:
        axes.set_xlim(right=axes.get_xlim()[1] * 1.12)  # room for the numbers
    axes.spines[["top", "right"]].set_visible(False)


def _label(row: Row) -> str:
    size = f", batch {batch(row)}" if row["batch_size"] else ""
    return f"{row['title'].strip('*')}\n{row['dtype']}{size}"
