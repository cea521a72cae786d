"""`open_chroma` and `guard` over real stores of LangChain and LlamaIndex."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode

from f2llm_core import (
    F2LLM,
    ConfigurationError,
    FingerprintError,
    FingerprintWarning,
    StoreError,
    guard,
    index,
    open_chroma,
    open_store,
)
from f2llm_core.auditing import audit
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from store_kinds import KINDS, chroma_client

PASSAGES = [
    "Der Zug fährt um neun.\nVom Gleis 3.",
    "빵을 굽는다.",
    "def add(a, b):\n    return a + b\n",
]
WIDTH = 32
OTHER = {
    "model": "sha256:" + "0" * 64,
    "dimensions": 16,
    "pooling": "mean",
    "eos": 7,
    "document_prompt": "Instruct: x\nQuery: ",
    "schema": 2,
}


@pytest.fixture
def fresh(checkpoint):
    return F2LLM(checkpoint, dtype="float32", dimensions=WIDTH)


@pytest.fixture
def embeddings(fresh):
    return F2LLMEmbeddings.from_encoder(fresh)


def test_a_new_collection(tmp_path, embeddings, fresh):
    store = open_chroma(embeddings, "papers", path=tmp_path)
    assert isinstance(store, Chroma)
    assert fresh.stats.passes == 0
    store.add_texts(PASSAGES, ids=["a", "b", "c"])
    [(best, score), *_] = store.similarity_search_with_relevance_scores("Zug", k=3)
    exact = fresh.encode_document(PASSAGES) @ fresh.encode_query("Zug")
    assert score == pytest.approx(float(exact.max()), abs=1e-5)
    assert best.page_content == PASSAGES[exact.argmax()]
    assert store._collection.configuration["hnsw"]["space"] == "cosine"
    stored = sqlite3.connect(tmp_path / "chroma.sqlite3").execute(
        "SELECT config_json_str, schema_str FROM collections"
    )
    assert "f2llm" not in json.dumps(
        stored.fetchall()
    )  # vectors are passed in, no function is kept
    again = open_chroma(embeddings, "papers", client=store._client)
    assert again._collection.count() == 3


@pytest.mark.parametrize("field", OTHER)
def test_another_identity_is_refused_and_nothing_is_written(tmp_path, embeddings, fresh, field):
    store = open_chroma(embeddings, "papers", path=tmp_path)
    opened = open_store(store)
    opened.write_stamp(replace(fresh.fingerprint, **{field: OTHER[field]}).to_dict())
    with pytest.raises(FingerprintError, match=field):
        open_chroma(embeddings, "papers", client=store._client)
    assert opened.count() == 0
    assert fresh.stats.passes == 0


def test_somebody_elses_collection(tmp_path, embeddings):
    with chroma_client(tmp_path) as client:
        theirs = Chroma(
            "theirs", client=client, embedding_function=DeterministicFakeEmbedding(size=WIDTH)
        )
        theirs.add_texts(PASSAGES)
        with pytest.raises(FingerprintError, match="3 rows and no stamp"):
            open_chroma(embeddings, "theirs", client=client)
        client.create_collection("euclid", embedding_function=None)
        with pytest.warns(FingerprintWarning, match="measures 'l2'"):
            open_chroma(embeddings, "euclid", client=client)


def test_what_chroma_cannot_open_is_a_store_error(tmp_path, embeddings):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"'papers' in .*file could not be opened"):
        open_chroma(embeddings, "papers", path=tmp_path / "file")
    with pytest.raises(StoreError, match=r"'my papers!' in .*could not be opened"):
        open_chroma(embeddings, "my papers!", path=tmp_path / "db")
    store = open_chroma(embeddings, "papers", path=tmp_path / "db2")
    store.delete_collection()
    with pytest.raises(StoreError, match="collection of this Chroma could not be opened"):
        open_store(store)


def test_a_home_folder_is_expanded(tmp_path, embeddings, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    open_chroma(embeddings, "papers", path="~/db")
    assert (tmp_path / "db" / "chroma.sqlite3").exists()


def test_where_is_said_once(tmp_path, embeddings):
    for options in ({}, {"path": tmp_path, "client": object()}):
        with pytest.raises(ConfigurationError, match="either path"):
            open_chroma(embeddings, "papers", **options)
    with pytest.raises(ConfigurationError, match="adapters"):
        open_chroma(DeterministicFakeEmbedding(size=8), "papers", path=tmp_path)


def test_what_langchain_cannot_call_is_refused_before_anything_is_made(tmp_path, fresh):
    with pytest.raises(ConfigurationError, match=r"F2LLMEmbeddings\.from_encoder"):
        open_chroma(fresh, "papers", path=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_guard_over_every_store(tmp_path, embeddings, fresh, kind):
    with KINDS[kind](tmp_path / "db", embeddings, WIDTH) as framework_store:
        opened = guard(framework_store, embeddings)
        assert opened.read_stamp() == fresh.fingerprint.to_dict()
        assert fresh.stats.passes == 0
        for field, value in OTHER.items():
            opened.write_stamp(replace(fresh.fingerprint, **{field: value}).to_dict())
            with pytest.raises(FingerprintError, match=field):
                guard(framework_store, embeddings)
        assert opened.count() == 0
        assert fresh.stats.passes == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("langchain")])
def test_langchain_reads_what_we_write_and_we_what_it_writes(tmp_path, embeddings, fresh, kind):
    ids = [f"00000000-0000-0000-0000-00000000000{i}" for i in range(4)]
    with KINDS[kind](tmp_path / "db", embeddings, WIDTH) as store:
        opened = guard(store, embeddings)
        vectors = fresh.encode_document(PASSAGES)
        metadatas = [{"source": f"{i}.txt", "page": i} for i in range(3)]
        opened.upsert(ids[:3], vectors, PASSAGES, metadatas)
        found = store.similarity_search("Zug", k=3)
        order = np.argsort(-(vectors @ fresh.encode_query("Zug")))
        assert [d.page_content for d in found] == [PASSAGES[i] for i in order]
        assert found[0].metadata["source"] == f"{order[0]}.txt"
        assert found[0].metadata["page"] == order[0]
        store.add_texts(["theirs"], metadatas=[{"source": "4.txt", "page": 4}], ids=ids[3:])
        records = opened.get(ids[3:])
        assert (records.ids, records.documents) == (ids[3:], ["theirs"])
        assert records.metadatas[0] == {"source": "4.txt", "page": 4}
        np.testing.assert_allclose(records.vectors[0], fresh.encode_document("theirs"), atol=1e-5)
        store.delete(ids[:1])
        assert opened.count() == 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("llama_index")])
def test_llama_index_reads_what_we_write_and_we_what_it_writes(tmp_path, fresh, kind):
    from llama_index.core.vector_stores.utils import node_to_metadata_dict

    model = F2LLMEmbedding.from_encoder(fresh)
    nodes = [
        TextNode(id_=f"00000000-0000-0000-0000-00000000000{i}", text=text, metadata={"page": i})
        for i, text in enumerate([*PASSAGES, "theirs"])
    ]
    with KINDS[kind](tmp_path / "db", None, WIDTH) as store:
        opened = guard(store, model)
        vectors = fresh.encode_document(PASSAGES)
        metadatas = [
            node_to_metadata_dict(n, remove_text=True, flat_metadata=store.flat_metadata)
            for n in nodes[:3]
        ]
        opened.upsert([n.node_id for n in nodes[:3]], vectors, PASSAGES, metadatas)
        index = VectorStoreIndex.from_vector_store(store, embed_model=model)
        found = index.as_retriever(similarity_top_k=3).retrieve("Zug")
        order = np.argsort(-(vectors @ fresh.encode_query("Zug")))
        assert [n.node.text for n in found] == [PASSAGES[i] for i in order]
        assert [n.node.metadata["page"] for n in found] == order.tolist()
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes[3:], storage_context=context, embed_model=model)
        records = opened.get([nodes[3].node_id])
        assert records.documents == ["theirs"]
        assert records.metadatas[0]["page"] == 3
        expected = model.get_text_embedding(nodes[3].get_content("embed"))
        np.testing.assert_allclose(records.vectors[0], expected, atol=1e-5)
        assert opened.count() == 4
        # It embedded the node's metadata, too; we were given the bare texts' vectors.
        report = audit(store, model)
        assert [(cause.kind, cause.rows) for cause in report.causes] == [("other model", 3)]
        opened.delete([n.node_id for n in nodes[:3]])
        assert audit(store, model).right


def test_a_relative_path_outlasts_another_working_directory(tmp_path, embeddings, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_chroma(embeddings, "papers", path="db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    index(store, embeddings, [("a", "text")])
    assert (tmp_path / "db" / "f2llm.lock").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_client_whose_folder_is_not_found_any_more_is_refused(tmp_path, fresh, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with chroma_client("db") as client:
        collection = client.create_collection("papers", embedding_function=None)
        monkeypatch.chdir(tmp_path / "elsewhere")
        with pytest.raises(
            StoreError, match=r"elsewhere.db any more\. Give Chroma's client an abs"
        ):
            index(collection, fresh, [("a", "text")])
    assert list((tmp_path / "elsewhere").iterdir()) == []
