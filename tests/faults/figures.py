"""What the reliability suite counts, what is asked of it, and the table that shows both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports" / "reliability.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- reliability: begin -->", "<!-- reliability: end -->"

_SHOWN = 5
_LACKS = ("✗", "not run", "not measured")


@dataclass(frozen=True)
class Limit:
    """The bound of one figure.

    Attributes:
        bound: Highest value allowed; lowest, if `at_least`.
        at_least: Which of the two.
        form: How its values are written.
    """

    bound: float
    at_least: bool = False
    form: str = "{:,.0f}"

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def worse(self, one: float, other: float) -> float:
        if math.isnan(one) or math.isnan(other):
            return math.nan
        return min(one, other) if self.at_least else max(one, other)

    @property
    def asked(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:,}"


@dataclass(frozen=True)
class Row:
    """One line of the table: what is tried, at least how often, and what may be found.

    Attributes:
        title: What is tried.
        least: How many cases a full run has.
        limits: Figures by name. Those bounded by zero are counted, the others measured.
    """

    title: str
    least: int
    limits: Mapping[str, Limit]


NONE = Limit(0)

#: Every figure that is asked for; the only place where the bounds are written.
ROWS = {
    "inputs": Row(
        "Texts and non-texts: wrong types, lone surrogates, blanks, control characters, every "
        "Unicode category, control tokens as text, lengths around the limit, generated",
        10_000,
        {"untyped errors": NONE, "bad ones let through": NONE, "NaN or wrong rows": NONE},
    ),
    "batches": Row(
        "Random batches against one by one, float32",
        1_000,
        {"worst cosine": Limit(0.99999, at_least=True, form="{:.7f}")},
    ),
    "threads": Row(
        "Calls by 16 threads, lengths, roles and widths mixed",
        8_000,
        {"wrong rows": NONE, "errors": NONE},
    ),
    "loop": Row(
        "Queries at once in one event loop",
        1_000,
        {"wrong rows": NONE, "errors": NONE, "p99 loop lag in ms": Limit(50, form="{:.1f}")},
    ),
    "cancelling": Row(
        "Random schedules of cancelling, timeouts and abandoned streams",
        2_000,
        {"wrong rows": NONE, "hangs": NONE, "tasks left": NONE, "untyped errors": NONE},
    ),
    "batch_faults": Row(
        "Faults, one in every batch of 50",
        50,
        {"service went on, %": Limit(100, at_least=True), "wrong rows": NONE},
    ),
    "interrupts": Row(
        "Ctrl-C at random points",
        50,
        {"exits after more than 2 s": NONE, "other ends than KeyboardInterrupt": NONE},
    ),
    "folders": Row(
        "Damaged and hostile model folders: truncated, flipped, missing, LFS pointers, HTML, wrong "
        "types, foreign shard names, path escapes, pickles, code",
        1_000,
        {
            "silent loads": NONE,
            "untyped errors": NONE,
            "files opened outside": NONE,
            "code executed": NONE,
            "pickles opened": NONE,
        },
    ),
    "secrets": Row("Channels searched for the hub token", 25, {"leaks": NONE}),
    "endpoint": Row(
        "Scripted faults of a server, by real sockets: every order of rows, malformed, compressed "
        "and endless answers, errors in sequences, redirects, broken and stalled connections",
        300,
        {
            "wrong rows": NONE,
            "untyped errors": NONE,
            "other outcomes": NONE,
            "leaks": NONE,
            "worst overrun of the timeout in s": Limit(1, form="{:.2f}"),
        },
    ),
    "starts": Row(
        "Processes by fork, spawn and forkserver, the model loaded before and after",
        120,
        {"ends after more than 30 s": NONE, "wrong vectors": NONE},
    ),
    "kills": Row(
        "`kill -9` at random moments of indexing 5,000 chunks into Chroma, then resumed",
        100,
        {
            "lost": NONE,
            "doubled": NONE,
            "changed": NONE,
            "batches embedded again per kill": Limit(1, form="{:.2f}"),
        },
    ),
    "kills_in_writes": Row(
        "`kill -9` inside Chroma's own write of 500, 1,500 and 6,000 rows, read back by another "
        "process",
        50,
        {"lost": NONE, "doubled": NONE, "changed": NONE},
    ),
    "histories": Row(
        "Histories of up to 200 steps in Chroma: documents come, change, are renamed, go; the "
        "indexer is killed on the way",
        100,
        {"lost": NONE, "doubled": NONE, "changed": NONE},
    ),
    "two_indexers": Row(
        "Two processes that index into one collection of Chroma at once, a third of it twice",
        20,
        {"lost": NONE, "doubled": NONE, "changed": NONE, "errors": NONE},
    ),
    "stream": Row(
        "Short texts through `iter_documents`",
        1_000_000,
        {
            "peak MB above the start": Limit(512),
            "growth in MB per 10,000 texts": Limit(1, form="{:.3f}"),
        },
    ),
}


@dataclass
class Tally:
    """What one check counted and measured for one row.

    Attributes:
        key: Of the row.
        tried: Cases so far.
        found: Figures by name.
        examples: The first faults, for the message of a failing test.
    """

    key: str
    tried: int = 0
    found: dict[str, float] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        counted = (name for name, limit in ROWS[self.key].limits.items() if limit == NONE)
        self.found = dict.fromkeys(counted, 0) | self.found

    def fault(self, name: str, detail: object, times: int = 1) -> None:
        """Count more of what must not happen."""
        self.found[name] += times
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{name}: {detail}")

    def measure(self, name: str, value: float) -> None:
        """Keep the worst value of a measured figure."""
        limit = ROWS[self.key].limits[name]
        self.found[name] = limit.worse(value, self.found.get(name, value))

    def missed(self) -> list[str]:
        """Return the figures that are worse than asked, with the first examples."""
        limits = ROWS[self.key].limits
        wrong = [f"{n} is {v}" for n, v in self.found.items() if not limits[n].holds(v)]
        return wrong and wrong + self.examples

    def owed(self) -> list[str]:
        """Return what a full run has not done: cases, and figures that nothing measured."""
        row = ROWS[self.key]
        few = [f"tried {self.tried:,} of {row.least:,}"] if self.tried < row.least else []
        return few + [f"{name}: not measured" for name in row.limits if name not in self.found]

    def add(self, other: Tally) -> None:
        """Take in what another check of the same row found."""
        self.tried += other.tried
        for name, value in other.found.items():
            if ROWS[self.key].limits[name] == NONE:
                self.found[name] += value
            else:
                self.measure(name, value)


def report_of(
    tallies: Mapping[str, Tally], machine: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the report of a run.

    Args:
        tallies: What the run found; a row that it did not try stays as it was reported before.
        machine: What it ran on, and when.
        before: The report so far, or nothing.
    """
    rows = {
        key: {"date": machine["date"], "tried": tally.tried, "found": tally.found}
        for key, tally in tallies.items()
    }
    kept = {key: row for key, row in before.get("rows", {}).items() if key in ROWS}
    return {"machine": machine, "rows": dict(sorted((kept | rows).items()))}


