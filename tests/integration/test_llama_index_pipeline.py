"""`F2LLMEmbedding` in LlamaIndex's own machinery: ingestion, Chroma, indexes, `Settings`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings as ChromaSettings
from llama_index.core import QueryBundle, Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from f2llm_core import F2LLM
from f2llm_core.backends.local import LocalBackend
from f2llm_core.testing import tiny_checkpoint
from llama_index.embeddings.f2llm import F2LLMEmbedding

PASSAGES = {
    "en": "The space telescope observes infrared light.",
    "de": "Der Wal singt nachts im Eis.",
    "ko": "김치는 배추를 발효시켜 만든다.",
    "ar": "تقع المدينة على ضفة النهر",
    "zh": "长城\n建于山上。",
    "ru": "Поезд идёт через тайгу",
    "hi": "आम गर्मियों में पकता है",
    "es": "El volcán despertó de noche.",
}
QUERY = "Welches Teleskop sieht infrarotes Licht?"


@pytest.fixture
def embedding(checkpoint: Path) -> F2LLMEmbedding:
    return F2LLMEmbedding(model_name=str(checkpoint), dtype="float32")


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that reached the engine, prompt included."""
    seen: list[str] = []
    submit = LocalBackend.submit

    def spy(self: LocalBackend, texts: list[str], **kwargs: Any) -> Any:
        seen.extend(texts)
        return submit(self, texts, **kwargs)

    monkeypatch.setattr(LocalBackend, "submit", spy)
    return seen


