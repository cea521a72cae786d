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
def run(checkpoint, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the command would set it

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
    assert "Only 4 questions" in text


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


def test_models_of_one_name_and_classes_of_one_name_are_told_apart(run, file, checkpoint, tmp_path):
    folders = [tmp_path / run_ / "final" for run_ in ("first", "second")]
    for folder in folders:
        folder.parent.mkdir()
        folder.symlink_to(checkpoint)
    fake = "langchain_core.embeddings:DeterministicFakeEmbedding"
    baselines = ("--baseline", f"{fake}?size=12", "--baseline", f"{fake}?size=16")
    options = ("--model", folders[0], "--model", folders[1], *baselines)
    results = json.loads(run(file, *options, "--json").stdout)
    assert [s["name"] for s in results["systems"]] == [
        "model",
        *map(str, folders),
        f"{fake}?size=12",
        f"{fake}?size=16",
    ]


@pytest.fixture
def unused(monkeypatch):
    """Fail if anything is embedded."""

    def embed(*_, **__):
        raise AssertionError

    monkeypatch.setattr("f2llm_core.encoder.F2LLM.encode_query", embed)


@pytest.mark.usefixtures("unused")
@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--model", "no/such/model"), 1, "'no/such/model' is no model"),
        (("--baseline", "json:Loader"), 1, "module 'json' has no attribute 'Loader'"),
        (("--dtype", "float32,float32"), 2, "model, float32 is named twice."),
        (("--baseline", "json:loads?a=1", "--baseline", "json:loads?a=1"), 2, "is named twice."),
    ],
)
def test_what_would_end_it_later_is_said_before_anything_is_embedded(
    run, file, args, code, message
):
    assert message in run(file, *args, code=code).stderr


@pytest.mark.usefixtures("unused")
def test_a_folder_that_cannot_be_written_to(run, file, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    said = f"the folder {tmp_path} cannot be written to."
    assert said in " ".join(run(file, "--html", tmp_path / "r.html", code=2).stderr.split())


@pytest.mark.usefixtures("unused")
def test_stock_integrations_need_the_weights_and_must_be_there(run, file, monkeypatch):
    import sys

    for name in ("sentence_transformers", "langchain_huggingface"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "llama_index.embeddings.huggingface", None)
    assert "None of the stock integrations" in run(file, "--stock", code=1).stderr
    monkeypatch.undo()
    monkeypatch.setenv("F2LLM_BASE_URL", "http://localhost:9")
    options = ("eval", "80M", file, "--stock", "--offline")
    result = CliRunner().invoke(main, list(map(str, options)))
    assert (result.exit_code, "needs the weights" in result.stderr) == (2, True)


def test_a_class_of_the_current_folder_and_its_key(run, file, tmp_path, monkeypatch):
    (tmp_path / "own_embedder.py").write_text(
        "class Own:\n"
        "    def __init__(self, api_key): assert api_key == 'k3y'\n"
        "    def embed_query(self, text): return [1.0] * 8\n"
        "    def embed_documents(self, texts): return [[1.0] * 8 for _ in texts]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    shown = run(file, "--baseline", "own_embedder:Own?api_key=k3y", "--json").stdout
    assert "k3y" not in shown
    command = json.loads(shown)["command"]
    assert "--baseline 'own_embedder:Own?api_key=***'" in command


@pytest.mark.parametrize("at", ["__init__", "embed_query", "embed_documents"])
def test_a_later_system_that_fails_takes_no_results_along(run, file, tmp_path, monkeypatch, at):
    (tmp_path / f"fails_in_{at}.py").write_text(
        "class Failing:\n"
        "    def __init__(self): pass\n"
        "    def embed_query(self, text): return [1.0] * 8\n"
        "    def embed_documents(self, texts): return [[1.0] * 8 for _ in texts]\n"
        f"    def {at}(self, *_): raise OSError('no answer')\n"
    )
    monkeypatch.chdir(tmp_path)
    fake = "langchain_core.embeddings:DeterministicFakeEmbedding?size=12"
    baselines = ("--baseline", fake, "--baseline", f"fails_in_{at}:Failing")
    options = ("--html", tmp_path / "report.html", "--json")
    result = run(file, *baselines, *options, code=1)
    assert "no answer" in result.stderr
    found = EvaluationResults.from_dict(json.loads(result.stdout))
    alone = run(file, *baselines[:2], *options)
    assert found.systems == EvaluationResults.from_dict(json.loads(alone.stdout)).systems
    assert len(found.systems) == 2
    assert len(found.comparisons) == 2  # over all queries, and those of its language
    assert found.recommendation
    assert "DeterministicFakeEmbedding" in (tmp_path / "report.html").read_text("utf-8")
    assert run(file, *baselines[2:], "--metric", "nDCG@5", code=1).stdout


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
        (("--seed", -1), 2, "'--seed': -1 is not in the range x>=0"),
        (
            ("--html", "no/where.html"),
            2,
            "Invalid value for '--html': the folder no does not exist.",
        ),
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
