"""Geometry of the report's charts: where points, ticks and bands lie. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from f2llm_core.evaluation.results import Estimate

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # between two ticks of the axis of quality
_MOST_TICKS = 6
_APART = 0.5  # octaves between two labelled widths; the labels of nearer ones would touch


@dataclass(frozen=True, slots=True)
class Frame:
    """The inner part of a chart, in units of its SVG.

    Attributes:
        left: Where the smallest width lies.
        right: Where the largest lies.
        top: Where the highest value lies.
        bottom: Where the lowest lies.
    """

    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Quality of one system over its widths.

    Attributes:
        name: Of the system or language.
        points: `(x, y)` of each width, ascending.
        band: Outline of the confidence intervals, empty if there are fewer than two widths.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves in one frame.

    Attributes:
        frame: Where they lie.
        curves: In the order they were asked for.
        values: `(y, value)` of the ticks of quality.
        widths: `(x, width)` of the labelled widths.
        low: Value at the bottom.
        high: Value at the top.
    """

    frame: Frame
    curves: tuple[Curve, ...]
    values: tuple[tuple[float, float], ...]
    widths: tuple[tuple[float, int], ...]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """What a curve is made of.

    Attributes:
        name: Of the system or language.
        estimates: `(width, estimate)`, ascending.
    """

    name: str
    estimates: tuple[tuple[int, Estimate], ...]


def chart(many: Sequence[Series], frame: Frame) -> Chart:
    """Lay curves out over a logarithmic axis of widths.

    Args:
        many: At least one, each with at least one width.
        frame: Where to put them.
    """
    estimates = [estimate for one in many for _, estimate in one.estimates]
    low, high, ticks = _value_axis(
        min(estimate.low for estimate in estimates), max(estimate.high for estimate in estimates)
    )
    widths = sorted({width for one in many for width, _ in one.estimates})
    first, last = math.log2(widths[0]), math.log2(widths[-1])

    def x(width: int) -> float:
        share = (math.log2(width) - first) / (last - first) if last > first else 0.5
        return round(frame.left + share * (frame.right - frame.left), 1)

    def y(value: float) -> float:
        return round(frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top), 1)

    curves = []
    for one in many:
        upper = [(x(width), y(estimate.high)) for width, estimate in one.estimates]
        lower = [(x(width), y(estimate.low)) for width, estimate in one.estimates]
        points = tuple((x(width), y(estimate.mean)) for width, estimate in one.estimates)
        band = (*upper, *reversed(lower)) if len(points) > 1 else ()
        curves.append(Curve(one.name, points, band))
    return Chart(
        frame=frame,
        curves=tuple(curves),
        values=tuple((y(value), value) for value in ticks),
        widths=tuple((x(width), width) for width in _labelled(widths)),
        low=low,
        high=high,
    )


def round_range(low: float, high: float, step: float) -> tuple[float, float]:
    """Widen a range of values to multiples of a step, at least one step apart.

    Returns:
        The lower and upper end, within 0 to 1 if the range is.
    """
    # A float's own error must not add a step: 0.15 / 0.05 is a little less than 3.
    bottom = math.floor(low / step + 1e-9)
    top = math.ceil(high / step - 1e-9)
    if top == bottom:
        top, bottom = (top + 1, bottom) if high + step <= 1 else (top, bottom - 1)
    return round(bottom * step, 4), round(top * step, 4)


def _value_axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return both ends of the axis and its ticks."""
    for step in _STEPS:
        bottom, top = round_range(low, high, step)
        count = round((top - bottom) / step)
        if count < _MOST_TICKS:
            break
    return bottom, top, [round(bottom + i * step, 4) for i in range(count + 1)]


def _labelled(widths: Iterable[int]) -> list[int]:
    """Leave out widths whose labels would touch; the widest ones are kept."""
    kept: list[int] = []
    for width in sorted(widths, reverse=True):
        if not kept or math.log2(kept[-1] / width) >= _APART:
            kept.append(width)
    return kept
