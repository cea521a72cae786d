"""What the engine is meant to reach, next to what it reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
Figure = Callable[[Row, Row], float]


def _documents(mine: Row, its: Row) -> float:
    return float(its["D"]["seconds"]["median"] / mine["D"]["seconds"]["median"])


def _query(mine: Row, its: Row) -> float:
    return float(its["Q"]["p50_ms"] / mine["Q"]["p50_ms"])


def _cold(mine: Row, its: Row) -> float:
    return float(mine["cold"]["seconds"]["median"] / its["cold"]["seconds"]["median"])


def _mfu(mine: Row, _: Row) -> float:
    return float(mine["D"]["mfu"])


#: Name, figure, peer of the float32 and of the bfloat16 engine (name, whether at its best batch),
#: what is asked of each, and whether more is better.
_TARGETS: tuple[
    tuple[str, Figure, tuple[str, bool], tuple[str, bool], tuple[float, float], bool], ...
] = (
    (
        "D, times sentence-transformers float32",
        _documents,
        ("st-fp32", False),
        ("st-fp32", False),
        (3.5, 6.0),
        True,
    ),
    (
        "D, times sentence-transformers as it loads by default (bfloat16)",
        _documents,
        ("st-bf16", False),
        ("st-bf16", False),
        (1.7, 2.8),
        True,
    ),
    (
        "D, times its best batch at the same precision",
        _documents,
        ("st-fp32", True),
        ("st-bf16", True),
        (2.5, 2.0),
        True,
    ),
    (
        "D, times its OpenVINO backend at the same precision",
        _documents,
        ("st-openvino-fp32", False),
        ("st-openvino-bf16", False),
        (1.4, 1.3),
        True,
    ),
    (
        "Q p50, times sentence-transformers float32",
        _query,
        ("st-fp32", False),
        ("st-fp32", False),
        (3.5, 5.5),
        True,
    ),
    (
        "Q p50, times sentence-transformers as it loads by default (bfloat16)",
        _query,
        ("st-bf16", False),
        ("st-bf16", False),
        (1.7, 2.6),
        True,
    ),
    (
        "MFU on D, of the measured ceiling",
        _mfu,
        ("st-fp32", False),
        ("st-bf16", False),
        (0.8, 0.65),
        True,
    ),
    (
        "Cold start, of that of sentence-transformers at the same precision",
        _cold,
        ("st-fp32", False),
        ("st-bf16", False),
        (0.25, 0.25),
        False,
    ),
)


def table_of_targets(results: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table: name, then for float32 and bfloat16 what is and what is asked.

    Args:
        results: Content of `results.json`; figures that it lacks are shown as a dash.
    """
    rows = {(row["engine"], row["tuned"]): row for row in results["rows"]}
    lines = []
    for name, figure, *peers, asked, more in _TARGETS:
        cells = [name]
        for engine, peer, limit in zip(("f2llm-fp32", "f2llm-bf16"), peers, asked, strict=True):
            try:
                value = figure(rows[engine, False], rows[peer])
            except KeyError:  # not measured, or refused
                cells += ["–", f"{limit}"]
                continue
            reached = value >= limit if more else value <= limit
            cells += [f"{value:.2f} {'✓' if reached else '✗'}", f"{'≥' if more else '≤'} {limit}"]
        lines.append(cells)
    return lines
