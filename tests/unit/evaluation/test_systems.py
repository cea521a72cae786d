"""Whatever embeds is asked by the methods that its framework would call."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding

from f2llm_core import F2LLM, ConfigurationError
from f2llm_core.evaluation import as_system, f2llm_system, load_system, systems
from f2llm_core.evaluation.systems import stock_systems

TEXTS = ["a", "bb", "ccc"]


def vector(side, text):
    return [float(side == "query"), float(len(text)), 1.0, 0, 0, 0, 0, 0]


class Chain(Embeddings):
    def embed_query(self, text):
        return vector("query", text)

    def embed_documents(self, texts):
        return [vector("document", text) for text in texts]


class Index(BaseEmbedding):
    def _get_query_embedding(self, query):
        return vector("query", query)

    async def _aget_query_embedding(self, query):
        raise NotImplementedError

    def _get_text_embedding(self, text):
        return vector("document", text)


class Sentences:
    def encode_query(self, text):
        return np.array(vector("query", text))

    def encode_document(self, texts):
        return np.array([vector("document", text) for text in texts])


@pytest.mark.parametrize("kind", [Chain, Index, Sentences])
def test_every_frameworks_own_methods(kind, monkeypatch):
    monkeypatch.setattr(systems, "_BLOCK", 2)
    system = as_system(kind())
    queries = system.embed_queries(TEXTS)
    blocks = list(system.embed_documents(iter(TEXTS)))
    assert queries.dtype == blocks[0].dtype == np.float32
    assert queries.tolist() == [vector("query", text) for text in TEXTS]
    assert [len(block) for block in blocks] == [2, 1]
    assert np.concatenate(blocks).tolist() == [vector("document", text) for text in TEXTS]
    assert (system.kind, system.matryoshka, system.dtype) == ("baseline", False, None)
    assert system.name.endswith(f":{kind.__name__}")


def test_something_else_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"^builtins:dict cannot be evaluated: expected a "
    ):
        as_system({})


def test_an_encoder_is_evaluated_at_full_width(encoder):
    system = as_system(encoder.with_options(dimensions=8, task="code"))
    assert system.embed_queries(TEXTS).shape == (3, 64)
    assert [block.shape for block in system.embed_documents(TEXTS)] == [(3, 64)]
    assert (system.kind, system.matryoshka, system.dtype) == ("f2llm", True, "float32")
    assert system.name == system.model == "model"
    assert system.query_prompt.startswith("Instruct: Retrieve the most relevant code snippet")
    assert system.document_prompt == ""
    assert system.fingerprint["dimensions"] == 64
    assert f2llm_system(encoder, "mine").name == "mine"


def test_a_server_that_does_not_say_what_it_runs(checkpoint, monkeypatch):
    from f2llm_core import FingerprintError, configured

    def unknown(_):
        raise FingerprintError("unknown revision")

    monkeypatch.setattr(configured, "fingerprint", unknown)
    system = f2llm_system(F2LLM(checkpoint))
    assert (system.name, system.fingerprint, system.dtype) == ("model", None, None)


def test_by_dotted_name():
    dotted = "langchain_core.embeddings:DeterministicFakeEmbedding"
    system = load_system(f"{dotted}?size=16")
    assert system.name == dotted
    assert system.embed_queries(["a"])[0].tolist() == pytest.approx(
        DeterministicFakeEmbedding(size=16).embed_query("a"), rel=1e-6
    )
    assert load_system(f"{dotted}?size=16", "mine").name == "mine"


def test_options_are_json_or_text(monkeypatch):
    made = {}
    monkeypatch.setattr(sys.modules[__name__], "make", made.update, raising=False)
    spec = f'{__name__}:make?a=1&b=x/y&c={{"d":[true]}}&e=1%262&f=a+b=c'
    with pytest.raises(ConfigurationError, match="cannot be evaluated"):  # it made nothing
        load_system(spec)
    assert made == {"a": 1, "b": "x/y", "c": {"d": [True]}, "e": "1&2", "f": "a+b=c"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("json", r"'json': expected module:Class\?option=value&option=value, for example"),
        ("json:loads?x", "expected module:Class"),
        (":loads", "expected module:Class"),
        ("no_such_module:X", r"No module named 'no_such_module'. Is the package installed\?"),
        ("json:X", "module 'json' has no attribute 'X'"),
        ("json:loads?x=1", "'json:loads.x=1': TypeError: loads"),
    ],
)
def test_a_name_that_makes_nothing_is_said(spec, message):
    with pytest.raises(ConfigurationError, match=message):
        load_system(spec)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: 1 / 0, r"^mine failed to embed 3 texts: ZeroDivisionError: division by zero$"),
        (lambda _: [[1.0, 2.0], [1.0]], "^mine failed to embed 3 texts: ValueError: "),
        (lambda texts: [[1.0]] * (len(texts) - 1), r"^mine made an array of shape \(2, 1\) of 3"),
        (lambda texts: [1.0] * len(texts), r"shape \(3,\) of 3 texts; expected a row each"),
    ],
)
def test_an_embedder_that_fails_is_named(make, message):
    class Broken(Chain):
        def embed_documents(self, texts):
            return make(texts)

    with pytest.raises(ConfigurationError, match=message):
        list(as_system(Broken(), "mine").embed_documents(TEXTS))


def test_keys_are_kept_out_of_messages(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('not today')")
    for spec, said in [
        ("json:X?api_key=k3y", "has no attribute 'X'"),
        ("json:loads?hf_TOKEN=k3y&a=1", r"'json:loads\?hf_TOKEN=\*\*\*&a=1': TypeError"),
        ("json?openai_api_key=k3y&x", "expected module:Class"),
        ("broken_module:X?password=k3y", "importing it failed: RuntimeError: not today"),
    ]:
        with pytest.raises(ConfigurationError, match=said) as caught:
            load_system(spec)
        assert "k3y" not in str(caught.value)


def test_stock_integrations_on_the_same_weights(checkpoint, encoder):
    found = {system.name: system for system in stock_systems(checkpoint, "float32")}
    assert list(found) == [
        "sentence-transformers",
        "langchain-huggingface",
        "llama-index-embeddings-huggingface",
    ]
    right = encoder.encode_query(["What shines?"])
    cosines = {
        name: float((system.embed_queries(["What shines?"]) @ right.T)[0, 0])
        for name, system in found.items()
    }
    assert cosines["sentence-transformers"] > 0.9999
    assert cosines["langchain-huggingface"] < 0.999  # its queries lack the instruction
    assert all(system.matryoshka and system.dtype == "float32" for system in found.values())


def test_no_stock_integration(checkpoint, monkeypatch):
    for module in (
        "sentence_transformers",
        "langchain_huggingface",
        "llama_index.embeddings.huggingface",
    ):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match="pip install one of sentence-transformers, lang"):
        list(stock_systems(checkpoint, "float32"))
