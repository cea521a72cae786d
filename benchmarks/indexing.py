"""Indexing end to end: throughput beside the engine's own, and what the index then finds.

    python -m benchmarks.indexing

Writes `benchmarks/indexing.json` and `benchmarks/indexing.md`. Throughput is that of text to stored
vector, with random weights in the shape of the 80M model and the documents of the speed benchmark;
the engine alone embeds the same texts in the same rounds. Recall is measured with the demo model on
the passages of the two-stage benchmark.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine, load_average
from benchmarks.texts import CORPUS, make_workload
from benchmarks.two_stage import DEMO, K, read_texts, recall
from f2llm_core import F2LLM, index, open_store
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import DTypeName
from f2llm_core.stores import VectorStore
from f2llm_core.stores.qdrant import QdrantStore
from f2llm_core.stores.qdrant_layouts import LangChainLayout
from f2llm_core.testing import sized_checkpoint

HERE = Path(__file__).resolve().parent
SHAPE = "80M"
DTYPES: tuple[DTypeName, ...] = ("float32", "bfloat16")
AIMS = {"throughput": 0.9, "recall": 0.99}


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        documents: Documents embedded in each round.
        rounds: Rounds, in which the engine and every store take turns.
        passages: Passages to search among.
        queries: Queries to search with.
    """

    documents: int = 256
    rounds: int = 3
    passages: int = 20_000
    queries: int = 1000


QUICK = Settings(documents=16, rounds=2, passages=300, queries=20)


