"""The bookkeeping of this suite, and that the README shows what the last full run found."""

from __future__ import annotations

import json
import math

import pytest

from faults.figures import (
    BEGIN,
    END,
    README,
    REPORT,
    ROWS,
    Tally,
    lacking,
    markdown,
    report_of,
    show_in,
    shown_in,
)

MACHINE = {
    "date": "2000-01-01",
    "cores": 2,
    "system": "Linux",
    "python": "3.10",
    "packages": {"torch": "2"},
}


def reported(*tallies, before=None, **machine):
    return report_of({tally.key: tally for tally in tallies}, MACHINE | machine, before or {})


@pytest.mark.skipif(not REPORT.exists(), reason="no full run was reported yet")
def test_the_readme_shows_the_committed_report():
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert shown_in(README.read_text(encoding="utf-8")) == markdown(report)


@pytest.mark.skipif(not REPORT.exists(), reason="no full run was reported yet")
def test_the_committed_report_lacks_nothing():
    assert not lacking(markdown(json.loads(REPORT.read_text(encoding="utf-8"))))
    assert not lacking(shown_in(README.read_text(encoding="utf-8")))


def whole():
    tallies = {key: Tally(key, tried=row.least) for key, row in ROWS.items()}
    for key, row in ROWS.items():
        for name, limit in row.limits.items():
            tallies[key].found.setdefault(name, limit.bound)
    return tallies


def test_a_whole_report_lacks_nothing():
    tallies = whole()
    assert not lacking(markdown(reported(*tallies.values())))
    assert not any(tally.owed() or tally.missed() for tally in tallies.values())


@pytest.mark.parametrize("key", ROWS)
def test_a_report_that_lacks_something_is_found(key):
    def lines(**changes):
        return lacking(markdown(reported(*(whole() | changes).values())))

    tallies = whole()
    tried, found = tallies[key].tried, tallies[key].found
    few = Tally(key, tried=tried - 1, found=found)
    assert few.owed() == [f"tried {tried - 1:,} of {tried:,}"]
    assert len(lines(**{key: few})) == 1
    for name, limit in ROWS[key].limits.items():
        value = limit.bound + (-1 if limit.at_least else 1)
        assert len(lines(**{key: Tally(key, tried=tried, found=found | {name: value})})) == 1
        assert len(lines(**{key: Tally(key, tried=tried, found=found | {name: math.nan})})) == 1
    others = [tally for tally in tallies.values() if tally.key != key]
    assert len(lacking(markdown(reported(*others)))) == 1


def test_what_was_not_run_is_said():
    tally = Tally("secrets", tried=30)
    lines = markdown(reported(tally)).splitlines()
    assert [line for line in lines if "not run" not in line][2].endswith("| ✓ 0 leaks |")
    assert sum("not run" in line for line in lines) == len(ROWS) - 1


def test_a_missed_figure_is_shown_as_it_is():
    tally = Tally("secrets", tried=3)
    tally.fault("leaks", "repr")
    assert tally.missed() == ["leaks is 1", "leaks: repr"]
    assert "✗ 3 (≥ 25) | ✗ 1 leaks |" in markdown(reported(tally))


def test_a_figure_that_was_not_measured_is_said():
    tally = Tally("batches", tried=1_000)
    assert "worst cosine: not measured" in markdown(reported(tally))
    assert tally.owed() == ["worst cosine: not measured"]
    assert lacking(markdown(reported(tally)))


def test_a_run_of_some_rows_keeps_the_others_as_they_were():
    first = reported(Tally("secrets", tried=30), Tally("threads", tried=1))
    both = reported(Tally("threads", tried=2), before=first, date="2000-01-09")
    assert {key: (row["tried"], row["date"]) for key, row in both["rows"].items()} == {
        "secrets": (30, "2000-01-01"),
        "threads": (2, "2000-01-09"),
    }
    assert "2000-01-01 to 2000-01-09, 2 cores" in markdown(both)


def test_the_worst_of_several_checks_is_kept():
    total = Tally("batches")
    for cosine in (0.9999999, 0.9, 1.0):
        part = Tally("batches", tried=1)
        part.measure("worst cosine", cosine)
        total.add(part)
    assert total.tried == 3
    assert total.missed() == ["worst cosine is 0.9"]


@pytest.mark.parametrize(
    ("key", "name", "good"), [("batches", "worst cosine", 1.0), ("loop", "p99 loop lag in ms", 1.0)]
)
@pytest.mark.parametrize("place", range(3))
def test_nan_misses_every_limit_and_is_not_forgotten(key, name, good, place):
    values = [good] * 3
    values[place] = math.nan
    tally, total = Tally(key), Tally(key)
    for value in values:
        tally.measure(name, value)
        total.add(Tally(key, tried=1, found={name: value}))
    assert tally.missed() == total.missed() == [f"{name} is nan"]


def test_only_what_is_between_the_markers_changes():
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert show_in(readme, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert shown_in(show_in(readme, "new")) == "new"
