"""The bookkeeping of this suite, and that the README shows what the last full run found."""

from __future__ import annotations

import json

import pytest

from faults.figures import (
    BEGIN,
    END,
    README,
    REPORT,
    ROWS,
    Tally,
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


def test_only_what_is_between_the_markers_changes():
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert show_in(readme, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert shown_in(show_in(readme, "new")) == "new"
