"""Where the report's points, bands and ticks lie."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2llm_core.evaluation.report_chart import Frame, Series, chart, round_range
from f2llm_core.evaluation.results import Estimate

FRAME = Frame(left=10, right=110, top=5, bottom=55)


def line(name="one", **means: float) -> Series:
    """A curve of means by `w8=…`, with intervals of 0.02 around them."""
    return Series(
        name, tuple((int(w[1:]), Estimate(m, m - 0.02, m + 0.02)) for w, m in means.items())
    )


def test_octaves_are_equally_wide():
    [curve] = chart([line(w8=0.5, w16=0.6, w32=0.7, w64=0.8, w128=0.9)], FRAME).curves
    assert [x for x, _ in curve.points] == [10, 35, 60, 85, 110]


def test_higher_is_better():
    drawn = chart([line(w8=0.52, w16=0.58)], FRAME)
    assert (drawn.low, drawn.high) == (0.5, 0.6)
    [curve] = drawn.curves
    assert curve.points == ((10, 45), (110, 15))
    assert curve.band == ((10, 35), (110, 5), (110, 25), (10, 55))


def test_a_single_width_is_a_point_in_the_middle():
    [curve] = chart([line(w320=0.8)], FRAME).curves
    assert [x for x, _ in curve.points] == [60]
    assert curve.band == ()


def test_curves_share_both_axes():
    drawn = chart([line(w8=0.5, w16=0.6), line("two", w16=0.6, w32=0.9)], FRAME)
    assert drawn.curves[0].points[1] == drawn.curves[1].points[0]
    assert [curve.name for curve in drawn.curves] == ["one", "two"]


def test_labels_of_near_widths_do_not_touch():
    drawn = chart([line(w8=0.1, w128=0.2, w256=0.3, w320=0.4, w512=0.5, w640=0.6)], FRAME)
    assert [width for _, width in drawn.widths] == [640, 320, 128, 8]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.61, 0.93, (0.6, 0.95)),
        (0.15, 0.3, (0.15, 0.3)),
        (0.8, 0.8, (0.8, 0.85)),
        (1.0, 1.0, (0.95, 1.0)),
        (0.0, 0.0, (0.0, 0.05)),
    ],
)
def test_ranges_are_round_and_never_empty(low, high, expected):
    assert round_range(low, high, 0.05) == expected


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_everything_lies_in_the_frame(ends):
    low, high = ends
    middle = (low + high) / 2
    estimates = ((8, Estimate(middle, low, high)), (1000, Estimate(low, low, high)))
    drawn = chart([Series("any", estimates)], FRAME)
    [curve] = drawn.curves
    for x, y in (*curve.points, *curve.band):
        assert FRAME.left <= x <= FRAME.right
        assert FRAME.top <= y <= FRAME.bottom
    assert 0 <= drawn.low < drawn.high <= 1
    assert 2 <= len(drawn.values) <= 6
    assert drawn.values[0] == (FRAME.bottom, drawn.low)
    assert drawn.values[-1] == (FRAME.top, drawn.high)
    assert all(math.isfinite(y) for y, _ in drawn.values)
