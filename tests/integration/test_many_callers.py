"""Callers of LangChain and LlamaIndex who come together share forward passes.

The worker is stopped until all have queued, so that the counts do not depend on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from f2llm_core import F2LLM
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from support import gate

CALLERS = 32
PASSAGES = [f"Passage number {i} is about the number {i}." for i in range(CALLERS)]


@pytest.fixture
def model(checkpoint: Path) -> Iterator[F2LLM]:
    """Finds an equal text first, whatever the weights."""
    with F2LLM(checkpoint, dtype="float32", task="sts") as model:
        yield model


@pytest.fixture
def collection() -> Iterator[Any]:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    name = f"passages-{uuid4().hex}"  # the clients of one process share their collections
    yield client.create_collection(
        name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    client.delete_collection(name)


async def passes(model: F2LLM, calls: Awaitable[Any], jobs: int = CALLERS) -> tuple[int, Any]:
    """Await calls that queue so many jobs before the first is computed; count the passes."""
    before = model.stats
    with gate(model._backend) as wait_for_queue, ThreadPoolExecutor(1) as waiter:
        running = asyncio.ensure_future(calls)
        await asyncio.get_running_loop().run_in_executor(waiter, wait_for_queue, jobs)
    result = await running
    return model.stats.passes - before.passes, result


class TestLangChain:
    @pytest.fixture
    def store(self, model: F2LLM, collection: Any) -> Chroma:
        embeddings = F2LLMEmbeddings.from_encoder(model)
        client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        chroma = Chroma(collection.name, embeddings, client=client)
        chroma.add_texts(PASSAGES)
        return chroma

    async def test_batch_over_chroma(self, model: F2LLM, store: Chroma):
        retriever = store.as_retriever(search_kwargs={"k": 1})
        config = {"max_concurrency": CALLERS}
        batch = asyncio.to_thread(retriever.batch, PASSAGES, config)
        count, found = await passes(model, batch)
        assert [documents[0].page_content for documents in found] == PASSAGES
        assert count == 1

    async def test_abatch_over_chroma(self, model: F2LLM, store: Chroma):
        # Chroma has no asynchronous search: LangChain calls it in the threads of the event loop.
        with ThreadPoolExecutor(CALLERS) as threads:
            asyncio.get_running_loop().set_default_executor(threads)
            retriever = store.as_retriever(search_kwargs={"k": 1})
            count, found = await passes(model, retriever.abatch(PASSAGES))
        assert [documents[0].page_content for documents in found] == PASSAGES
        assert count == 1

    async def test_abatch_over_a_store_that_is_asynchronous(self, model: F2LLM):
        embeddings = F2LLMEmbeddings.from_encoder(model)
        store = await InMemoryVectorStore.afrom_texts(PASSAGES, embeddings)
        retriever = store.as_retriever(search_kwargs={"k": 1})
        count, found = await passes(model, retriever.abatch(PASSAGES))
        assert [documents[0].page_content for documents in found] == PASSAGES
        assert count == 1

    async def test_queries_documents_and_instructions_together(self, model: F2LLM):
        kinds = [
            F2LLMEmbeddings.from_encoder(model.with_options(task=task, dimensions=dimensions))
            for task, dimensions in ((None, 64), ("code", 16), ("sts", 8))
        ]
        calls = [
            call
            for kind in kinds
            for call in (kind.aembed_query("a text"), kind.aembed_documents(["a text", "another"]))
        ]
        count, together = await passes(model, asyncio.gather(*calls), jobs=len(calls))
        assert count == 1
        for kind, query, documents in zip(kinds, together[::2], together[1::2], strict=True):
            np.testing.assert_allclose(query, kind.embed_query("a text"), atol=1e-5)
            alone = kind.embed_documents(["a text", "another"])
            np.testing.assert_allclose(documents, alone, atol=1e-5)


class TestLlamaIndex:
    async def test_ingestion_into_chroma(self, model: F2LLM, collection: Any):
        embedding = F2LLMEmbedding.from_encoder(model, embed_batch_size=1)
        pipeline = IngestionPipeline(
            transformations=[embedding],
            vector_store=ChromaVectorStore(chroma_collection=collection),
        )
        nodes = [TextNode(id_=str(i), text=text) for i, text in enumerate(PASSAGES)]
        count, _ = await passes(model, pipeline.arun(nodes=nodes))
        assert count == 1
        stored = collection.get(include=["embeddings"])
        rows = dict(zip(stored["ids"], stored["embeddings"], strict=True))
        expected = model.encode_document(PASSAGES)
        np.testing.assert_allclose([rows[str(i)] for i in range(CALLERS)], expected, atol=1e-5)

    async def test_several_pipelines_at_once(self, model: F2LLM):
        embedding = F2LLMEmbedding.from_encoder(model)
        parts = [[TextNode(text=text) for text in PASSAGES[i::4]] for i in range(4)]
        runs = asyncio.gather(
            *(IngestionPipeline(transformations=[embedding]).arun(nodes=part) for part in parts)
        )
        count, results = await passes(model, runs, jobs=4)
        assert count == 1
        expected = model.encode_document(PASSAGES)
        for i, nodes in enumerate(results):
            rows = [node.embedding for node in nodes]
            np.testing.assert_allclose(rows, expected[i::4], atol=1e-5)

    async def test_retrieval_over_chroma(self, model: F2LLM, collection: Any):
        store = ChromaVectorStore(chroma_collection=collection)
        embedding = F2LLMEmbedding.from_encoder(model)
        await IngestionPipeline(transformations=[embedding], vector_store=store).arun(
            nodes=[TextNode(text=text) for text in PASSAGES]
        )
        index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=1)
        count, found = await passes(model, asyncio.gather(*map(retriever.aretrieve, PASSAGES)))
        assert [hits[0].node.get_content() for hits in found] == PASSAGES
        assert count == 1
