"""Evaluate the demo model on text that it was not trained on, and put the figures into README.md.

    python examples/evaluation/evaluate.py

runs the one command of the README, which also writes `report.html` beside it. Every figure of the
README between its two marks comes from that run.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from f2llm_core.evaluation.results import (
    BYTES_PER_NUMBER,
    Estimate,
    EvaluationResults,
    SystemResult,
    is_mixed,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
README = HERE / "README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def command() -> list[str]:
    """Return the command that the README shows first, in words."""
    [shown] = re.findall(r"^```sh\n(f2llm eval .*?)^```$", README.read_text("utf-8"), re.S | re.M)
    return shlex.split(shown.replace("\\\n", " "))


def run() -> EvaluationResults:
    """Run the README's command in the repository's root, and return what it found."""
    program = shutil.which("f2llm", path=Path(sys.executable).parent)
    if program is None:
        msg = "there is no f2llm beside this Python: make install, then .venv/bin/python …"
        raise FileNotFoundError(msg)
    arguments = [program, *command()[1:], "--json"]
    done = subprocess.run(  # noqa: S603
        arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return EvaluationResults.from_dict(json.loads(done.stdout))


def markdown(results: EvaluationResults) -> str:
    """Write the findings as the README has them."""
    first = results.systems[0]
    data = results.data
    queries, documents = sum(data.queries.values()), data.documents
    mixed = sum(count for language, count in data.queries.items() if is_mixed(language))
    apart = f" ({mixed:,} of them code-switched, counted apart)" if mixed else ""
    level = f"{results.settings.confidence:.0%}"
    parts = [
        [f"{queries:,} queries{apart}, {documents:,} documents; in brackets {level} intervals."],
        [fill(f"- {line}", 118, subsequent_indent="  ") for line in results.recommendation],
        _widths(results, first),
        _languages(results, first),
        _systems(results),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def put(text: str, figures: str) -> str:
    """Return a document with its figures replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"


def _widths(results: EvaluationResults, system: SystemResult) -> list[str]:
    metrics = results.settings.metrics
    lines = _head(["dimensions", "bytes", *metrics])
    for width in system.widths:
        score = system.overall(width)
        cells = [str(width), f"{width * BYTES_PER_NUMBER:,}"]
        lines.append(_row([*cells, *(_shown(score.metrics[name]) for name in metrics)]))
    return lines


def _languages(results: EvaluationResults, system: SystemResult) -> list[str]:
    primary = results.settings.primary
    languages = results.document_languages
    lines = _head([f"{primary}: queries in", *(f"documents in {one}" for one in languages)])
    for asked in results.query_languages:
        found = [system.score(None, asked, to) for to in languages]
        lines.append(_row([asked, *(f"{s.metrics[primary].mean:.3f}" if s else "" for s in found)]))
    return lines


def _systems(results: EvaluationResults) -> list[str]:
    primary = results.settings.primary
    less = {c.baseline: c for c in results.comparisons if c.query_language is None}
    lines = _head(["the same checkpoint in", "precision", primary, "less", "p"])
    for system in results.systems:
        found = less.get(system.name)
        lost = [f"{found.difference:.3f}", f"{found.p_holm:.2g}"] if found else ["", ""]
        cells = [system.name, system.dtype or "", _shown(system.overall().metrics[primary]), *lost]
        lines.append(_row(cells))
    return lines


def _head(names: list[str]) -> list[str]:
    return [_row(names), _row(["---"] * len(names))]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(found: Estimate) -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    """Run, print, and renew the README."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    figures = markdown(run())
    README.write_text(put(README.read_text("utf-8"), figures), encoding="utf-8")
    print(figures)


if __name__ == "__main__":
    main()
