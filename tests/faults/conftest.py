"""The reliability suite: a short cut by default, every case with `--faults=full`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from benchmarks.machine import describe_machine
from f2llm_core.testing import tiny_checkpoint
from faults.figures import README, REPORT, Tally, markdown, report_of, show_in
from faults.processes import running
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


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether all cases are asked for, rather than a short cut of seconds."""
    return pytestconfig.getoption("--faults", "short") == "full"


@pytest.fixture(scope="session")
def amount(full: bool) -> Callable[[int, int], int]:
    """Choose how many cases to try: in a full run, and in the short cut."""
    return lambda all_of_them, some: all_of_them if full else some


@pytest.fixture(scope="session")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as small as one can be, since it is not the model that is tried."""
    folder = tmp_path_factory.mktemp("smallest") / "model"
    return tiny_checkpoint(
        folder, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, intermediate_size=8
    )


@pytest.fixture(scope="session")
def long_stream(
    smallest: Path, amount: Callable[[int, int], int]
) -> Iterator[tuple[int, Popen[str]]]:
    """The stream of the report, running: how many texts, and its process."""
    texts = amount(1_000_000, 20_000)
    with running("faults.stream", smallest, texts, 0) as process:
        yield texts, process


@pytest.fixture(scope="session", autouse=True)
def _longest_first(request: pytest.FixtureRequest) -> None:
    """Begin at once, beside all other tests, what takes a quarter of a full run and one core."""
    if any("long_stream" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("long_stream")


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
