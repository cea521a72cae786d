"""A corpus embedded by two workers of a Ray cluster, one of which is killed; run by `test_ray.py`.

    python tests/integration/ray_job.py MODEL FOLDER ROWS BATCH_SIZE

Prints what was found as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DATA_LOG_LEVEL"] = "ERROR"

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from f2llm_core import F2LLM
from f2llm_core.distributed import embed_dataset, embed_tables, read_tables

WORDS = ["stars", "rivers", "trains", "letters", "clocks", "gardens", "storms", "maps"]
ALIKE = 2000  # rows whose vectors are compared
STORE = 200 * 2**20


def text(row: int) -> str:
    return " ".join([f"Passage {row}", *[WORDS[(row >> shift) % 8] for shift in range(4)]])


def write_corpus(path: Path, rows: int) -> None:
    """Rows in random sizes of text, and at the end three that cannot be embedded."""
    ids = [f"row-{row}" for row in range(rows)]
    texts: list[str | None] = [text(row) for row in range(rows)]
    table = pa.table({"id": [*ids, "", None, "none"], "text": [*texts, "a", "b", None]})
    pq.write_table(table, path, row_group_size=max(1, rows // 10))


class Watch(threading.Thread):
    """Kills a worker in the middle of its block, and samples the memory of all."""

    def __init__(self, output: Path, parts: int) -> None:
        super().__init__(daemon=True)
        self.output = output
        self.parts = parts  # that are to be there first
        self.killed: list[int] = []
        self.samples: list[tuple[int, int]] = []  # bytes of the largest worker, of all objects
        self.workers: set[int] = set()
        self.over = threading.Event()

    def run(self) -> None:
        sampled = 0.0
        while not self.over.wait(0.05):
            parts = len(list(self.output.glob("part-*")))
            at_work = workers_at_work()
            self.workers |= at_work
            if not self.killed and parts >= self.parts and at_work:
                self.killed.append(at_work.pop())
                os.kill(self.killed[0], signal.SIGKILL)
            elif at_work and time.monotonic() - sampled > 0.2:
                sampled = time.monotonic()
                free = ray.available_resources().get("object_store_memory", STORE)
                self.samples.append((max(map(resident, at_work)), int(STORE - free)))

    def memory(self) -> list[list[int]]:
        """Return the largest samples of each third of the time, in MB."""
        size = -(-len(self.samples) // 3) or 1
        thirds = (self.samples[start : start + size] for start in range(0, len(self.samples), size))
        return [[max(column) // 10**6 for column in zip(*third, strict=True)] for third in thirds]


def workers_at_work() -> set[int]:
    """Return the processes of this cluster that are computing a block, as their titles say."""
    titles = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            titles[int(path.parent.name)] = path.read_bytes()
    return {
        pid
        for pid, title in titles.items()
        if title.startswith(b"ray::MapWorker") and b".submit" in title
        if parent(parent(pid)) == os.getpid()  # between them is the process of the node
    }


def parent(pid: int) -> int:
    """Return the parent of a process; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 once it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def compare(model: F2LLM, output: Path, rows: int) -> dict[str, object]:
    """Hold what the folder has against what it should have."""
    table = pq.read_table(output, columns=["id", "vector"])
    ids = table["id"].to_pylist()
    right = {f"row-{row}" for row in range(rows)}
    step = max(1, len(ids) // ALIKE)
    some = table.take(list(range(0, len(ids), step)))
    vectors = some["vector"].combine_chunks().flatten().to_numpy().reshape(-1, model.dimensions)
    texts = [text(int(id_.removeprefix("row-"))) for id_ in some["id"].to_pylist()]
    return {
        "lost": len(right - set(ids)),
        "doubled": len(ids) - len(set(ids)),
        "foreign": len(set(ids) - right),
        "compared": len(texts),
        "difference": float(abs(vectors - model.encode_document(texts)).max()),
    }


def main(model_path: str, folder: str, rows: int, batch_size: int) -> None:
    corpus, output = Path(folder) / "corpus.parquet", Path(folder) / "vectors"
    write_corpus(corpus, rows)
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        object_store_memory=STORE,
        logging_level=logging.ERROR,
    )
    model = F2LLM(model_path, dtype="float32", dimensions=32)

    watch = Watch(output, parts=rows // batch_size // 3)
    watch.start()
    dataset = ray.data.read_parquet(str(corpus))
    first = embed_dataset(dataset, model, output, workers=2, batch_size=batch_size)
    watch.over.set()
    watch.join()
    parts = sorted(path.name for path in output.glob("part-*"))
    again = embed_tables(read_tables([corpus]), model, output)  # by the other engine
    print(
        json.dumps(
            {
                "first": asdict(first),
                "again": asdict(again),
                "same_parts": parts == sorted(path.name for path in output.glob("part-*")),
                "killed": len(watch.killed),
                "workers": len(watch.workers),
                "left": [str(path) for path in output.glob(".unf*")],
                "memory": watch.memory(),
                **compare(model, output, rows),
            }
        )
    )
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
