"""Two-stage retrieval against an index of whole vectors: recall, memory, disk and time.

    python -m benchmarks.two_stage

Writes `benchmarks/two_stage.json` and `benchmarks/two_stage.md`. Passages are windows of the
committed corpus, which overlap: near duplicates are the hard case for a shortlist. Another corpus
is a JSONL file whose records have `text` and `title`: `--corpus FILE`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

from benchmarks.machine import describe_machine
from benchmarks.texts import CORPUS
from f2llm_core import F2LLM, TwoStageStore, open_store
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores import VectorStore

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "models" / "f2llm-demo"
DIMENSIONS = (32, 48, 64)
RELEASED = {"80M": (320, 64), "0.6B": (1024, 64)}  # widths for memory, which no value decides
FETCH_K = (100, 200, 500, 1000)
K = 10
_PASSAGES, _QUERIES, _TIMED = 20_000, 1000, 200
_WORDS, _CHARACTERS = 24, 100  # of a window, in languages with and without spaces

Search = Callable[[Vectors, int], Sequence[Any]]


def read_texts(corpus: Path, passages: int, queries: int) -> tuple[list[str], list[str]]:
    """Return distinct passages and queries; the same arguments give the same ones."""
    records = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    random = np.random.default_rng(0)
    found: list[str] = []
    for share in range(2, _WORDS + 1):
        found = list(dict.fromkeys(w for r in records for w in _windows(r["text"], share)))
        if len(found) >= passages:
            break
    else:
        msg = f"{corpus} makes {len(found)} distinct passages of {passages} asked for."
        raise SystemExit(msg)
    titles = list(dict.fromkeys(record["title"] for record in records))
    chosen = random.permutation(len(found))[:passages], random.permutation(len(titles))[:queries]
    return [found[i] for i in chosen[0]], [titles[i] for i in chosen[1]]


def _windows(text: str, share: int) -> Iterator[str]:
    """Yield windows of a text, each a `share`-th of a window behind the one before it."""
    words: Sequence[str] = text.split()
    size, joint = _WORDS, " "
    if len(words) * 10 < len(text):  # hardly any spaces
        words, size, joint = text, _CHARACTERS, ""
    step = max(1, size // share)
    for start in range(0, max(1, len(words) - size + step), step):
        yield joint.join(words[start : start + size])


def recall(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """Return the share of the right ids that were found, over all queries."""
    hits = [len(set(f) & set(r)) / len(r) for f, r in zip(found, right, strict=True)]
    return float(np.mean(hits))


def measure(corpus: Path, passages: int) -> dict[str, Any]:
    """Measure everything once."""
    texts, asked = read_texts(corpus, passages, _QUERIES)
    model = F2LLM(DEMO, dtype="float32")
    rows, queries = model.encode_document(texts), model.encode_query(asked)
    best = np.argsort(-(queries @ rows.T), axis=1)[:, :K]
    right = [[str(i) for i in one] for one in best]
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "passages": len(texts),
        "queries": len(asked),
        "k": K,
        "width": model.width,
        "indices": [],
        "two_stage": [],
        "released": {
            name: _memory_of_random(widths, len(texts)) for name, widths in RELEASED.items()
        },
    }
    for dimensions in (model.width, *DIMENSIONS):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "chroma"
            whole = dimensions == model.width
            collection = _collection(folder)
            file = Path(scratch) / "full"
            store: VectorStore = open_store(collection)
            if not whole:
                store = TwoStageStore(collection, file, dimensions=dimensions)
            _fill(store, texts, rows)
            sizes = {
                "dimensions": dimensions,
                "memory": _memory(folder, dimensions),
                "index": _index(folder),
                "file": file.stat().st_size if file.exists() else 0,
            }
            for fetch_k in [None] if whole else FETCH_K:
                search = _search(store, fetch_k)
                found = [[match.id for match in search(query, K)] for query in queries]
                results["two_stage" if not whole else "indices"].append(
                    sizes
                    | {
                        "fetch_k": fetch_k,
                        "recall": recall(found, right),
                        "milliseconds": _time(search, queries[:_TIMED]),
                    }
                )
    return results


def _collection(folder: Path) -> Any:  # noqa: ANN401  (Chroma's)
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    return client.create_collection(
        "passages", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


def _fill(store: VectorStore, texts: list[str], rows: Vectors) -> None:
    ids = [str(place) for place in range(len(texts))]
    for start in range(0, len(ids), 1000):
        part = slice(start, start + 1000)
        store.upsert(ids[part], rows[part], texts[part], [{"at": id_} for id_ in ids[part]])


def _search(store: VectorStore, fetch_k: int | None) -> Search:
    if isinstance(store, TwoStageStore):
        return lambda query, k: store.search(query, k, fetch_k)
    return store.search


def _time(search: Search, queries: Vectors) -> float:
    """Return the median of one search, in milliseconds."""
    taken = []
    for query in queries:
        begin = time.perf_counter()
        search(query, K)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1000


def _memory_of_random(widths: tuple[int, int], rows: int) -> dict[str, dict[str, int]]:
    """Return index and memory, in bytes, of random vectors of some widths."""
    found = {}
    for width in widths:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            vectors = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
            _fill(open_store(_collection(folder)), ["a text"] * rows, vectors)
            found[str(width)] = {"index": _index(folder), "memory": _memory(folder, width)}
    return found


def _index(folder: Path) -> int:
    """Return the bytes of the index: links and vectors, loaded as they are, without texts."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.suffix == ".bin")


