"""What runs in Ray's workers, and how many fit; the cluster itself is in integration/test_ray."""

from __future__ import annotations

import json
import math
import os
import pickle
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from f2llm_core import (
    ConfigurationError,
    F2LLMError,
    FingerprintError,
    MissingExtraError,
    StoreError,
    WorkerError,
)
from f2llm_core.distributed import embed_dataset, read_dataset
from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.ray_pool import Pool, _error, _typed
from f2llm_core.distributed.ray_pool import cluster as ray_cluster
from f2llm_core.distributed.ray_workers import (
    Attempts,
    EmbedJob,
    IndexJob,
    Worker,
    read_index_report,
    take_share,
)
from f2llm_core.distributed.report import BlockReport
from f2llm_core.distributed.rows import Columns
from f2llm_core.indexing import Failure
from store_kinds import MemoryStore

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch):
    """Make Ray say that it has nodes of so many CPUs and GPUs, and one that went away."""

    def has(*nodes):
        found = [{"Alive": True, "Resources": resources} for resources in nodes]
        gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
        monkeypatch.setattr(ray, "nodes", lambda: [gone, *found])

    return has


@pytest.fixture
def attempts():
    """As the handle of an actor, but here."""
    counted = Attempts()
    methods = {name: SimpleNamespace(remote=getattr(counted, name)) for name in ("begin", "end")}
    return SimpleNamespace(counted=counted, **methods)


@pytest.fixture
def start(encoder, attempts, monkeypatch):
    monkeypatch.setattr(ray, "get", lambda found: found)
    context = SimpleNamespace(get_actor_id=lambda: "the one worker, in another life each time")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")

    def start(job):
        model = pickle.loads(pickle.dumps(encoder))
        return Worker(model, job, attempts, threads=1, gpu=False)

    return start


def rows(**columns):
    return pa.table({"id": ["a", "b", ""], "text": ["A.", "B.", "C."], **columns})


def test_a_worker_embeds(start, encoder, tmp_path):
    folder = VectorFolder(tmp_path, encoder.fingerprint, "float32")
    with folder.open():
        worker = start(EmbedJob(folder, folder.read_keys()[0], Columns()))
        [found] = worker(rows()).to_pylist()
        assert found["error"] is None
        report = BlockReport.from_json(found["answer"])
        assert (report.rows, report.written) == (3, 2)
        assert report.failed == [Failure("row with text 'C.'", "its id is empty")]
        assert len(folder.read_keys()[0]) == 2


def test_an_error_of_a_worker_arrives_as_what_it_was(start, encoder, tmp_path):
    folder = VectorFolder(tmp_path / "elsewhere", encoder.fingerprint, "float32")
    keys = np.empty((0, 3), dtype=np.uint64)
    [found] = start(EmbedJob(folder, keys, Columns()))(rows()).to_pylist()
    error = _error(*json.loads(found["error"]))
    assert isinstance(error, StoreError)
    assert "does not see" in str(error)
    assert found["answer"] is None


def test_a_worker_with_other_weights_is_refused(start, encoder, tmp_path):
    from dataclasses import replace

    other = replace(encoder.fingerprint, model="sha256:0")
    folder = VectorFolder(tmp_path, other, "float32")
    with folder.open():
        [found] = start(EmbedJob(folder, folder.read_keys()[0], Columns()))(rows()).to_pylist()
    assert json.loads(found["error"])[0] == FingerprintError.__name__


def test_a_worker_indexes(start):
    store = MemoryStore()
    worker = start(IndexJob(lambda: store, Columns(), None))
    [found] = worker(rows(of=[1, 2, 3])).to_pylist()
    report = read_index_report(found["answer"])
    assert (report.added, report.embedded) == (2, 2)
    assert report.failed == (Failure("row with text 'C.'", "its id is empty"),)
    kept = store.get([entry.id for entry in store.entries()])
    assert dict(zip(kept.documents, (m["of"] for m in kept.metadatas), strict=True)) == {
        "A.": 1,
        "B.": 2,
    }
    [again] = worker(rows(of=[1, 2, 3])).to_pylist()
    assert read_index_report(again["answer"]).unchanged == 2


