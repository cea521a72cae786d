"""Score a checkpoint folder, and two controls that know no meaning, on the held-out part.

    python -m tools.demo_model.evaluate models/f2llm-demo --rows work/heldout.jsonl.gz

Prints a markdown table and writes ``scores.json`` into the checkpoint's folder (or ``--out``).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import tasks
from .data import read_rows

Encode = Callable[[list[str]], np.ndarray]
Scores = dict[str, dict[str, float]]  # language -> width or control -> nDCG@10
KINDS = ("plain", "meaning only")
CONTROLS: dict[str, dict[str, object]] = {
    "TF-IDF char 3-5": {"analyzer": "char_wb", "ngram_range": (3, 5)},
    "TF-IDF words": {"analyzer": "word"},
}


def sentence_transformers(folder: str) -> tuple[Encode, Encode]:
    """The reference: float32 on the CPU."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    return (
        lambda texts: np.asarray(model.encode_query(texts)),
        lambda texts: np.asarray(model.encode_document(texts)),
    )


def f2llm(folder: str) -> tuple[Encode, Encode]:
    """The project's own engine."""
    from f2llm_core import F2LLM

    model = F2LLM(folder)
    return (
        lambda texts: np.asarray(model.encode_query(texts)),
        lambda texts: np.asarray(model.encode_document(texts)),
    )


ENGINES = {"sentence-transformers": sentence_transformers, "f2llm": f2llm}


def tf_idf(task: tasks.Task, options: dict[str, object]) -> float:
    """nDCG@10 of TF-IDF cosines, the statistics taken from the passages."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
    passages = vectorizer.fit_transform(task.passages)
    scores = (vectorizer.transform(task.queries) @ passages.T).toarray()
    return tasks.ndcg(scores.astype(np.float32), task.answers)


def measure(
    made: dict[str, list[tasks.Task]], query: Encode, document: Encode
) -> dict[str, Scores]:
    """Scores both tasks; passages, the same in both, are embedded once a language."""
    results: dict[str, Scores] = {kind: {} for kind in made}
    passages = {task.lang: document(task.passages) for task in made["plain"]}
    for kind, own in made.items():
        for task in own:
            found = tasks.by_width(query(task.queries), passages[task.lang], task.answers)
            row = {str(width): value for width, value in found.items()}
            row |= {name: tf_idf(task, options) for name, options in CONTROLS.items()}
            results[kind][task.lang] = {name: round(value, 4) for name, value in row.items()}
    for scores in results.values():
        names = list(next(iter(scores.values())))
        scores["mean"] = {
            name: round(float(np.mean([row[name] for row in scores.values()])), 4) for name in names
        }
    return results


def table(scores: Scores) -> str:
    """Markdown: a row a language, a column a width or control."""
    names = list(scores["mean"])
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for lang, row in scores.items():
        lines.append(f"| {lang} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--rows", type=Path, default=Path("work/heldout.jsonl.gz"))
    parser.add_argument("--engine", choices=ENGINES, default="sentence-transformers")
    parser.add_argument("--out", type=Path, help="default: scores.json in the checkpoint's folder")
    args = parser.parse_args()
    rows = read_rows(args.rows)
    made = {kind: tasks.build(rows, kind == "meaning only") for kind in KINDS}
    began = time.time()
    results = measure(made, *ENGINES[args.engine](str(args.folder)))
    for kind, scores in results.items():
        print(f"\n{kind}\n\n{table(scores)}")
    print(f"\n{time.time() - began:.0f} s")
    report = {
        "measure": "nDCG@10, English title to description, one passage a group, up to 400",
        "engine": args.engine,
        "rows": args.rows.name,
        "passages": {task.lang: len(task.passages) for task in made["plain"]},
        "queries": {kind: {t.lang: len(t.queries) for t in own} for kind, own in made.items()},
        "scores": results,
    }
    out = args.out or args.folder / "scores.json"
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
