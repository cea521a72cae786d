"""A Ray cluster of several nodes, on one machine: shares are kept to, and a node goes away.

    python tests/integration/ray_cluster_job.py MODEL FOLDER ROWS BATCH_SIZE

The nodes have GPUs by name only, which is enough to see where Ray puts what asks for them. Run by
`test_ray.py`; prints what was found as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DATA_LOG_LEVEL"] = "ERROR"

import pyarrow as pa
import ray
from ray.cluster_utils import Cluster
from ray_job import compare, text

from f2llm_core import F2LLM
from f2llm_core.distributed import embed_dataset
from f2llm_core.distributed.ray_pool import Pool

STORE = 100 * 2**20


class Where:
    """A job that embeds nothing, and says where it is and what it was given."""

    def start(self, model: F2LLM) -> Callable[[pa.Table, str], str]:
        import torch

        context = ray.get_runtime_context()
        found = {
            "node": context.get_node_id(),
            "worker": os.getpid(),
            "shares": context.get_assigned_resources(),
            "threads": torch.get_num_threads(),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        return lambda table, given_up: json.dumps(found)


def place(model: F2LLM, workers: int | None, cpus: float, gpus: float) -> list[dict[str, object]]:
    """Return what each worker was given, once."""
    table = pa.table({"id": list(map(str, range(200))), "text": [""] * 200})
    answers = Pool.fit(model, workers, cpus, gpus).map(ray.data.from_arrow(table), Where(), 10)
    return list(map(json.loads, sorted(set(answers))))


def main(model_path: str, folder: str, rows: int, batch_size: int) -> None:
    output = Path(folder) / "vectors"
    model = F2LLM(model_path, dtype="float32", dimensions=32)
    cluster = Cluster()
    cluster.add_node(num_cpus=2, include_dashboard=False, object_store_memory=STORE)
    with_gpu = cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    lost = cluster.add_node(num_cpus=2, object_store_memory=STORE)
    ray.init(address=cluster.address, logging_level=logging.ERROR)
    half_gpus, whole_gpu = place(model, 2, 1, 0.5), place(model, None, 2, 1)

    def lose() -> None:
        while len(list(output.glob("part-*"))) < rows // batch_size // 3:
            time.sleep(0.01)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    table = pa.table(
        {"id": [f"row-{n}" for n in range(rows)], "text": list(map(text, range(rows)))}
    )
    embedded = embed_dataset(
        ray.data.from_arrow(table), model, output, workers=3, batch_size=batch_size
    )
    losing.join()
    nodes = sum(node["Alive"] for node in ray.nodes())
    ray.shutdown()
    cluster.shutdown()
    print(
        json.dumps(
            {
                "node_with_gpu": with_gpu.node_id,
                "half_gpus": half_gpus,
                "whole_gpu": whole_gpu,
                "nodes": nodes,
                "embedded": asdict(embedded),
                **compare(model, output, rows),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
