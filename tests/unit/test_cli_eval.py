"""`f2llm eval`: what it prints, writes and refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from f2llm_core.cli import main
from f2llm_core.evaluation.results import EvaluationResults


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "asked.jsonl"
    lines = [
        {"query": f"What is {word}?", "text": f"{word} is a thing.", "language": "en"}
        for word in ("bread", "a train", "the moon", "rain")
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def run(checkpoint):
    def run(data, *args, code=0, model=checkpoint):
        options = ("--dtype", "float32", "--resamples", 100)
        arguments = [str(arg) for arg in ("eval", model, data, *options, *args)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return run


def test_tables(run, file):
    text = run(file).stdout
    assert "asked: 4 queries, 4 documents." in text
    assert "model, by dimensions" in text
    assert "Only 4 queries" in text


def test_json_is_the_results_and_the_same_again(run, file):
    first = run(file, "--json")
    results = EvaluationResults.from_dict(json.loads(first.stdout))
    assert results.systems[0].widths == (8, 16, 32, 64)
    assert results.settings.metrics == ("nDCG@10", "R@10", "RR@10")
    assert results.command.startswith("f2llm eval ")
    assert results.command.endswith(f"{file} --dtype float32 --resamples 100 --json")
    assert run(file, "--json").stdout == first.stdout


def test_precisions_models_and_baselines(run, file, checkpoint, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(checkpoint)
    fake = "langchain_core.embeddings:DeterministicFakeEmbedding?size=12"
    options = ("--dtype", "float32,int8", "--model", other, "--baseline", fake)
    results = json.loads(run(file, *options, "--json", "--dimensions", 16).stdout)
    assert [(s["name"], s["kind"], s["full_width"]) for s in results["systems"]] == [
        ("model, float32", "f2llm", 64),
        ("model, int8", "f2llm", 64),
        ("other, float32", "f2llm", 64),
        ("other, int8", "f2llm", 64),
        ("langchain_core.embeddings:DeterministicFakeEmbedding", "baseline", 12),
    ]
    assert {s["width"] for s in results["systems"][1]["scores"]} == {16, 64}


def test_stock_integrations(run, file):
    results = json.loads(run(file, "--stock", "--json").stdout)
    assert [s["name"] for s in results["systems"]][1:] == [
        "sentence-transformers",
        "langchain-huggingface",
        "llama-index-embeddings-huggingface",
    ]
    assert {s["dtype"] for s in results["systems"]} == {"float32"}


def test_files(run, file, tmp_path):
    run(file, "--run", tmp_path / "run.trec", "--html", tmp_path / "report.html", "--speed")
    assert len((tmp_path / "run.trec").read_text(encoding="utf-8").splitlines()) == 16
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_instruction_and_task(run, file):
    found = json.loads(run(file, "--task", "code", "--json").stdout)
    assert found["data"]["task"] == "code"
    assert "code snippet" in found["systems"][0]["query_prompt"]
    found = json.loads(run(file, "--instruction", "Find things.", "--json").stdout)
    assert found["systems"][0]["query_prompt"] == "Instruct: Find things.\nQuery: "


def test_the_cache_serves_a_second_run(run, file, tmp_path, monkeypatch):
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "cache"))
    assert run(file, "--cache", "--json").stdout == run(file, "--cache", "--json").stdout
    shown = CliRunner().invoke(main, ["cache", "--json"])
    assert sum(model["rows"] for model in json.loads(shown.stdout)["models"]) == 8


def test_parallel_texts(run, tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = [
        {"key": f"t{n}", "lang": lang, "body": f"{word} {n}"}
        for n in range(4)
        for lang, word in (("en", "old house"), ("de", "altes Haus"), ("fr", "vieux"))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    fields = ("--field", "id=key", "--field", "text=body")
    some = ("--language", "de", "--language", "en", "--code-switch", "en")
    found = json.loads(run(path, *fields, *some, "--json").stdout)
    assert found["data"]["queries"] == {"de": 4, "de+en": 4, "en": 4}
    assert found["data"]["document_languages"] == {"de": 4, "en": 4}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ("--dimensions", 128),
            1,
            "Error: model: dimensions=128: allowed is an integer from 8 to 64",
        ),
        (("--metric", "hits@3"), 1, "Error: metric='hits@3': measure not found"),
        (("--baseline", "x"), 1, "Error: 'x': expected module:Class?option=value"),
        (("--field", "query"), 2, "--field query: expected NAME=FIELD"),
        (("--field", "q=x"), 1, "Error: field='q': allowed are 'id', 'query'"),
        (("--format", "csv"), 1, "Error: format='csv': allowed are 'beir', 'mteb'"),
        (("--language", "de"), 1, "Error: asked: nothing is in de; it has en."),
        (("--html", "no/where.html"), 2, "Invalid value for '--html': there is no folder no."),
        (("--task", "cooking"), 1, "Error: Unknown task 'cooking'"),
        (("--dtype", "float32,float7"), 1, "Error: dtype='float7': allowed are 'auto'"),
    ],
)
def test_what_is_wrong_is_one_line(run, file, args, code, message):
    result = run(file, *args, code=code)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_line_is_named(run, file):
    file.write_text(file.read_text(encoding="utf-8") + '{"query": "?"}\n', encoding="utf-8")
    assert f"Error: {file}:5: no field 'text'" in run(file, code=1).stderr
