"""The package around `F2LLMEmbeddings`: thin, complete, and in step with the core."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

import langchain_f2llm
from f2llm_core import F2LLM
from langchain_f2llm import F2LLMEmbeddings
from support import NEEDED_OPTIONS, OTHER_OPTIONS

SOURCE = Path(langchain_f2llm.__file__).parent
CORE = inspect.signature(F2LLM).parameters


def spy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for the core, and return what it is given."""
    received: dict[str, Any] = {}

    def take(**options: Any) -> SimpleNamespace:
        received.update(options)
        return SimpleNamespace(config=options)

    monkeypatch.setattr("langchain_f2llm.embeddings.F2LLM", take)
    return received


def test_imports():
    names = ["F2LLMEmbeddings", "MatryoshkaRetriever", "__version__"]
    assert sorted(langchain_f2llm.__all__) == names
    assert all(hasattr(langchain_f2llm, name) for name in langchain_f2llm.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", langchain_f2llm.__version__)


def test_is_typed():
    assert (SOURCE / "py.typed").is_file()


def test_is_thin():
    modules = [len(file.read_text("utf-8").splitlines()) for file in SOURCE.rglob("*.py")]
    assert 0 < min(modules) <= max(modules) <= 160


def test_fields_are_the_options_of_the_core():
    assert list(F2LLMEmbeddings.model_fields) == list(CORE) == list(OTHER_OPTIONS)


def test_defaults_are_those_of_the_core():
    defaults = {name: field.default for name, field in F2LLMEmbeddings.model_fields.items()}
    assert defaults == {name: parameter.default for name, parameter in CORE.items()}


def test_no_option_is_missing_among_the_values():
    assert all(CORE[name].default != value for name, value in OTHER_OPTIONS.items())


@pytest.mark.parametrize("name", CORE)
def test_every_option_reaches_the_core(name: str, monkeypatch: pytest.MonkeyPatch):
    received = spy(monkeypatch)
    F2LLMEmbeddings(**{name: OTHER_OPTIONS[name]})
    expected = {key: parameter.default for key, parameter in CORE.items()}
    for key, value in received.items():
        if isinstance(value, SecretStr):
            received[key] = value.get_secret_value()
    assert received == expected | {name: OTHER_OPTIONS[name]}


@pytest.mark.parametrize("name", sorted(CORE.keys() - {"token", "api_key"}))
def test_every_option_of_an_encoder_is_taken_over(name: str):
    encoder = F2LLM(**{"model": "80M", name: OTHER_OPTIONS[name]} | NEEDED_OPTIONS.get(name, {}))
    assert getattr(F2LLMEmbeddings.from_encoder(encoder), name) == OTHER_OPTIONS[name]


@pytest.mark.parametrize("name", ["token", "api_key"])
@pytest.mark.parametrize("value", ["hf_secret", SecretStr("hf_secret")])
def test_a_secret_reaches_the_core_as_one(monkeypatch: pytest.MonkeyPatch, name: str, value: Any):
    received = spy(monkeypatch)
    F2LLMEmbeddings(**{name: value})
    assert received[name] == SecretStr("hf_secret")


def test_docstring_has_the_sections_that_langchain_readers_expect():
    sections = re.findall(r"^    (\w[\w ]+):$", F2LLMEmbeddings.__doc__ or "", re.MULTILINE)
    assert sections == [
        "Setup",
        "Key init args",
        "Instantiate",
        "Embed single text",
        "Embed multiple texts",
        "Async",
    ]


@pytest.mark.parametrize("option", CORE)
def test_every_option_is_in_the_readme(option: str):
    readme = (SOURCE.parents[1] / "README.md").read_text("utf-8")
    assert f"| `{option}` |" in readme
