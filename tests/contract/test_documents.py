"""What the documents say of the code that nobody would notice had become wrong."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import f2llm_core
from f2llm_core import MODELS
from f2llm_core.cli import main
from f2llm_core.cli.output import human_size
from f2llm_core.models import ModelSpec

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "\n".join(page.read_text("utf-8") for page in ROOT.glob("docs/reference/*.md"))
DIRECTIVES = set(re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(
    "package", ["f2llm_core", "langchain_f2llm", "llama_index.embeddings.f2llm"]
)
def test_every_public_name_is_in_the_reference(package):
    module = import_module(package)
    homes = {name: f"f2llm_core.{home}" for name, home in f2llm_core._HOME.items()}
    for name in set(module.__all__) - {"__version__"}:
        home = getattr(getattr(module, name), "__module__", None) or package
        shown = {f"{package}.{name}", home, homes.get(name, home)} & DIRECTIVES
        assert shown, f"{package}.{name} is on no page of docs/reference"


def test_what_the_reference_shows_is_there():
    for name in DIRECTIVES:
        parent, _, last = name.rpartition(".")
        try:
            import_module(name)
        except ModuleNotFoundError:
            assert hasattr(import_module(parent), last), name


def test_the_readme_gives_the_sizes_as_they_are():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {
        name: cells
        for name, *cells in re.findall(
            r"^\| (\d\S*[MB]) \| ([\d,]+) \| ([^|]+) \| ([\d,]+) bytes \| (\d+)× \|",
            readme,
            re.MULTILINE,
        )
    }
    assert shown == {
        name: [
            f"{spec.width:,}",
            human_size(spec.bf16_bytes),
            f"{4 * spec.width:,}",
            str(round(work(spec) / work(MODELS["80M"]))),
        ]
        for name, spec in MODELS.items()
    }


def work(spec: ModelSpec) -> int:
    """Weights that a token is multiplied with, in attention and in the feed-forward layers."""
    heads = 2 * spec.attention_heads + 2 * 8  # of queries and outputs, of keys and values
    return spec.layers * spec.width * (128 * heads + 3 * spec.intermediate_size)


@pytest.mark.parametrize(
    "file", [".ci/run", *(f".github/workflows/{n}.yml" for n in ("ci", "docs", "packages"))]
)
def test_workflows_call_make_and_nothing_else(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    called = re.findall(r"\bmake ([a-z0-9-]+)", text)
    assert called
    assert set(called) <= TARGETS
    assert len(re.findall(r"- run:", text)) in {0, len(called)}


def test_help_and_phony_name_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == TARGETS
    assert set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("name", main.commands)
def test_every_command_shows_examples_that_are_options_of_it_and_takes_json(name):
    command = main.commands[name]
    assert command.epilog, "no examples"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--debug"} <= known
    lines = re.findall(r"^  (.*)$", command.epilog, re.MULTILINE)
    assert all(line.startswith((f"f2llm {name}", "    ")) for line in lines)
    for child in getattr(command, "commands", {}).values():
        known |= {option for parameter in child.params for option in parameter.opts}
    assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", command.epilog)) <= known
