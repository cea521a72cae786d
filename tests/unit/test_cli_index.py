"""`f2llm index`: what it stores, says and returns."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from f2llm_core.cli import main
from f2llm_core.cli.shared import open_collection


@pytest.fixture
def run(checkpoint, tmp_path):
    def run(*args, code=0):
        options = ["--chroma", tmp_path / "chroma", "--collection", "papers", "--dtype", "float32"]
        arguments = [str(arg) for arg in ("index", checkpoint, *args, *options)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.jsonl"
    write(path, *({"id": f"{i}", "text": f"Text {i}.", "n": i, "of": "a"} for i in range(5)))
    return path


def write(path, *records):
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def rows(tmp_path):
    found = open_collection(tmp_path / "chroma", "papers").get()
    return dict(zip(found["documents"], found["metadatas"], strict=True))


def test_files_are_indexed_once_and_changes_seen(run, file, tmp_path):
    assert run(file).stdout.startswith("5 added, 0 changed, 0 unchanged, 0 removed in ")
    found = rows(tmp_path)
    assert found["Text 3."].items() >= {"n": 3, "of": "a", "f2llm_source": "3"}.items()
    write(file, {"id": "0", "text": "Text 0.", "n": 0, "of": "a"}, {"id": "1", "text": "New."})
    assert "0 added, 1 changed, 1 unchanged, 0 removed" in run(file).stdout
    assert len(rows(tmp_path)) == 5
    assert "0 added, 0 changed, 2 unchanged, 3 removed" in run(file, "--remove-missing").stdout
    assert rows(tmp_path).keys() == {"Text 0.", "New."}


def test_json_is_the_report(run, file):
    found = json.loads(run(file, "--json", "--batch-size", 2).stdout)
    assert found.pop("seconds") > 0
    assert found == {
        "added": 5, "changed": 0, "unchanged": 0, "removed": 0, "embedded": 5, "failed": []
    }  # fmt: skip


def test_fields_have_names(run, tmp_path):
    path = tmp_path / "other.jsonl"
    write(path, {"key": 1, "body": "Text.", "x": 1, "y": 2})
    run(path, "--text-field", "body", "--id-field", "key", "--metadata", "y")
    [metadata] = rows(tmp_path).values()
    assert metadata["y"] == 2
    assert metadata["f2llm_source"] == "1"
    assert "x" not in metadata


def test_options_that_would_do_nothing_are_said(run, file):
    assert (
        "--id-field text: that is the field of the text"
        in run(file, "--id-field", "text", code=2).stderr
    )
    result = run(file, "--metadata", "titel", "--metadata", "of")
    assert result.stderr.splitlines()[-1].endswith("named by --metadata: titel.")
    assert run(file, "--metadata", "n").stderr == ""


def test_a_broken_line_is_named_and_what_came_before_is_kept(run, file, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "good"}\n{"text": "surrogate \\ud800"}\n', encoding="utf-8")
    result = run(file, broken, code=1)
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Error: {broken}:2: the text holds a lone surrogate")
    assert "6 rows were stored" in line
    assert len(rows(tmp_path)) == 6


def test_broken_lines_can_be_left_out(run, file, tmp_path):
    file.write_text(file.read_text(encoding="utf-8") + "{\n{}\n", encoding="utf-8")
    result = run(file, "--keep-going", "--remove-missing", "--json", code=1)
    assert [f["place"] for f in json.loads(result.stdout)["failed"]] == [f"{file}:6", f"{file}:7"]
    first, second, last = result.stderr.splitlines()
    assert first.startswith(f"{file}:6: not valid JSON")
    assert second == f"{file}:7: no field 'text'; it has none"
    assert last == "Lines left out: 2; so nothing was removed."
    assert len(rows(tmp_path)) == 5


def test_another_model_is_refused(run, file):
    run(file)
    result = run(file, "--dimensions", 32, code=1)
    assert result.stderr.startswith("Error: ")
    assert "dimensions" in result.stderr


def test_what_is_no_folder_or_name_is_an_error(run, file, tmp_path):
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"damage" * 999)
    result = run(file, code=1)
    assert "could not open the collection 'papers'" in result.stderr.splitlines()[-1]
    assert run(tmp_path / "missing.jsonl", code=2).stdout == ""


def test_without_chroma_the_extra_is_named(run, file, monkeypatch):
    monkeypatch.setitem(sys.modules, "chromadb", None)
    assert "pip install 'f2llm-core[chroma]'" in run(file, code=1).stderr
