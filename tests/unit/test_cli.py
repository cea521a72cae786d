"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from f2llm_core import F2LLM, MODELS, ConfigurationError, ContractWarning, __version__
from f2llm_core.cli import main
from f2llm_core.cli.output import human_size, print_table
from f2llm_core.info import describe
from f2llm_core.machine import describe_machine, is_cached
from support import copy_model, edit_json

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

CORE = Path(__file__).resolve().parents[2] / "packages" / "f2llm-core"


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def entry_point():
    scripts = tomllib.loads((CORE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = scripts["scripts"]["f2llm"].split(":")
    return f"import sys; from {module} import {name}; sys.argv[0] = 'f2llm'; {name}()"


def test_version_and_help_name_every_command():
    assert run("--version").stdout == f"f2llm, version {__version__}\n"
    text = run("-h").stdout
    for name, command in main.commands.items():
        assert name in text
        help_of_it = run(name, "--help").stdout
        assert command.get_short_help_str(1000) in " ".join(help_of_it.split())
        assert "..." not in command.get_short_help_str(), "too long for the list of commands"


def test_an_output_that_cannot_hold_a_character_ends_nothing(checkpoint):
    """As where it goes to a file on Windows."""
    code = "import sys; sys.stdout.reconfigure(encoding='cp437'); " + entry_point()
    for arguments in (["eval", "--help"], ["doctor", str(checkpoint)]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 0, done
    assert b"\\u2713" in done.stdout


def test_streams_may_be_closed(demo_model, tmp_path):
    docs = tmp_path / "docs.jsonl"
    docs.write_text('{"text": "a telescope"}\n', encoding="utf-8")
    at = ["--chroma", str(tmp_path / "db"), "--collection", "papers"]
    closed = "sys.stdin = sys.stderr = None; "
    code = entry_point().replace("import sys; ", f"import sys; {closed}")
    index = [sys.executable, "-c", code, "index", demo_model, docs, *at]
    done = subprocess.run(list(map(str, index)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert "1 added" in done.stdout
    code = code.replace(closed, "sys.stdin = None; ")
    search = [sys.executable, "-c", code, "search", demo_model, *at]
    done = subprocess.run(list(map(str, search)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Give a QUERY" in done.stderr


def test_help_imports_nothing_heavy():
    code = entry_point().replace("main()", "main(['--help'], standalone_mode=False)")
    code += "; assert not {'torch', 'numpy', 'tokenizers', 'huggingface_hub'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_installed_command_gives_one_line_and_an_exit_code(tmp_path):
    def call(*args):
        command = [sys.executable, "-c", entry_point(), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = call("info", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "config.json is missing" in line
    assert call("info", "--revision", "main").returncode == 2
    assert "Traceback" in call("info", tmp_path, "--debug").stderr
    assert "Traceback" in call("--debug", "info", tmp_path).stderr


def test_info_shows_this_machine_and_downloads_nothing():
    text = run("info").stdout
    found = describe_machine()
    for name, spec in MODELS.items():
        assert any(name in line and spec.repo_id in line for line in text.splitlines())
    assert torch.__version__ in text
    assert found.auto_reason in text
    assert found.auto_dtype in {"float32", "bfloat16"}
    assert set(found.linear) == {"float32", "bfloat16"}
    assert found.threads == torch.get_num_threads()


def test_info_as_json_is_all_of_it():
    assert json.loads(run("info", "--json").stdout) == json.loads(
        json.dumps(asdict(describe_machine()))
    )


def test_cached_is_what_can_be_loaded_without_network(checkpoint, monkeypatch):
    from f2llm_core.engine import hub

    assert is_cached(str(checkpoint))
    assert not is_cached("80M")
    monkeypatch.setattr(hub, "_cached", lambda source: checkpoint if "80M" in source.name else None)
    assert is_cached("80M")
    assert [model.spec.name for model in describe_machine().models if model.cached] == ["80M"]


def test_info_of_a_model_is_what_was_loaded(checkpoint):
    result = json.loads(run("info", checkpoint, "--dtype", "float32", "--json").stdout)
    info = describe(encoder := F2LLM(checkpoint, dtype="float32"))
    assert info.weight_bytes["table"] == 2 * info.vocab_size * info.width
    assert info.prompts == encoder.prompts
    assert (info.width, info.dtype, info.device) == (encoder.width, "float32", "cpu")
    assert info.folder == str(checkpoint)
    assert info.commit is None
    expected = json.loads(json.dumps(asdict(info)))
    assert {**result, "load_seconds": 0} == {**expected, "load_seconds": 0}
    text = run("info", checkpoint).stdout
    assert repr(info.prompts.query) in text


def test_weights_in_memory_are_all_of_them(checkpoint):
    from f2llm_core.engine.config import read_config
    from f2llm_core.engine.qwen3 import expected_tensors

    config = read_config(checkpoint / "config.json")
    tensors = {name: torch.Size(shape).numel() for name, shape in expected_tensors(config)}
    layers = sum(n for name, n in tensors.items() if name != "embed_tokens.weight")
    found = describe(F2LLM(checkpoint, dtype="float32")).weight_bytes["layers"]
    assert 4 * layers <= found <= 4 * layers * 1.05  # and the rotary frequencies


def test_8_bit_weights_are_counted_as_they_are(checkpoint):
    full, small = (describe(F2LLM(checkpoint, dtype=t)) for t in ("float32", "int8"))
    assert small.dtype in {"int8/float32", "int8/bfloat16"}
    # Half of the stored bfloat16, and a float32 scale per row.
    table = full.weight_bytes["table"]
    assert small.weight_bytes["table"] == table // 2 + 4 * full.vocab_size
    assert small.weight_bytes["layers"] < full.weight_bytes["layers"] / 3


def test_the_reference_is_described_too(checkpoint):
    ours = describe(F2LLM(checkpoint, dtype="float32"))
    theirs = describe(F2LLM(checkpoint, dtype="float32", backend="sentence-transformers"))
    assert (theirs.backend, theirs.dtype) == ("sentence-transformers", "float32")
    assert theirs.linear == theirs.attention == "transformers"
    assert theirs.weight_bytes["table"] == 2 * ours.weight_bytes["table"]  # in float32 there


def test_what_is_downloaded_is_said_first(monkeypatch):
    from f2llm_core.engine import hub

    monkeypatch.setattr(hub, "_download", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    result = run("info", "80M", code=1)
    first, last = result.stderr.splitlines()
    assert first == "codefuse-ai/F2LLM-v2-80M is not on this machine: downloading it."
    assert last.startswith("Error: codefuse-ai/F2LLM-v2-80M is not in the local cache")
    assert result.stdout == ""
    assert len(run("info", "80M", "--offline", code=1).stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["nosuch"], 1),
        (["80M", "--dtype", "float16"], 1),
        (["--device", "nosuch"], 1),
        (["--dtype", "float32"], 2),
        (["--nosuch"], 2),
        (["80M", "160M"], 2),
    ],
)
def test_errors_have_an_exit_code_and_go_to_stderr(args, code):
    result = run("info", *args, code=code)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_warnings_are_one_line_on_stderr(tmp_path):
    folder = copy_model(tmp_path / "model")
    edit_json(folder / "config_sentence_transformers.json", prompts={"query": "", "document": "d"})
    result = run("info", folder, "--json")
    [line] = result.stderr.splitlines()
    assert line.startswith("Warning: ")
    assert json.loads(result.stdout)["prompts"]["document"] == "d"
    with pytest.warns(ContractWarning):  # and the filters are as they were
        F2LLM(folder).encode_document("a")


def test_an_error_of_many_lines_becomes_one():
    @click.command()
    def fail():
        msg = "first\nsecond"
        raise ConfigurationError(msg)

    main.add_command(fail)
    try:
        assert run("fail", code=1).stderr == "Error: first second\n"
    finally:
        del main.commands["fail"]


def test_what_the_system_refuses_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "file")

    monkeypatch.setattr(sys.modules["f2llm_core.cli.info"], "_print_machine", full)
    result = CliRunner().invoke(main, ["info"])
    assert result.exit_code == 1
    assert result.stderr == "Error: [Errno 28] No space left on device: 'file'\n"
    assert isinstance(CliRunner().invoke(main, ["--debug", "info"]).exception, OSError)


def test_foreign_warnings_look_as_usual():
    @click.command()
    def caution():
        warnings.warn("look out", UserWarning, stacklevel=1)

    main.add_command(caution)
    try:
        assert "UserWarning: look out" in run("caution").stderr
    finally:
        del main.commands["caution"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "0.977 KiB"), (160_168_576, "153 MiB")],
)
def test_sizes_are_readable(size, text):
    assert human_size(size) == text


def test_tables_are_aligned(capsys):
    print_table(["name", "n"], [["a", 1], ["long name", 100]])
    assert capsys.readouterr().out == "  name         n\n  a            1\n  long name  100\n"


@pytest.fixture
def filled(checkpoint, tmp_path, monkeypatch):
    """The user's cache with rows of two precisions of one model; its folder."""
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "cache"))
    for dtype in ("float32", "bfloat16"):
        F2LLM(checkpoint, cache=True, dtype=dtype).encode_document(["a", "b"])
    return tmp_path / "cache"


def test_cache_shows_what_is_there(filled, checkpoint):
    text = run("cache").stdout
    assert str(filled) in text
    assert "rows       4 (" in text
    assert text.count(f"  {checkpoint}  ") == 2
    found = json.loads(run("cache", "--folder", filled, "--json").stdout)
    assert [model["rows"] for model in found["models"]] == [2, 2]
    assert {model["identity"].split()[2] for model in found["models"]} == {"float32", "bfloat16"}


def test_cache_of_nothing_is_nothing(tmp_path):
    assert "rows       0 (" in run("cache", "--folder", tmp_path / "none").stdout
    assert "0 rows removed" in run("cache", "clear", "--folder", tmp_path / "none").stdout
    assert not (tmp_path / "none").exists()


def test_cache_clear_removes_one_model_or_all(filled, checkpoint, monkeypatch):
    result = run("cache", "clear", "--model", "80M", code=1)
    assert result.stderr.startswith("Error: ")
    assert "no rows of 80M" in result.stderr
    assert str(checkpoint) in result.stderr
    monkeypatch.chdir(checkpoint.parent)
    done = run("cache", "clear", "--model", checkpoint.name, "--json")
    assert json.loads(done.stdout)["removed"] == 4
    F2LLM(checkpoint, cache=filled).encode_document("a")
    assert run("cache", "clear").stdout.startswith("1 row removed from ")
    assert json.loads(run("cache", "--json").stdout)["models"] == []


def test_a_damaged_cache_is_an_error_to_look_at_and_can_be_cleared(filled):
    [file] = filled.glob("*.sqlite")
    file.write_bytes(b"damage" * 999)
    assert "f2llm cache clear" in run("cache", code=1).stderr
    run("cache", "clear")
    assert "rows       0 (" in run("cache").stdout


def test_options_in_front_of_clear_are_not_lost_silently(tmp_path):
    assert "go behind" in run("cache", "--folder", tmp_path, "clear", code=2).stderr