class Deadly:
    """A job that ends the process at the block whose first id is "deadly"."""

    def start(self, model):
        def answer(table, given_up):
            if table["id"][0].as_py() == "deadly" and not given_up:
                raise SystemExit  # nothing of the worker is cleaned up
            return given_up

        return answer


def test_a_block_that_ends_three_workers_is_given_up_and_no_other(start, attempts):
    table = pa.table({"id": ["a", "deadly", "b"]})

    def run(worker):
        return [worker(table.slice(n, 1)).to_pylist()[0]["answer"] for n in range(3)]

    for _ in range(3):
        with pytest.raises(SystemExit):
            run(start(Deadly()))
    reason = "its block ended 3 workers: out of memory, or a crash"
    assert run(start(Deadly())) == ["", reason, ""]
    assert not attempts.counted._begun


def test_a_job_that_ends_every_worker_as_it_starts_ends_the_run(start):
    def die(_):
        raise SystemExit

    block, job = pa.table({"id": ["a"]}), SimpleNamespace(start=die)
    for _ in range(6):
        with pytest.raises(SystemExit):
            start(job)(block)
    [found] = start(job)(block).to_pylist()
    assert json.loads(found["error"]) == [
        "WorkerError",
        "6 workers ended before they did anything: out of memory, or a crash.",
    ]


def test_equal_blocks_at_work_at_once_are_no_deaths_of_each_other():
    attempts = Attempts()
    assert [attempts.begin("block", f"worker {n}", "first life") for n in range(5)] == [0] * 5
    assert attempts.begin("block", "worker 0", "second life") == 1
    attempts.end("block", "worker 1", "first life")  # so the block is not deadly after all
    assert attempts.begin("block", "worker 1", "first life") == 0
    for n, life in enumerate(["second", "first", "first", "first", "first"]):
        attempts.end("block", f"worker {n}", f"{life} life")
    assert not attempts._begun


def test_rows_that_are_given_up_are_neither_embedded_nor_stored(encoder):
    store = MemoryStore()
    answer = IndexJob(lambda: store, Columns(), None).start(encoder)
    report = read_index_report(answer(rows(), "too often"))
    assert (report.added, report.embedded, list(store.entries())) == (0, 0, [])
    assert sorted(report.failed, key=lambda one: one.place) == [
        Failure("id 'a'", "too often"),
        Failure("id 'b'", "too often"),
        Failure("row with text 'C.'", "its id is empty"),
    ]


def test_metadata_columns_must_be_there(start):
    [found] = start(IndexJob(MemoryStore, Columns(), ["lang"]))(rows()).to_pylist()
    kind, message = json.loads(found["error"])
    assert kind == "ConfigurationError"
    assert "no column 'lang'" in message


