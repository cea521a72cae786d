"""A dataset with a row that ends every worker, indexed by two workers of a Ray cluster.

    python tests/integration/ray_deadly_job.py MODEL FOLDER ROWS BATCH_SIZE

Run by `test_ray.py`; prints what was found as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DATA_LOG_LEVEL"] = "ERROR"

import chromadb
import pyarrow as pa
import ray
from ray_job import STORE, text

from f2llm_core import F2LLM
from f2llm_core.distributed import index_dataset

DEADLY = "This text ends the process that embeds it."


def main(model_path: str, folder: str, rows: int, batch_size: int) -> None:
    deaths = Path(folder) / "deaths"
    deaths.mkdir(parents=True)
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        object_store_memory=STORE,
        logging_level=logging.CRITICAL,
        log_to_driver=False,
    )

    def open_store() -> Any:
        from f2llm_core.backends.local import LocalBackend

        submit = LocalBackend.submit

        def die(self: LocalBackend, prompts: list[str], **options: Any) -> Any:
            if DEADLY in prompts:
                (deaths / str(os.getpid())).touch()
                os._exit(1)
            return submit(self, prompts, **options)

        LocalBackend.submit = die
        return chromadb.EphemeralClient().create_collection(
            "papers", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )

    ids = [f"row-{row}" for row in range(rows)]
    texts = [DEADLY if row == rows // 2 else text(row) for row in range(rows)]
    table = pa.table({"id": ids, "text": texts})
    model = F2LLM(model_path, dtype="float32", dimensions=32)
    report = index_dataset(
        ray.data.from_arrow(table), model, open_store, workers=2, batch_size=batch_size
    )
    ray.shutdown()
    print(json.dumps({"deaths": len(list(deaths.iterdir())), **asdict(report)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
