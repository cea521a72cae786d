"""Chroma's own embedding function, with a real database opened again by name only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from f2llm_core import F2LLM, FingerprintError, FingerprintWarning, InputError, guard
from f2llm_core.chroma import _STORED, F2LLMEmbeddingFunction
from f2llm_core.testing import tiny_checkpoint
from store_kinds import chroma_client

PASSAGES = [
    "Der Zug fährt um neun.\nVom Gleis 3.",
    "빵을 굽는다.",
    "def add(a, b):\n    return a + b\n",
]
SECRET = "hf_" + "S" * 30


@pytest.fixture
def client(tmp_path):
    with chroma_client(tmp_path / "db") as opened:
        yield opened


def made(client, model, **options):
    function = F2LLMEmbeddingFunction(model, dtype="float32", **options)
    papers = client.create_collection("papers", embedding_function=function)
    papers.add(ids=["0", "1", "2"], documents=PASSAGES)
    return papers


def test_documents_and_queries_differ_and_are_the_cores(client, checkpoint):
    papers = made(client, checkpoint, dimensions=32)
    encoder = F2LLM(checkpoint, dtype="float32", dimensions=32)
    stored = papers.get(include=["embeddings"])
    np.testing.assert_allclose(stored["embeddings"], encoder.encode_document(PASSAGES), atol=1e-6)
    assert papers.configuration["hnsw"]["space"] == "cosine"
    found = papers.query(query_texts=["When?"], n_results=3)
    exact = 1 - encoder.encode_document(PASSAGES) @ encoder.encode_query("When?")
    by_id = dict(zip(found["ids"][0], found["distances"][0], strict=True))
    np.testing.assert_allclose([by_id[i] for i in "012"], exact, atol=1e-5)


def test_chroma_rebuilds_it_from_the_collection(client, checkpoint):
    papers = made(client, checkpoint, dimensions=32, task="code")
    again = client.get_collection("papers")
    function = again.configuration["embedding_function"]
    assert isinstance(function, F2LLMEmbeddingFunction)
    assert function.get_config() == papers._embedding_function.get_config()
    asked = [c.query(query_texts=["add numbers"]) for c in (papers, again)]
    assert function.encoder.stats.passes == 1
    again.query(query_texts=["another"])
    assert function.encoder.stats.passes == 2  # Chroma built it anew each time, weights stayed
    assert asked[0]["ids"] == asked[1]["ids"]
    np.testing.assert_allclose(asked[0]["distances"], asked[1]["distances"], atol=1e-6)


def test_in_a_fresh_process(client, checkpoint, tmp_path):
    distances = made(client, checkpoint).query(query_texts=["When?"], n_results=3)["distances"]
    program = (
        "import sys, json, chromadb, f2llm_core.chroma\n"
        "papers = chromadb.PersistentClient(sys.argv[1]).get_collection('papers')\n"
        "print(json.dumps(papers.query(query_texts=['When?'], n_results=3)['distances']))"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "db")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=100, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), distances, atol=1e-6)


def test_no_secret_is_stored(client, checkpoint, tmp_path):
    made(client, checkpoint, token=SECRET)
    config = client.get_collection("papers").configuration_json["embedding_function"]["config"]
    assert SECRET not in json.dumps(config)
    for file in (tmp_path / "db").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert config["fingerprint"]["dimensions"] == 64


def test_the_server_is_rebuilt_with_it(monkeypatch, checkpoint):
    monkeypatch.delenv("F2LLM_BASE_URL", raising=False)
    options = {"base_url": "http://localhost:9", "server_model": "m", "api_key": SECRET}
    config = F2LLM(checkpoint, **options).config
    stored = json.loads(json.dumps({name: config[name] for name in _STORED}))
    assert SECRET not in json.dumps(stored)
    fingerprint = F2LLM(checkpoint).fingerprint.to_dict()
    again = F2LLMEmbeddingFunction.build_from_config(stored | {"fingerprint": fingerprint})
    assert again.encoder.config["backend"] == "endpoint"
    assert again.encoder.config["base_url"] == "http://localhost:9"
    assert again.encoder.config["server_model"] == "m"


def test_a_configuration_may_lack_what_came_later(checkpoint):
    config = F2LLMEmbeddingFunction(checkpoint, dtype="float32").get_config()
    del config["base_url"], config["server_model"]
    F2LLMEmbeddingFunction.build_from_config(config)(["text"])
    for damage in ("x", None, {}):
        with pytest.raises(FingerprintError, match="not readable"):
            F2LLMEmbeddingFunction.build_from_config({**config, "fingerprint": damage})(["text"])


def test_one_text_is_no_list_of_them(checkpoint):
    function = F2LLMEmbeddingFunction(checkpoint, dtype="float32")
    for embed in (function, function.embed_query):
        with pytest.raises(InputError, match="bare str"):
            embed("one text")


def test_another_model_under_the_same_name_is_refused_before_it_embeds(client, tmp_path):
    folder = tiny_checkpoint(tmp_path / "model")
    made(client, folder)
    shutil.rmtree(folder)
    tiny_checkpoint(folder, seed=1)
    again = client.get_collection("papers")
    for call in (
        lambda: again.add(ids=["3"], documents=["x"]),
        lambda: again.query(query_texts=["x"]),
    ):
        with pytest.raises(FingerprintError, match=r"model 'model \(sha256:"):
            call()
    assert again.count() == 3
    assert again.configuration["embedding_function"].encoder.stats.passes == 0


def test_its_collection_needs_no_stamp(client, checkpoint):
    papers = made(client, checkpoint, dimensions=32)
    encoder = F2LLM(checkpoint, dtype="float32", dimensions=32)
    assert guard(papers, encoder).read_stamp() == encoder.fingerprint.to_dict()
    assert papers.metadata is None
    with pytest.raises(FingerprintError, match="document_prompt"):
        guard(papers, encoder.with_options(task="sts"))


def test_an_update_to_vectors_that_do_not_fit_is_refused(checkpoint):
    function = F2LLMEmbeddingFunction(checkpoint, dtype="float32")
    old = function.get_config()
    other = F2LLMEmbeddingFunction(checkpoint, dtype="float32", dimensions=32).get_config()
    rounded = F2LLMEmbeddingFunction(checkpoint, dtype="bfloat16").get_config()
    function.validate_config_update(old, old)
    with pytest.raises(FingerprintError, match="dimensions"):
        function.validate_config_update(old, other)
    with pytest.warns(FingerprintWarning, match="dtype"):
        function.validate_config_update(old, rounded)
