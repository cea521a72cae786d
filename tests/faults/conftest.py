"""The reliability suite: a short cut by default, every case with `--faults=full`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.machine import describe_machine
from faults.figures import README, REPORT, Tally, markdown, report_of, show_in
from faults.requests import Answers

_tallies: dict[str, Tally] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults",
        choices=("short", "full"),
        default="short",
        help="full: every case that is asked for, written to reports/ and the README",
    )


@pytest.fixture(scope="session")
def answers(checkpoint: Path) -> Answers:
    """The right rows for requests on the tiny model in float32."""
    return Answers(checkpoint)


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """Whether all cases are asked for, rather than a short cut of seconds."""
    return pytestconfig.getoption("--faults", "short") == "full"


@pytest.fixture
def amount(full: bool) -> Callable[[int, int], int]:
    """Choose how many cases to try: in a full run, and in the short cut."""
    return lambda all_of_them, some: all_of_them if full else some


@pytest.fixture
def prove() -> Callable[[Tally], None]:
    """Take the figures of a check into the report, whatever they are, then assert them."""

    def prove(tally: Tally) -> None:
        _tallies.setdefault(tally.key, Tally(tally.key)).add(tally)
        assert not tally.missed()
        assert tally.tried

    return prove


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--faults", "short") != "full" or not _tallies:
        return
    before = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    report = report_of(_tallies, describe_machine(), before)
    shown = json.dumps(report, indent=1, ensure_ascii=False)
    REPORT.write_text(f"{shown}\n", encoding="utf-8")
    table = markdown(report)
    README.write_text(show_in(README.read_text(encoding="utf-8"), table), encoding="utf-8")
    if _owed():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--faults", "short") == "full":
        for line in _owed():
            terminalreporter.write_line(f"OWED {line}", red=True)


def _owed() -> list[str]:
    return [f"{tally.key}: {owed}" for tally in _tallies.values() for owed in tally.owed()]
