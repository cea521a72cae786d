"""What is Qdrant's alone; what every store promises is tested with all of them."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from f2llm_core import F2LLM, ConfigurationError, StoreError, guard, index, open_store

COSINE = models.VectorParams(size=64, distance=models.Distance.COSINE)
FAKE = DeterministicFakeEmbedding(size=64)


@pytest.fixture
def client(tmp_path):
    opened = QdrantClient(path=str(tmp_path))
    yield opened
    opened.close()


def test_an_id_is_a_number_only_as_numbers_are_written(client):
    client.create_collection("papers", vectors_config=COSINE)
    store = open_store(QdrantVectorStore(client, "papers", embedding=FAKE))
    store.upsert(["7"], np.ones((1, 64)), ["seven"], [{}])
    for other in ("007", "\u0667", "+7"):
        with pytest.raises(StoreError, match="could not write"):
            store.upsert([other], np.ones((1, 64)), ["another"], [{}])
    assert store.get(["7"]).documents == ["seven"]


def test_a_key_that_no_filter_can_name_is_said(client):
    client.create_collection("papers", vectors_config=COSINE)
    store = open_store(QdrantVectorStore(client, "papers", embedding=FAKE))
    store.upsert(["7"], np.ones((1, 64)), ["seven"], [{'a"b': 1, "a.b": 1}])
    assert len(store.search(np.ones(64), 1, where={"a.b": 1})) == 1
    with pytest.raises(ConfigurationError, match="cannot filter by 'a\"b'"):
        store.search(np.ones(64), 1, where={'a"b': 1})


def test_a_collection_that_is_not_there_is_said(client, encoder):
    store = QdrantVectorStore(client, "x", embedding=FAKE, validate_collection_config=False)
    with pytest.raises(StoreError, match=r"'x' does not exist\. Create it first"):
        index(store, encoder, [("a", "text")])


def test_an_asynchronous_client_alone_is_refused(tmp_path):
    store = LlamaIndexStore("papers", aclient=AsyncQdrantClient(path=str(tmp_path / "a")))
    with pytest.raises(ConfigurationError, match="asynchronously only"):
        open_store(store)


def test_a_stamp_outlives_the_client(client, encoder, tmp_path):
    client.create_collection("papers", vectors_config=COSINE)
    guard(QdrantVectorStore(client, "papers", embedding=FAKE), encoder)
    client.close()
    again = QdrantClient(path=str(tmp_path))
    store = open_store(QdrantVectorStore(again, "papers", embedding=FAKE))
    assert store.read_stamp() == encoder.fingerprint.to_dict()
    again.close()


def hybrid_qdrant(client, framework):
    """A store for hybrid search, of which only its construction matters."""
    if framework == "llama_index":

        def encode(texts):
            return [[1] for _ in texts], [[1.0] for _ in texts]

        return LlamaIndexStore(
            "papers",
            client=client,
            enable_hybrid=True,
            sparse_doc_fn=encode,
            sparse_query_fn=encode,
        )
    client.create_collection(
        "papers",
        vectors_config={"": models.VectorParams(size=64, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    return QdrantVectorStore(
        client,
        "papers",
        embedding=DeterministicFakeEmbedding(size=64),
        retrieval_mode=RetrievalMode.HYBRID,
        sparse_embedding=object(),
        sparse_vector_name="sparse",
        validate_collection_config=False,
    )


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_rows_that_hybrid_search_would_not_find_are_not_written(framework, checkpoint, client):
    encoder = F2LLM(checkpoint, dtype="float32")
    store = hybrid_qdrant(client, framework)
    with pytest.raises(StoreError, match="hybrid search"):
        index(store, encoder, [("a", "text")])
    with pytest.raises(StoreError, match="hybrid search"):
        open_store(store).upsert(["1"], np.ones((1, 64)), ["text"], [{}])
    assert encoder.stats.passes == 0
    assert open_store(store).read_stamp() is None
