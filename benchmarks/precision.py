"""What each precision costs in quality: cosine with float32, and nDCG@10 of the demo model.

    python -m benchmarks.precision

Writes `benchmarks/precision.json` and `benchmarks/precision.md`. Cosines are taken on the demo
model and on random weights in the shape of F2LLM-v2-80M, both stored in bfloat16 as the released
weights are; retrieval on held-out package descriptions, English title to description in another
language.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checking import Rows
from benchmarks.machine import describe_machine
from benchmarks.texts import CORPUS, make_workload
from f2llm_core import F2LLM
from f2llm_core.testing import sized_checkpoint
from tools.demo_model.tasks import WIDTHS, Task, build, ndcg, unit

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "models" / "f2llm-demo"
#: Most nDCG@10 that a precision may lose at any width and still be offered.
MOST_LOSS = 0.005
KINDS = {"plain": False, "meaning only": True}
_TEXTS = 200  # for the cosines

Embed = Callable[[str, list[str]], Rows]  # side, texts -> full-width unit rows


def ours(folder: Path, dtype: Any) -> Embed:  # noqa: ANN401  (a DTypeName)
    """Embed with this project's engine."""
    model = F2LLM(folder, device="cpu", dtype=dtype)
    sides = {"query": model.encode_query, "document": model.encode_document}
    return lambda side, texts: sides[side](texts)


def sentence_transformers(folder: Path) -> Embed:
    """Embed with sentence-transformers as it loads a checkpoint by default, in bfloat16."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")

    def embed(side: str, texts: list[str]) -> Rows:
        encode = model.encode_query if side == "query" else model.encode_document
        return unit(np.asarray(encode(texts), dtype=np.float32), width=10**9)

    return embed


ENGINES: dict[str, Callable[[Path], Embed]] = {
    "float32": lambda folder: ours(folder, "float32"),
    "bfloat16": lambda folder: ours(folder, "bfloat16"),
    "int8": lambda folder: ours(folder, "int8"),
    "sentence-transformers bfloat16": sentence_transformers,
}


def read_tasks() -> dict[str, list[Task]]:
    """Make both retrieval tasks from the committed held-out rows, a task per language."""
    records = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    rows = [record | {"id": record["parallel"]} for record in records]
    langs = tuple(sorted({row["lang"] for row in rows} - {"en"}))
    return {kind: build(rows, meaning_only, langs) for kind, meaning_only in KINDS.items()}


def retrieval(embed: Embed, made: dict[str, list[Task]]) -> dict[str, dict[str, float]]:
    """Return the mean nDCG@10 over languages, by task and width."""
    passages = {task.lang: embed("document", task.passages) for task in made["plain"]}
    found = {}
    for kind, tasks in made.items():
        queries = [embed("query", task.queries) for task in tasks]
        found[kind] = {
            str(width): float(
                np.mean(
                    [
                        ndcg(unit(q, width) @ unit(passages[t.lang], width).T, t.answers)
                        for q, t in zip(queries, tasks, strict=True)
                    ]
                )
            )
            for width in WIDTHS
        }
    return found


def cosines(rows: Rows, reference: Rows) -> dict[str, dict[str, float]]:
    """Return the worst and the median cosine of rows `(n, width)` with the right ones, by width."""
    full = rows.shape[1]
    found = {}
    for width in dict.fromkeys(w for w in (*WIDTHS, full) if w <= full):
        cut = [unit(x, width).astype(np.float64) for x in (rows, reference)]
        values = (cut[0] * cut[1]).sum(axis=1)
        found[str(width)] = {"worst": float(values.min()), "median": float(np.median(values))}
    return found


def measure() -> dict[str, Any]:
    """Measure every precision; cosines are those of documents."""
    made = read_tasks()
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "texts": _TEXTS,
        "queries": {kind: sum(len(t.queries) for t in tasks) for kind, tasks in made.items()},
        "languages": len(made["plain"]),
        "retrieval": {},
        "cosine": {"demo model": {}, "80M, random weights": {}},
    }
    with tempfile.TemporaryDirectory() as scratch:
        sized = sized_checkpoint(Path(scratch) / "80M", "80M")
        texts = make_workload(sized, _TEXTS, 1).documents
        references: dict[str, Rows] = {}
        for name, load in ENGINES.items():
            for model, folder in (("demo model", DEMO), ("80M, random weights", sized)):
                embed = load(folder)
                rows = embed("document", texts)
                reference = references.setdefault(model, rows)
                results["cosine"][model][name] = cosines(rows, reference)
                if model == "demo model":
                    results["retrieval"][name] = retrieval(embed, made)
    return results


def loss(results: dict[str, Any], name: str, kind: str) -> float:
    """Return the most nDCG@10 that a precision loses to float32 at any width of a task."""
    right, found = results["retrieval"]["float32"][kind], results["retrieval"][name][kind]
    lost = max(right[width] - found[width] for width in right)
    return max(0.0, float(lost))


def markdown(results: dict[str, Any]) -> str:
    """Write the findings as a page."""
    widths = list(results["retrieval"]["float32"]["plain"])
    machine = results["machine"]
    asked = " and ".join(f"{count:,} queries {kind}" for kind, count in results["queries"].items())
    lines = [
        "# Precision",
        "",
        f"""What computing in fewer bits costs, measured {machine["date"]} by
`python -m benchmarks.precision` on {machine["cpu"]} ({", ".join(machine["cpu_features"])}), torch
{machine["packages"]["torch"]}. int8 keeps weights and table in 8 bits and multiplies in what
`dtype="auto"` chooses there.""",
        "",
        "## Retrieval",
        "",
        f"""nDCG@10 of the demo model on held-out text, mean of {results["languages"]} languages
({asked}). A precision is offered if it loses less than {MOST_LOSS} at every width.""",
    ]
    for kind in KINDS:
        lines += ["", f"| {kind} | " + " | ".join(widths) + " | most lost at any width |"]
        lines += ["|---" * (len(widths) + 2) + "|"]
        for name, found in results["retrieval"].items():
            row = " | ".join(f"{found[kind][width]:.4f}" for width in widths)
            lines.append(f"| {name} | {row} | {loss(results, name, kind):.4f} |")
    lines += ["", "## Cosine with float32", "", f"{results['texts']} documents, worst (median)."]
    for model, by_name in results["cosine"].items():
        own = list(by_name["float32"])
        lines += ["", f"| {model} | " + " | ".join(own) + " |", "|---" * (len(own) + 1) + "|"]
        for name, by_width in by_name.items():
            cells = [f"{v['worst']:.5f} ({v['median']:.5f})" for v in by_width.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write what was found beside this module."""
    results = measure()
    (HERE / "precision.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (HERE / "precision.md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