def _memory(folder: Path, dimensions: int) -> int:
    """Return the bytes by which a process grows when it first searches a collection."""
    command = [sys.executable, "-m", "benchmarks.two_stage", "--grow", str(folder), str(dimensions)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return int(done.stdout)


def _grow(folder: Path, dimensions: int) -> int:
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.get_collection("passages", embedding_function=None)
    before = _resident()
    query = np.ones((1, dimensions), dtype=np.float32)
    collection.query(query_embeddings=query, n_results=1, include=["distances"])
    return _resident() - before


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


def markdown(results: dict[str, Any]) -> str:
    """Write the findings as a page."""
    [whole] = results["indices"]
    machine = results["machine"]
    lines = [
        "# Two-stage retrieval",
        "",
        f"""Measured {machine["date"]} by `python -m benchmarks.two_stage` with the demo model
({results["width"]} dimensions) in Chroma: {results["passages"]:,} passages, overlapping windows of
the shipped corpus, and {results["queries"]:,} queries. Recall@{results["k"]} is against exact
search among whole vectors. The index is what Chroma loads into memory, links and vectors; process
is what a new process grows by with its first search, some 5 MiB and 300 bytes a row of Chroma's own
included. The file of whole vectors is only read. Times are medians of a search without the query's
forward pass, on {machine["cpu"]}, which other programs used meanwhile.""",
        "",
        f"| width | fetch_k | recall@{results['k']} | index | of whole | process | file | ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in [whole, *results["two_stage"]]:
        share = row["index"] / whole["index"]
        lines.append(
            f"| {row['dimensions']} | {row['fetch_k'] or '–'} | {row['recall']:.4f} "
            f"| {_mib(row['index'])} | {share:.2f} | {_mib(row['memory'])} "
            f"| {_mib(row['file'])} | {row['milliseconds']:.1f} |"
        )
    lines += [
        "",
        f"""The wider the model, the smaller the share that is left. In widths of released models,
{results["passages"]:,} random vectors:""",
        "",
        "| model | whole: index, process | cut: index, process | of whole |",
        "|---|---|---|---|",
    ]
    for name, by_width in results["released"].items():
        cells = [f"{w}: {_mib(v['index'])}, {_mib(v['memory'])}" for w, v in by_width.items()]
        wide, cut = by_width.values()
        shares = [f"{cut[kind] / wide[kind]:.2f}" for kind in ("index", "memory")]
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(shares)} |")
    return "\n".join(lines) + "\n"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size else "–"


def main() -> None:
    """Measure, and write what was found beside this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="JSONL with text and title")
    parser.add_argument("--passages", type=int, default=_PASSAGES)
    parser.add_argument("--grow", nargs=2, help=argparse.SUPPRESS)  # for its own child process
    given = parser.parse_args()
    if given.grow:
        print(_grow(Path(given.grow[0]), int(given.grow[1])))
        return
    results = measure(given.corpus, given.passages)
    (HERE / "two_stage.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (HERE / "two_stage.md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
