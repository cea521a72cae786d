"""Ray Data, on a cluster of this machine: a worker is killed, and nothing is lost or doubled.

A short cut by default; `make ray` embeds 100,000 rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.data")

ROWS = int(os.environ.get("F2LLM_RAY_ROWS", "2000"))
BATCH_SIZE = max(100, ROWS // 200)

in_full = pytest.mark.skipif(ROWS < 50_000, reason="only in full: make ray")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the memory of workers is read from /proc"),
    pytest.mark.timeout(1800),  # on a busy machine Ray takes minutes to start its processes
]


def run_job(name, *arguments):
    """Return what a job found; in a process of its own, which may use sockets."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1700,
    )
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


@pytest.fixture(scope="module")
def found(checkpoint, tmp_path_factory):
    return run_job("ray_job.py", checkpoint, tmp_path_factory.mktemp("ray"), ROWS, BATCH_SIZE)


def test_nothing_is_lost_or_doubled_by_a_killed_worker(found):
    assert (found["killed"], found["workers"]) == (1, 3)  # the third took its place
    assert found["first"]["embedded"] == ROWS
    assert (found["lost"], found["doubled"], found["foreign"]) == (0, 0, 0)
    assert found["compared"] >= min(ROWS, 2000)
    assert found["difference"] < 1e-5
    assert found["left"] == []


def test_bad_rows_are_listed(found):
    failed = {one["place"]: one["reason"] for one in found["first"]["failed"]}
    assert failed.keys() == {"id 'none'", "row with text 'a'", "row with text 'b'"}
    assert failed["row with text 'a'"] == "its id is empty"


def test_the_other_engine_finds_all_of_it_done(found):
    assert (found["again"]["embedded"], found["again"]["skipped"]) == (0, ROWS)
    assert len(found["again"]["failed"]) == 3
    assert found["same_parts"]


def test_a_row_that_ends_every_worker_is_given_up_with_its_block(checkpoint, tmp_path):
    pytest.importorskip("chromadb")
    found = run_job("ray_deadly_job.py", checkpoint, tmp_path / "deadly", 60, 10)
    assert found["deaths"] == 3
    assert {one["place"] for one in found["failed"]} == {f"id 'row-{row}'" for row in range(30, 40)}
    assert {one["reason"] for one in found["failed"]} == {
        "its block ended 3 workers: out of memory, or a crash"
    }
    assert found["added"] == 50


@in_full
def test_the_benchmark_runs(checkpoint):
    command = ["-m", "benchmarks.ray_data", "--workers", "2", "--rows", "4000"]
    done = subprocess.run(
        [sys.executable, *command, "--model", str(checkpoint)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1700,
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["workers"] == 2
    assert found["tokens_per_second"] > 0


@in_full
def test_memory_is_flat(found):
    first, *_, last = found["memory"]
    assert last[0] - first[0] < 50, f"workers grew, in MB: {found['memory']}"
    assert last[1] - first[1] < 50, f"the object store grew, in MB: {found['memory']}"


@in_full
def test_the_command_starts_and_ends_a_cluster_of_its_own(checkpoint, tmp_path):
    corpus, output = tmp_path / "corpus.jsonl", tmp_path / "vectors"
    lines = [json.dumps({"id": n, "text": f"Text {n}."}) for n in range(50)]
    corpus.write_text("\n".join([*lines, "{broken"]), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from f2llm_core.cli import main; main()"),
            *("embed", str(checkpoint), str(corpus), "--output", str(output)),
            *("--engine", "ray", "--workers", "1", "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["embedded"] == 50
    assert [one["place"] for one in report["failed"]] == [f"{corpus}:51"]
    assert "Rows left out: 1." in done.stderr


@in_full
def test_indexing_survives_a_killed_worker(checkpoint, tmp_path):
    pytest.importorskip("chromadb")
    found = run_job("ray_index_job.py", checkpoint, tmp_path / "index", 5000, 100)
    assert (found["killed"], found["workers"]) == (1, 3)  # the third took its place
    assert (found["lost"], found["doubled"], found["foreign"], found["changed"]) == (0, 0, 0, 0)
    assert found["difference"] < 1e-5
    first, again = found["first"], found["again"]
    assert first["added"] + first["unchanged"] == 5000  # what was stored before the answer
    assert [one["place"] for one in first["failed"]] == ["id 'bad'"]
    assert (again["added"], again["embedded"], again["unchanged"]) == (0, 0, 5000)


@in_full
def test_shares_are_kept_to_and_a_lost_node_loses_nothing(checkpoint, tmp_path):
    found = run_job("ray_cluster_job.py", checkpoint, tmp_path, 5000, 50)
    halves, [whole] = found["half_gpus"], found["whole_gpu"]
    assert len(halves) == 2
    for one in halves:
        assert one["shares"] == {"CPU": 1.0, "GPU": 0.5}
        assert (one["threads"], one["gpus"]) == (1, "0")
    assert whole["shares"] == {"CPU": 2.0, "GPU": 1.0}
    assert (whole["threads"], whole["gpus"]) == (2, "0")
    assert {one["node"] for one in (*halves, whole)} == {found["node_with_gpu"]}
    assert found["nodes"] == 2
    assert found["embedded"]["embedded"] == 5000
    assert (found["lost"], found["doubled"], found["foreign"]) == (0, 0, 0)
    assert found["difference"] < 1e-5
