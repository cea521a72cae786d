"""The evaluation example: its command exists, and its figures stand where they should."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT
from evaluation_example import make_example

from f2llm_core.cli import main

FOLDER = ROOT / "examples" / "evaluation"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("example_evaluate", FOLDER / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_is_understood(script, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, name, *arguments = script.command()
    assert (program, name) == ("f2llm", "eval")
    given = main.commands["eval"].make_context("eval", arguments).params
    assert given["model"] == "models/f2llm-demo"
    assert given["data"].is_file()
    assert given["stock"]


def test_figures_take_the_place_of_former_ones(script):
    results = make_example()
    figures = script.markdown(results)
    mixed = results.systems[0].score(None, "de+en", "ja").metrics["nDCG@10"].mean
    assert "| 64 | 256 | " in figures
    assert f"| de+en |  |  |  | {mixed:.3f} |  |" in figures
    assert max(map(len, figures.splitlines())) <= 130
    before = f"a\n{script.BEGIN}\nold\n{script.END}\nb\n"
    after = script.put(before, "new")
    assert after == before.replace("old", "new")
    assert script.put(after, "new") == after
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    kept = readme.partition(script.BEGIN)[2].partition(script.END)[0].strip()
    assert script.put(readme, kept) == readme
    assert kept.startswith("4,530 queries")
