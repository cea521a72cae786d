"""`f2llm embed`: what it writes, says and returns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from f2llm_core.cli import main
from f2llm_core.distributed import EmbedReport


@pytest.fixture
def run(checkpoint, tmp_path):
    def run(*args, code=0):
        arguments = ["embed", checkpoint, *args, "--output", tmp_path / "vectors"]
        result = CliRunner().invoke(main, [str(arg) for arg in arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("".join(f'{{"id": {n}, "text": "Text {n}."}}\n' for n in range(5)))
    return path


def ids(tmp_path):
    return sorted(pq.read_table(tmp_path / "vectors", columns=["id"])["id"].to_pylist())


def test_files_are_embedded_once(run, file, tmp_path):
    result = run(file, "--batch-size", 2, "--dimensions", 32, "--vector-dtype", "float16")
    assert result.stdout.startswith("5 embedded, 0 skipped, 0 failed in ")
    assert result.stderr == ""
    assert ids(tmp_path) == list("01234")
    assert len(list((tmp_path / "vectors").glob("part-*"))) == 3
    options = ("--dimensions", 32, "--vector-dtype", "float16")
    assert run(file, *options).stdout.startswith("0 embedded, 5 skipped, 0 failed in ")


def test_json_is_the_report(run, file):
    found = json.loads(run(file, "--json").stdout)
    assert found.pop("seconds") > 0
    assert found.pop("tokens") > 5
    assert found == {"embedded": 5, "skipped": 0, "failed": [], "truncated": 0}


def test_bad_rows_are_listed_and_the_exit_code_says_so(run, file, tmp_path):
    with file.open("a") as lines:
        lines.write('{"id": "", "text": "x"}\n')
    result = run(file, code=1)
    assert result.stderr.splitlines() == [f"{file}:6: its id is empty", "Rows left out: 1."]
    assert ids(tmp_path) == list("01234")


def test_of_many_bad_rows_the_first_are_listed(run, file):
    with file.open("a") as lines:
        lines.write('{"id": "", "text": "x"}\n' * 25)
    result = run(file, code=1)
    said = result.stderr.splitlines()
    assert said[19:] == [
        f"{file}:25: its id is empty",
        "… and 5 more; --json lists all.",
        "Rows left out: 25.",
    ]
    assert len(json.loads(run(file, "--json", code=1).stdout)["failed"]) == 25


def test_fields_have_names(run, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"key": "k", "body": "Text."}')
    run(path, "--id-field", "key", "--text-field", "body")
    assert ids(tmp_path) == ["k"]


def test_another_width_is_refused(run, file):
    run(file)
    result = run(file, "--dimensions", 32, code=1)
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "was made with dimensions 64, this model has 32" in line


def test_shares_are_for_ray(run, file):
    result = run(file, "--cpus-per-worker", 2, code=2)
    assert "--cpus-per-worker is for --engine ray." in result.stderr


def test_ray_is_told_all_that_was_asked_for(run, file, monkeypatch):
    from f2llm_core import distributed
    from f2llm_core.distributed import ray_pool

    def embed_dataset(dataset, encoder, output, **options):
        print("(raylet) A worker died.")  # as Ray does, to standard output
        asked.update(options, width=encoder.dimensions, output=output.name)
        return EmbedReport(embedded=5, tokens=50, seconds=2.0)

    asked = {}
    monkeypatch.setattr(ray_pool, "cluster", nullcontext)
    monkeypatch.setattr(distributed, "read_dataset", lambda paths, **_: asked.update(paths=paths))
    monkeypatch.setattr(distributed, "embed_dataset", embed_dataset)
    shares = ("--workers", 3, "--cpus-per-worker", 2, "--gpus-per-worker", 0.5)
    said = run(file, "--engine", "ray", *shares, "--batch-size", 7, "--dimensions", 32).stdout
    assert said == "5 embedded, 0 skipped, 0 failed in 2.0 s; 50 tokens (25 a second)\n"
    assert asked == {
        "id_column": "id",
        "text_column": "text",
        "vector_dtype": "float32",
        "show_progress": False,
        "batch_size": 7,
        "workers": 3,
        "cpus_per_worker": 2.0,
        "gpus_per_worker": 0.5,
        "width": 32,
        "output": "vectors",
        "paths": (file,),
    }


def test_a_killed_command_is_completed(checkpoint, run, tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"id": {n}, "text": "Text {n}."}}\n' for n in range(3000)))
    command = "from f2llm_core.cli import main; main()"
    arguments = ["embed", checkpoint, path, "--output", tmp_path / "vectors", "--batch-size", 20]
    process = subprocess.Popen([sys.executable, "-c", command, *map(str, arguments)])
    until = time.monotonic() + 100
    while len(list((tmp_path / "vectors").glob("part-*"))) < 5:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = json.loads(run(path, "--json").stdout)
    assert 0 < found["skipped"] < 3000
    assert found["embedded"] + found["skipped"] == 3000
    assert ids(tmp_path) == sorted(map(str, range(3000)))
