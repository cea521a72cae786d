"""What an evaluation costs: 100,000 documents by 1,000 queries, at one width and at seven.

    python -m benchmarks.evaluation

Writes `benchmarks/evaluation.json` and `benchmarks/evaluation.md`. The demo model is far smaller
than any released one, so that what is not embedding weighs as much as it ever will.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.texts import CORPUS
from f2llm_core import F2LLM, UntrainedDimensionWarning
from f2llm_core.evaluation import Dataset, Resampling, evaluate, f2llm_system
from f2llm_core.evaluation.data import DatasetBuilder

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "models" / "f2llm-demo"
DOCUMENTS, QUERIES = 100_000, 1_000
WIDTHS = (8, 16, 32, 64, 128, 192, 256)
#: How much more seven widths may cost than one, and by how many MiB a process may grow.
MOST_TIMES, MOST_GROWTH = 1.2, 512
_WORDS = 12  # of a document


def make_data(documents: int, queries: int) -> Dataset:
    """Cut the shipped corpus into runs of words that differ in a number; every so many is asked."""
    records = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    texts = [record["text"].split() for record in records if record["lang"] == "en"]
    runs = [text[i : i + _WORDS] for text in texts for i in range(0, len(text), _WORDS)]
    builder = DatasetBuilder("windows")
    step = documents // queries
    for number, run in enumerate(islice(cycle(runs), documents)):
        builder.passage(f"{number}", f"d{number}", f"{' '.join(run)} {number}")
        if number % step == 0:
            builder.query(f"{number}", f"q{number}", f"{' '.join(run[::2])} {number}")
            builder.judge(f"{number}", f"q{number}", f"d{number}")
    return builder.build()


def measure_here(widths: int, documents: int, queries: int) -> dict[str, float]:
    """Evaluate in this process; return seconds, those of processors, and MiB before and at most."""
    warnings.simplefilter("ignore", UntrainedDimensionWarning)
    data = make_data(documents, queries)
    model = F2LLM(DEMO, device="cpu", dtype="float32")
    model.encode_document(["load it"])
    before = _peak()
    begin, worked = time.perf_counter(), time.process_time()
    asked = WIDTHS if widths > 1 else WIDTHS[-1:]
    results = evaluate(
        [f2llm_system(model)], data, widths=asked, resampling=Resampling(resamples=1000)
    )
    spent = {"seconds": time.perf_counter() - begin, "work": time.process_time() - worked}
    [found] = results.systems
    if len(found.widths) != len(asked):
        msg = f"asked for {asked}, got {found.widths}"
        raise RuntimeError(msg)
    return spent | {"widths": len(asked), "before": before, "peak": _peak()}


def measure(documents: int, queries: int, repeats: int) -> dict[str, Any]:
    """Measure one width and seven by turns, each in a process of its own."""
    rounds = [
        {"one": _child(1, documents, queries), "seven": _child(7, documents, queries)}
        for _ in range(repeats)
    ]
    # Of processors, which other programs on the machine disturb less.
    best = {kind: min(one[kind]["work"] for one in rounds) for kind in ("one", "seven")}
    return {
        "machine": describe_machine(),
        "documents": documents,
        "queries": queries,
        "rounds": rounds,
        "times": best["seven"] / best["one"],
        "growth": max(r["seven"]["peak"] - r["seven"]["before"] for r in rounds),
    }


def _child(widths: int, documents: int, queries: int) -> dict[str, float]:
    sizes = [str(number) for number in (widths, documents, queries)]
    command = [sys.executable, "-m", "benchmarks.evaluation", "--here", *sizes]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _peak() -> float:
    """Return the most memory that this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def markdown(results: dict[str, Any]) -> str:
    """Write the findings as a page."""
    machine = results["machine"]
    matrix = results["documents"] * results["queries"] * 4 / 2**20
    held = "yes" if results["times"] <= MOST_TIMES else "no"
    lines = [
        "# Evaluation",
        "",
        f"""Measured {machine["date"]} by `python -m benchmarks.evaluation` on {machine["cpu"]}:
{results["documents"]:,} documents by {results["queries"]:,} queries with the demo model, texts in
memory and model loaded before the start.""",
        "",
        "| widths | seconds, best of rounds | of processors | MiB before | MiB at most |",
        "|---|---|---|---|---|",
    ]
    for kind, name in (("one", "1"), ("seven", "7")):
        runs = [one[kind] for one in results["rounds"]]
        lines.append(
            f"| {name} | {min(r['seconds'] for r in runs):.1f} "
            f"| {min(r['work'] for r in runs):.1f} "
            f"| {max(r['before'] for r in runs):.0f} | {max(r['peak'] for r in runs):.0f} |"
        )
    lines += [
        "",
        f"""Seven widths cost {results["times"]:.2f} times the work of one (aim: at most
{MOST_TIMES}; reached: {held}). Memory grew by {results["growth"]:.0f} MiB (bound: {MOST_GROWTH});
one matrix of all scores would be {matrix:.0f} MiB.""",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write what was found beside this module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--here", type=int, nargs=3, help=argparse.SUPPRESS)  # its own child
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure_here(*given.here)))
        return
    results = measure(given.documents, given.queries, given.repeats)
    if not given.dry:
        text = json.dumps(results, indent=2) + "\n"
        (HERE / "evaluation.json").write_text(text, encoding="utf-8")
        (HERE / "evaluation.md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
