"""A dataset indexed into a Chroma server by two workers of a Ray cluster, one of which is killed.

    python tests/integration/ray_index_job.py MODEL FOLDER ROWS BATCH_SIZE

Run by `test_ray.py`; prints what was found as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DATA_LOG_LEVEL"] = "ERROR"

import chromadb
import numpy as np
import pyarrow as pa
import ray
from chromadb.config import Settings
from ray_job import STORE, text

from f2llm_core import F2LLM
from f2llm_core.distributed import index_dataset

PATIENCE = 120  # seconds for the server to start


@contextmanager
def chroma_server(folder: Path) -> Iterator[int]:
    """Run a server; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    program = shutil.which("chroma", path=Path(sys.executable).parent)
    command = [str(program), "run", "--path", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield port
        finally:
            server.terminate()


def connect(port: int) -> Any:
    """Return a client of the server, once it answers."""
    begin = time.monotonic()
    while True:
        try:
            return chromadb.HttpClient(
                "127.0.0.1", port, settings=Settings(anonymized_telemetry=False)
            )
        except ValueError:  # it does not listen yet
            if time.monotonic() - begin > PATIENCE:
                raise
            time.sleep(0.1)


def collection(client: Any) -> Any:
    return client.get_or_create_collection(
        "papers", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


class Killer(threading.Thread):
    """Kills a worker as soon as both are at work and a third of the rows are stored."""

    def __init__(self, client: Any, pids: Path, rows: int) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.pids = pids
        self.rows = rows
        self.killed: list[int] = []

    def run(self) -> None:
        stored = 0
        while stored < self.rows // 3 or len(self.at_work()) < 2:
            time.sleep(0.02)
            stored = collection(self.client).count() if self.at_work() else 0
        self.killed.append(self.at_work()[0])
        os.kill(self.killed[0], signal.SIGKILL)

    def at_work(self) -> list[int]:
        return sorted(int(path.name) for path in self.pids.iterdir())


def compare(model: F2LLM, stored: Any, rows: int) -> dict[str, object]:
    """Hold what the collection has against what it should have."""
    found = stored.get(include=["metadatas", "documents", "embeddings"])
    sources = [metadata["f2llm_source"] for metadata in found["metadatas"]]
    right = {f"row-{row}": text(row) for row in range(rows)}
    texts = [right[source] for source in sources if source in right]
    return {
        "lost": len(right.keys() - set(sources)),
        "doubled": len(sources) - len(set(sources)),
        "foreign": len(set(sources) - right.keys()),
        "changed": sum(a != b for a, b in zip(texts, found["documents"], strict=True)),
        "difference": float(
            abs(np.asarray(found["embeddings"]) - model.encode_document(texts)).max()
        ),
    }


def main(model_path: str, folder: str, rows: int, batch_size: int) -> None:
    pids = Path(folder) / "pids"
    pids.mkdir(parents=True)
    model = F2LLM(model_path, dtype="float32", dimensions=32)
    with chroma_server(Path(folder) / "chroma") as port:
        client = connect(port)
        ray.init(
            num_cpus=3,
            include_dashboard=False,
            object_store_memory=STORE,
            logging_level=logging.ERROR,
        )

        def open_store() -> Any:
            (pids / str(os.getpid())).touch()
            return collection(connect(port))

        table = pa.table(
            {
                "id": [*(f"row-{row}" for row in range(rows)), "bad"],
                "text": [*(text(row) for row in range(rows)), None],
                "number": list(range(rows + 1)),
            }
        )
        killer = Killer(client, pids, rows)
        killer.start()
        options = {"workers": 2, "batch_size": batch_size}
        first = index_dataset(ray.data.from_arrow(table), model, open_store, **options)
        killer.join()
        workers = len(killer.at_work())
        again = index_dataset(ray.data.from_arrow(table), model, open_store, **options)
        ray.shutdown()
        print(
            json.dumps(
                {
                    "first": asdict(first),
                    "again": asdict(again),
                    "killed": len(killer.killed),
                    "workers": workers,
                    **compare(model, collection(client), rows),
                }
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
