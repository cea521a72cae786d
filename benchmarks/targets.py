"""What the engine is meant to reach, next to what it reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Figure = Callable[[Row, Row], float]


def _times(workload: str) -> Figure:
    """Return how many times as fast one is as the other, by what the table says of each."""

    def figure(mine: Row, its: Row) -> float:
        return float(mine[workload]["times"] / its[workload]["times"])

    return figure


_documents, _query, _at_once = _times("D"), _times("Q"), _times("C")


def _slowest(mine: Row, its: Row) -> float:
    return float(mine["C"]["p95_ms"] / its["C"]["p50_ms"])


def _cold(mine: Row, its: Row) -> float:
    return float(its["cold"]["times"] / mine["cold"]["times"])


def _mfu(mine: Row, _: Row) -> float:
    return float(mine["D"]["mfu"])


@dataclass(frozen=True, slots=True)
class _Target:
    """A figure of the engine at float32 and bfloat16, and what is asked of it.

    Attributes:
        name: As the table shows it.
        figure: Of the engine's row and of its peer's.
        peers: Of the float32 and of the bfloat16 engine.
        asked: Of each.
        tuned: Whether the peers run at their best batch.
        more: Whether more is better.
    """

    name: str
    figure: Figure
    peers: tuple[str, str]
    asked: tuple[float, float]
    tuned: bool = False
    more: bool = True


_FLOAT32 = ("st-fp32", "st-fp32")
_DEFAULT = ("st-bf16", "st-bf16")
_SAME = ("st-fp32", "st-bf16")
_OPENVINO = ("st-openvino-fp32", "st-openvino-bf16")
_OF_FLOAT32 = "times sentence-transformers float32"
_OF_DEFAULT = "times sentence-transformers as it loads by default (bfloat16)"

#: By the shape of the model.
_TARGETS = {
    "80M": (
        _Target(f"D, {_OF_FLOAT32}", _documents, _FLOAT32, (3.5, 6.0)),
        _Target(f"D, {_OF_DEFAULT}", _documents, _DEFAULT, (1.7, 2.8)),
        _Target(
            "D, times its best batch at the same precision",
            _documents,
            _SAME,
            (2.5, 2.0),
            tuned=True,
        ),
        _Target(
            "D, times its OpenVINO backend at the same precision", _documents, _OPENVINO, (1.4, 1.3)
        ),
        _Target(f"Q p50, {_OF_FLOAT32}", _query, _FLOAT32, (3.5, 5.5)),
        _Target(f"Q p50, {_OF_DEFAULT}", _query, _DEFAULT, (1.7, 2.6)),
        _Target(f"C, {_OF_FLOAT32}", _at_once, _FLOAT32, (8.0, 13.0)),
        _Target("C, its p95 of their p50", _slowest, _FLOAT32, (1.0, 1.0), more=False),
        _Target("MFU on D, of the measured ceiling", _mfu, _SAME, (0.8, 0.65)),
        _Target(
            "Cold start, of that of sentence-transformers at the same precision",
            _cold,
            _SAME,
            (0.25, 0.25),
            more=False,
        ),
    ),
    "0.6B": (
        _Target(f"D, {_OF_FLOAT32}", _documents, _FLOAT32, (2.5, 4.5)),
        _Target(f"Q p50, {_OF_FLOAT32}", _query, _FLOAT32, (6.0, 9.0)),
    ),
}


def table_of_targets(results: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table: name, then for float32 and bfloat16 what is and what is asked.

    Args:
        results: Content of `results.json`; figures that it lacks are shown as a dash.
    """
    rows = {(row["engine"], row["tuned"]): row for row in results["rows"]}
    lines = []
    for target in _TARGETS.get(results["shape"], ()):
        cells = [target.name]
        engines = ("f2llm-fp32", "f2llm-bf16")
        for engine, peer, asked in zip(engines, target.peers, target.asked, strict=True):
            sign = "≥" if target.more else "≤"
            try:
                value = target.figure(rows[engine, False], rows[peer, target.tuned])
            except KeyError:  # not measured, or refused
                cells += ["–", f"{sign} {asked}"]
                continue
            reached = value >= asked if target.more else value <= asked
            # As many digits as show on which side it is.
            shown = f"{value:.2f}" if reached or round(value, 2) != asked else f"{value:.4f}"
            cells += [f"{shown} {'✓' if reached else '✗'}", f"{sign} {asked}"]
        lines.append(cells)
    return lines