@pytest.fixture
def store() -> Iterator[ChromaVectorStore]:
    client = chromadb.EphemeralClient(ChromaSettings(anonymized_telemetry=False))
    name = f"passages-{uuid4().hex}"  # the clients of one process share their collections
    collection = client.create_collection(
        name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    yield ChromaVectorStore(chroma_collection=collection)
    client.delete_collection(name)


def nodes() -> list[TextNode]:
    return [TextNode(id_=name, text=text) for name, text in PASSAGES.items()]


@pytest.fixture
def run(checkpoint: Path, prompts: list[str]) -> Any:
    """Send the passages through a pipeline with a model; all of them share one cache."""
    cache = IngestionCache()

    def run(folder: Path = checkpoint, **options: Any) -> list[Any]:
        embedding = F2LLMEmbedding(model_name=str(folder), dtype="float32", **options)
        prompts.clear()
        pipeline = IngestionPipeline(transformations=[embedding], cache=cache)
        return list(pipeline.run(nodes=nodes()))

    return run


def ranking(encoder: F2LLM) -> list[tuple[str, float]]:
    """The right answer: ids and cosines, best first."""
    cosines = encoder.encode_document(list(PASSAGES.values())) @ encoder.encode_query(QUERY)
    order = np.argsort(-cosines)
    return [(list(PASSAGES)[i], float(cosines[i])) for i in order]


def assert_ranked(found: list[NodeWithScore], encoder: F2LLM, *, chroma: bool) -> None:
    expected = ranking(encoder)[: len(found)]
    assert [hit.node.node_id for hit in found] == [name for name, _ in expected]
    cosines = [cosine for _, cosine in expected]
    # The Chroma store gives exp(-distance) for a score.
    scores = [math.exp(cosine - 1) for cosine in cosines] if chroma else cosines
    assert [hit.score for hit in found] == pytest.approx(scores, abs=1e-4)


class TestIngestionPipeline:
    def test_cache_holds_until_the_vectors_would_change(self, run: Any, prompts: list[str]):
        first = run()
        assert prompts == list(PASSAGES.values())
        for same in (
            {"device": "cpu", "max_batch_tokens": 64, "embed_batch_size": 3},
            {"query_instruction": "Find it.", "local_files_only": True},
            {"dimensions": 64, "on_truncate": "ignore"},  # the model's own width
        ):
            again = run(**same)
            assert prompts == []
            assert [node.embedding for node in again] == [node.embedding for node in first]
        for other in (
            {"dimensions": 16},
            {"text_instruction": "Represent it."},
            {"task": "sts"},  # the instruction goes before documents, too
            {"max_length": 12},
            {"on_truncate": "error"},
        ):
            found = run(**other)
            assert len(prompts) == len(PASSAGES), other
            assert {len(node.embedding) for node in found} == {other.get("dimensions", 64)}
            run(**other)
            assert prompts == []

    def test_cache_knows_a_folder_by_its_contents(
        self, run: Any, prompts: list[str], checkpoint: Path, tmp_path: Path
    ):
        first = run()
        moved, trained = tmp_path / "moved", tmp_path / "trained"
        shutil.copytree(checkpoint, moved)
        tiny_checkpoint(trained, seed=7)
        assert [n.embedding for n in run(moved)] == [n.embedding for n in first]
        assert prompts == []
        found = run(trained)
        assert len(prompts) == len(PASSAGES)
        shutil.copytree(trained, moved, dirs_exist_ok=True)  # anew, in its place
        assert [n.embedding for n in run(moved)] == [n.embedding for n in found]
        assert prompts == []

    def test_the_hash_needs_no_weights(self, checkpoint: Path):
        embedding = F2LLMEmbedding(model_name=str(checkpoint))
        assert get_transformation_hash(nodes(), embedding)
        assert embedding.encoder.stats.passes == 0

    async def test_fills_chroma(self, embedding: F2LLMEmbedding, store: Any, encoder: F2LLM):
        pipeline = IngestionPipeline(transformations=[embedding], vector_store=store)
        pipeline.run(nodes=nodes()[:4])
        await pipeline.arun(nodes=nodes()[4:])
        stored = store.client.get(include=["embeddings", "documents"])
        assert dict(zip(stored["ids"], stored["documents"], strict=True)) == PASSAGES
        rows = dict(zip(stored["ids"], stored["embeddings"], strict=True))
        expected = encoder.encode_document(list(PASSAGES.values()))
        np.testing.assert_allclose([rows[name] for name in PASSAGES], expected, atol=1e-5)


class TestRetriever:
    async def test_over_chroma(
        self, embedding: F2LLMEmbedding, store: Any, encoder: F2LLM, prompts: list[str]
    ):
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes(), storage_context=context, embed_model=embedding)
        assert prompts == list(PASSAGES.values())
        index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=5)
        prompts.clear()
        found, later = retriever.retrieve(QUERY), await retriever.aretrieve(QUERY)
        assert prompts == [encoder.prompts.query + QUERY] * 2
        assert_ranked(found, encoder, chroma=True)
        assert_ranked(later, encoder, chroma=True)

    async def test_over_the_default_store(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        index = VectorStoreIndex(nodes(), embed_model=embedding, use_async=False)
        retriever = index.as_retriever(similarity_top_k=5)
        assert_ranked(retriever.retrieve(QUERY), encoder, chroma=False)
        assert_ranked(await retriever.aretrieve(QUERY), encoder, chroma=False)

    async def test_finds_across_languages(self, demo_model: Path):
        """With a trained model, whose domain is descriptions of software."""
        programs = {
            "Schachspiel gegen den Computer": "A chess game with a computer opponent.",
            "Visionneuse d'images": "An image viewer for the desktop.",
            "textový editor pro programátory": "A text editor for programmers.",
            "почтовый клиент": "A mail client for the terminal.",
        }
        passages = [TextNode(text=text) for text in programs.values()]
        index = VectorStoreIndex(passages, embed_model=F2LLMEmbedding(model_name=str(demo_model)))
        retriever = index.as_retriever(similarity_top_k=1)
        found = {query: retriever.retrieve(query)[0].node.get_content() for query in programs}
        assert found == programs
        later = {q: (await retriever.aretrieve(q))[0].node.get_content() for q in programs}
        assert later == programs

    def test_several_queries_are_embedded_together(
        self, embedding: F2LLMEmbedding, encoder: F2LLM, monkeypatch: pytest.MonkeyPatch
    ):
        retriever = VectorStoreIndex(nodes(), embed_model=embedding).as_retriever()
        sizes: list[int] = []
        submit = LocalBackend.submit

        def spy(self: LocalBackend, texts: list[str], **kwargs: Any) -> Any:
            sizes.append(len(texts))
            return submit(self, texts, **kwargs)

        monkeypatch.setattr(LocalBackend, "submit", spy)
        bundle = QueryBundle(QUERY, custom_embedding_strs=[QUERY, "a telescope", "망원경"])
        found = retriever.retrieve(bundle)
        assert sizes == [3]
        mean = encoder.encode_query(bundle.embedding_strs).mean(axis=0)
        cosines = encoder.encode_document(list(PASSAGES.values())) @ mean
        assert found[0].node.node_id == list(PASSAGES)[int(np.argmax(cosines))]


class TestSettings:
    @pytest.fixture(autouse=True)
    def restore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Settings, "_embed_model", None)

    def test_embed_model(self, embedding: F2LLMEmbedding, encoder: F2LLM):
        Settings.embed_model = embedding
        assert Settings.embed_model is embedding
        index = VectorStoreIndex(nodes())
        assert_ranked(index.as_retriever(similarity_top_k=3).retrieve(QUERY), encoder, chroma=False)

    def test_reports_to_its_callbacks(self, embedding: F2LLMEmbedding):
        Settings.embed_model = embedding
        assert Settings.embed_model.callback_manager is Settings.callback_manager