def test_a_worker_keeps_to_its_share(encoder, monkeypatch):
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("RAYON_NUM_THREADS", "8")
    take_share(encoder, threads=3, gpu=True)
    assert (used, os.environ["RAYON_NUM_THREADS"]) == ([3], "3")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    take_share(encoder, threads=3, gpu=False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("there", "asked", "workers"),
    [
        ([{"CPU": 5.0}], (None, 1, 0), 4),  # one is left for reading
        ([{"CPU": 5.0}], (2, 2, 0), 2),
        ([{"CPU": 64.0, "GPU": 4.0}], (None, 8, 1), 4),
        ([{"CPU": 64.0, "GPU": 1.0}], (None, 1, 0.1), 10),
        ([{"CPU": 3.0, "GPU": 8.0}], (None, 1, 1), 2),
        ([{"CPU": 1.5}], (None, 0.5, 0), 1),
        ([{"CPU": 3.0}, {"CPU": 3.0}], (None, 2, 0), 2),  # a worker is on one node
        ([{"CPU": 2.0}, {"CPU": 2.0}], (None, 2, 0), 1),
        ([{"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}], (None, 1, 0.5), 2),
        ([{"CPU": 1.0}, {"CPU": 4.0, "GPU": 4.0}], (None, 1, 1), 4),  # the other one reads
        ([{"GPU": 4.0}, {"CPU": 4.0, "GPU": 4.0}], (None, 1, 1), 3),
    ],
)
def test_workers_fit_into_the_cluster(encoder, cluster, there, asked, workers):
    cluster(*there)
    assert Pool.fit(encoder, *asked).workers == workers


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ([{"CPU": 1.0}], (None, 1, 0)),  # nothing would be read
        ([{"CPU": 2.0}], (2, 1, 0)),
        ([{"CPU": 8.0}], (None, 1, 1)),
        ([{"CPU": 8.0, "GPU": 1.0}], (2, 1, 1)),
        ([{"CPU": 2.0}] * 8, (None, 4, 0)),  # in all of them together, but in none
        ([{"CPU": 8.0}, {"GPU": 1.0}], (None, 1, 1)),
        ([], (None, 1, 0)),
    ],
)
def test_workers_without_room_are_refused_rather_than_waited_for(encoder, cluster, there, asked):
    cluster(*there)
    with pytest.raises(ConfigurationError, match="do not fit into this cluster"):
        Pool.fit(encoder, *asked)


@pytest.mark.parametrize(
    "asked",
    [
        (0, 1, 0),
        (1, 0, 0),
        (1, 1, -1),
        (1, "1", 0),
        (1.5, 1, 0),
        (1, 1, math.inf),
        (1, math.nan, 0),
    ],
)
def test_shares_are_numbers(encoder, cluster, asked):
    cluster({"CPU": 8.0})
    with pytest.raises(ConfigurationError, match="expected a"):
        Pool.fit(encoder, *asked)


def test_a_gpu_and_a_half_is_no_share(encoder, cluster):
    cluster({"CPU": 8.0, "GPU": 8.0})
    with pytest.raises(ConfigurationError, match=r"gpus_per_worker=1\.5: Ray shares one GPU"):
        Pool.fit(encoder, 1, 1, 1.5)
    assert Pool.fit(encoder, 1, 1, 2.0).gpus == 2


@pytest.mark.enable_socket
def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, but nobody listens
        monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray would try for minutes"))
        for given in (address, f"ray://{address}"):
            monkeypatch.setenv("RAY_ADDRESS", given)
            said = f"^RAY_ADDRESS='{given}': no Ray cluster"
            with pytest.raises(ConfigurationError, match=said), ray_cluster():
                pass


def test_what_ray_says_of_an_address_is_said(monkeypatch):
    def init(address, **_):
        raise ConnectionError(f"nothing at {address}")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    said = r"RAY_ADDRESS='auto': .*: nothing at auto$"
    with pytest.raises(ConfigurationError, match=said), ray_cluster():
        pass


def test_errors_of_ray_are_errors_of_this_library():
    inner = StoreError("disk full")
    assert _typed(SimpleNamespace(cause=inner)) is inner
    found = _typed(ray.exceptions.RayError("first\nlast\n"))
    assert isinstance(found, WorkerError)
    assert str(found) == "A worker failed: RayError: last"
    for kind in ("MissingExtraError", "KeyError", "annotations"):
        error = _error(kind, "message")
        assert isinstance(error, F2LLMError)
        assert "message" in str(error)


def test_without_ray_the_install_line_is_given(monkeypatch, encoder, tmp_path):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    for call in (lambda: embed_dataset(None, encoder, tmp_path), lambda: read_dataset([tmp_path])):
        with pytest.raises(MissingExtraError, match=r"pip install 'f2llm-core\[ray\]'"):
            call()
