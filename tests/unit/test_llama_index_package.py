"""The package around `F2LLMEmbedding`: thin, complete, and in step with the core."""

from __future__ import annotations

import inspect
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llama_index
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from pydantic import SecretStr

import f2llm_core
import llama_index.embeddings.f2llm as package
from f2llm_core import F2LLM
from f2llm_core.testing import tiny_checkpoint
from llama_index.embeddings.f2llm import F2LLMEmbedding, base
from support import NEEDED_OPTIONS, OTHER_OPTIONS, tiny_model

SOURCE = Path(package.__file__).parent
CORE = inspect.signature(F2LLM).parameters
WORDS = {
    "model": "model_name",
    "instruction": "query_instruction",
    "document_instruction": "text_instruction",
}

#: What decides the vectors of texts, or that there are none, changes the ingestion hash. So does a
#: revision, as the commit that a fingerprint names it by.
HASHED = {
    "dimensions": 32,
    "task": "sts",
    "text_instruction": "Represent it.",
    "max_length": 99,
    "on_truncate": "error",
    "backend": "sentence-transformers",
    "dtype": "int8",
}
#: … and nothing else does.
NOT_HASHED = {
    "query_instruction": "Find it.",
    "device": "cpu",
    "max_batch_tokens": 77,
    "local_files_only": True,
    "cache": "/a/folder",
    "cache_max_bytes": 10**6,
    "token": "hf_secret",
    "timeout": 7.5,
    "max_retries": 0,
    "embed_batch_size": 3,
    "num_workers": 4,
    "rate_limiter": object(),
}


def ours(option: str) -> str:
    return WORDS.get(option, option)


def test_public_names():
    names = ["F2LLMEmbedding", "MatryoshkaRetriever", "__version__"]
    assert package.__all__ == sorted(package.__all__) == names
    assert all(hasattr(package, name) for name in package.__all__)


def test_version():
    assert package.__version__ == version("llama-index-embeddings-f2llm") == f2llm_core.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", package.__version__)


def test_base_class():
    """LlamaIndex's own convention for testing integrations."""
    assert BaseEmbedding.__name__ in [base.__name__ for base in F2LLMEmbedding.__mro__]


def test_class_name():
    assert F2LLMEmbedding.class_name() == "F2LLMEmbedding"
    assert F2LLMEmbedding().to_dict()["class_name"] == "F2LLMEmbedding"


def test_is_typed_and_leaves_the_namespaces_alone():
    assert (SOURCE / "py.typed").is_file()
    above = [SOURCE.parent, SOURCE.parent.parent]
    assert [folder.name for folder in above] == ["embeddings", "llama_index"]
    assert [file for folder in above for file in folder.glob("*.*")] == []
    assert not hasattr(llama_index, "__file__") or llama_index.__file__ is None


def test_is_thin():
    modules = [len(file.read_text("utf-8").splitlines()) for file in SOURCE.rglob("*.py")]
    assert 0 < min(modules) <= max(modules) <= 160


def test_every_option_of_the_core_is_a_field():
    assert list(OTHER_OPTIONS) == list(CORE)
    own = F2LLMEmbedding.model_fields.keys() - BaseEmbedding.model_fields.keys()
    assert own | {"model_name"} == {ours(option) for option in CORE}


@pytest.mark.parametrize("option", CORE)
def test_defaults_are_those_of_the_core(option: str):
    assert F2LLMEmbedding.model_fields[ours(option)].default == CORE[option].default


@pytest.mark.parametrize("option", CORE)
def test_options_are_in_the_signature(option: str):
    assert ours(option) in inspect.signature(F2LLMEmbedding).parameters


@pytest.mark.parametrize("option", CORE)
def test_every_option_is_forwarded(option: str, monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, Any] = {}

    class Spy(F2LLM):
        def __init__(self, model: str, **options: Any) -> None:
            seen.update(options, model=model)
            super().__init__(model, **options)

    monkeypatch.setattr(base, "F2LLM", Spy)
    assert OTHER_OPTIONS[option] != CORE[option].default
    needed = NEEDED_OPTIONS.get(option, {})
    embedding = F2LLMEmbedding(**{ours(option): OTHER_OPTIONS[option]} | needed)
    secret = option in {"token", "api_key"}
    if secret:
        seen[option] = seen[option].get_secret_value()
    assert seen[option] == OTHER_OPTIONS[option]
    assert set(seen) <= {option, "model", *needed}
    stored = getattr(embedding, ours(option))
    if secret:
        assert stored == SecretStr(OTHER_OPTIONS[option])
    else:
        assert stored == {"model": "codefuse-ai/F2LLM-v2-0.6B"}.get(option, OTHER_OPTIONS[option])


def ingestion_hash(**options: Any) -> str:
    embedding = F2LLMEmbedding(**{"model_name": tiny_model(), **options})
    return get_transformation_hash([TextNode(text="a")], embedding)


class TestIngestionHash:
    def test_covers_every_option(self):
        others = {"model_name", "revision", "callback_manager", "embeddings_cache"}
        others |= {"base_url", "server_model", "api_key"}  # another server, the same hash
        assert HASHED.keys() | NOT_HASHED.keys() | others == F2LLMEmbedding.model_fields.keys()

    def test_is_stable(self):
        assert ingestion_hash() == ingestion_hash()

    @pytest.mark.parametrize("field", HASHED)
    def test_changes_with_what_decides_vectors(self, field: str):
        assert ingestion_hash(**{field: HASHED[field]}) != ingestion_hash()

    @pytest.mark.parametrize("field", NOT_HASHED)
    def test_does_not_change_with(self, field: str):
        assert ingestion_hash(**{field: NOT_HASHED[field]}) == ingestion_hash()

    def test_is_that_of_a_model_on_a_server_and_not_of_the_server(self):
        def hashed(host: str, **options: str) -> str:
            return ingestion_hash(base_url=f"http://{host}", **options)

        assert hashed("one") == hashed("other", server_model="name", api_key="secret")
        assert hashed("one") != ingestion_hash()

    def test_is_of_the_model_and_not_of_its_name(self, tmp_path: Path):
        moved = shutil.copytree(tiny_model(), tmp_path / "moved")
        assert ingestion_hash(model_name=str(moved)) == ingestion_hash()
        tiny_checkpoint(moved, seed=7)  # trained anew, in its place
        assert ingestion_hash(model_name=str(moved)) != ingestion_hash()

    def test_a_dictionary_is_what_makes_the_model_again(self):
        options = F2LLMEmbedding(model_name="80M", query_instruction="Find it.").to_dict()
        assert options["query_instruction"] == "Find it."
        assert re.fullmatch("[0-9a-f]{40}", options["revision"])