@contextmanager
def open_chroma_in(folder: Path, width: int) -> Iterator[VectorStore]:
    """Open a collection of Chroma in a folder, made if need be."""
    import chromadb
    from chromadb.config import Settings as ChromaSettings

    client = chromadb.PersistentClient(str(folder), ChromaSettings(anonymized_telemetry=False))
    yield open_store(
        client.get_or_create_collection(
            "texts", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
    )


@contextmanager
def open_qdrant_in(folder: Path, width: int) -> Iterator[VectorStore]:
    """Open a collection of Qdrant's local mode in a folder, made if need be."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    try:
        if not client.collection_exists("texts"):
            cosine = models.VectorParams(size=width, distance=models.Distance.COSINE)
            client.create_collection("texts", vectors_config=cosine)
        yield QdrantStore(client, "texts", LangChainLayout("page_content", "metadata"))
    finally:
        client.close()


STORES = {"Chroma": open_chroma_in, "Qdrant, local": open_qdrant_in}


def measure_throughput(settings: Settings, dtype: DTypeName) -> dict[str, Any]:
    """Return seconds of each round: the engine's alone, and with each store."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = sized_checkpoint(Path(scratch) / "model", SHAPE)
        workload = make_workload(folder, settings.documents, 1)
        with F2LLM(folder, dtype=dtype) as model:
            model.encode_document(workload.documents[:8])
            alone: list[float] = []
            stored: dict[str, list[float]] = {name: [] for name in STORES}
            for _ in range(settings.rounds):
                embed = partial(model.encode_document, workload.documents)
                alone.append(_seconds(embed))
                for name, seconds in stored.items():
                    seconds.append(_seconds_of_indexing(name, model, workload.documents))
    return {
        "dtype": dtype,
        "tokens": sum(workload.document_tokens),
        "engine": alone,
        "stores": stored,
    }


def _seconds_of_indexing(name: str, model: F2LLM, texts: list[str]) -> float:
    records = [(str(place), text) for place, text in enumerate(texts)]
    with (
        tempfile.TemporaryDirectory() as folder,
        STORES[name](Path(folder), model.dimensions) as store,
    ):
        seconds = _seconds(partial(index, store, model, records))
        assert store.count() == len(records)  # noqa: S101
    return seconds


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(measured: dict[str, Any], store: str) -> list[float]:
    """Return the share of the engine's own speed that indexing reached, of each round."""
    pairs = zip(measured["engine"], measured["stores"][store], strict=True)
    return [engine / indexing for engine, indexing in pairs]


def measure_recall(settings: Settings) -> dict[str, dict[str, float]]:
    """Return recall against exact search before and after a restart, by store."""
    texts, asked = read_texts(CORPUS, settings.passages, settings.queries)
    model = F2LLM(DEMO, dtype="float32")
    records = list(enumerate(texts))
    queries = model.encode_query(asked)
    found = {}
    for name, opened in STORES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            np.save(folder / "queries.npy", queries)
            with opened(folder / "store", model.dimensions) as store:
                index(store, model, ((str(place), text) for place, text in records))
                right = _search_exactly(store, queries)
                before = recall(_search(store, queries), right)
            command = [sys.executable, "-m", "benchmarks.indexing", "--search", name, scratch]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            found[name] = {"before": before, "after": recall(json.loads(done.stdout), right)}
    return found


def _search_exactly(store: VectorStore, queries: Vectors) -> list[list[str]]:
    rows = store.get([entry.id for entry in store.entries()])
    best = np.argsort(-(queries @ rows.vectors.T), axis=1)[:, :K]
    return [[rows.ids[place] for place in one] for one in best]


def _search(store: VectorStore, queries: Vectors) -> list[list[str]]:
    return [[match.id for match in store.search(query, K)] for query in queries]


def search_anew(name: str, folder: Path) -> list[list[str]]:
    """Search a store that another process filled; what the child process does."""
    queries = np.load(folder / "queries.npy")
    with STORES[name](folder / "store", queries.shape[1]) as store:
        return _search(store, queries)


def measure(settings: Settings) -> dict[str, Any]:
    """Measure everything once."""
    before = load_average()
    throughput = [measure_throughput(settings, dtype) for dtype in DTYPES]
    return {
        "machine": describe_machine(),
        "load_average": [before, load_average()],
        "settings": vars(settings),
        "k": K,
        "throughput": throughput,
        "recall": measure_recall(settings),
    }


def markdown(results: dict[str, Any]) -> str:
    """Write the findings as a page."""
    machine, given = results["machine"], Settings(**results["settings"])
    tokens = results["throughput"][0]["tokens"]
    before, after = results["load_average"]
    lines = [
        "# Indexing",
        "",
        f"""Measured {machine["date"]} by `python -m benchmarks.indexing` on {machine["cpu"]},
{machine["cores"]} cores; load before and after: {before}, {after}.

## Text to stored vector

{given.documents:,} documents of {tokens:,} tokens, random weights in the shape of the {SHAPE}
model. In each of {given.rounds} rounds the engine embedded them alone, then `index` embedded and
stored them in a new collection of each store. Of the engine: the median of its share in each round
(lowest to highest); aimed at: {AIMS["throughput"]} or more.""",
        "",
        "| store | precision | engine alone, tokens/s | indexed, tokens/s | of the engine |",
        "| --- | --- | --- | --- | --- |",
    ]
    for measured in results["throughput"]:
        for name, seconds in measured["stores"].items():
            shares = ratios(measured, name)
            share = median(shares)
            lines.append(
                f"| {name} | {measured['dtype']} | {tokens / median(measured['engine']):,.0f} "
                f"| {tokens / median(seconds):,.0f} | {_mark(share, 'throughput')} {share:.3f} "
                f"({min(shares):.3f} to {max(shares):.3f}) |"
            )
    lines += [
        "",
        f"""## What is found

{given.passages:,} passages of the shipped corpus and {given.queries:,} queries, the demo model in
float32. Recall@{results["k"]} is against exact search among the stored vectors, in the process that
wrote them and in another one that opened the folder anew; aimed at: {AIMS["recall"]} or more.""",
        "",
        "| store | before a restart | after |",
        "| --- | --- | --- |",
    ]
    for name, found in results["recall"].items():
        cells = [
            f"{_mark(found[when], 'recall')} {found[when]:.4f}" for when in ("before", "after")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mark(value: float, aim: str) -> str:
    return "✓" if value >= AIMS[aim] else "✗"


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="too little to quote, to try it out")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--search", nargs=2, help=argparse.SUPPRESS)  # for its own child process
    given = parser.parse_args()
    if given.search:
        name, folder = given.search
        print(json.dumps(search_anew(name, Path(folder))))
        return
    results = measure(QUICK if given.quick else Settings())
    content = json.dumps(results, indent=2)
    (given.out / "indexing.json").write_text(f"{content}\n", encoding="utf-8")
    (given.out / "indexing.md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