def markdown(report: Mapping[str, Any]) -> str:
    """Return the table of a report: what was tried, and each figure beside what is asked."""
    machine, rows = report["machine"], report["rows"]
    lines = ["| tried | times (asked) | found (asked, where it is not 0) |", "| --- | --- | --- |"]
    for key, row in ROWS.items():
        if key not in rows:
            lines.append(f"| {row.title} | – | not run |")
            continue
        tried, found = rows[key]["tried"], rows[key]["found"]
        times = f"{_mark(tried >= row.least)} {tried:,} (≥ {row.least:,})"
        figures = [
            _figure(name, limit, found[name]) if name in found else f"{name}: not measured"
            for name, limit in row.limits.items()
        ]
        lines.append(f"| {row.title} | {times} | {'<br>'.join(figures)} |")
    dates = sorted({row["date"] for row in rows.values()})
    when = (
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}, torch {machine['packages']['torch']}."
    )
    return "\n".join([*lines, "", when])


def _figure(name: str, limit: Limit, value: float) -> str:
    shown = limit.form.format(value)
    said = f"{shown} {name}" if limit == NONE else f"{name}: {shown} ({limit.asked})"
    return f"{_mark(limit.holds(value))} {said}"


def _mark(reached: bool) -> str:
    return "✓" if reached else "✗"


def lacking(table: str) -> list[str]:
    """Return the lines of a table that show less than is asked."""
    return [line for line in table.splitlines() if any(lack in line for lack in _LACKS)]


def shown_in(readme: str) -> str:
    """Return what stands between the markers of a README."""
    return readme.partition(BEGIN)[2].partition(END)[0].strip()


def show_in(readme: str, table: str) -> str:
    """Return a README with the table between its markers."""
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"
