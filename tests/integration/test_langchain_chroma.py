"""`F2LLMEmbeddings` in LangChain's vector stores, retrievers and chains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chromadb
import pytest
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from f2llm_core import F2LLM
from langchain_f2llm import F2LLMEmbeddings
from support import tiny_model

COSINE = {"hnsw": {"space": "cosine"}}
PASSAGES = [
    "The telescope looks at infrared light.\nIt was launched in 2021.",
    "빵을 굽기 전에 반죽을 하룻밤 발효시킨다.",
    "Der Bahnhof liegt im Süden der Stadt.\r\n\tDort hält auch der Bus.",
    "def add(a, b):\n    return a + b\n",
    "Las ballenas cantan para encontrarse en el océano.",
]


@contextmanager
def empty_chroma(folder: Path, embeddings: Embeddings) -> Iterator[Chroma]:
    """An empty store in a folder of its own: clients in memory would share their collections."""
    settings = Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder), settings=settings)
    try:
        yield Chroma(client=client, embedding_function=embeddings, collection_configuration=COSINE)
    finally:
        client.close()


class TestChromaWithASymmetricTask(VectorStoreIntegrationTests):
    @staticmethod
    def get_embeddings() -> F2LLMEmbeddings:
        return F2LLMEmbeddings(model=tiny_model(), task="sts")

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with empty_chroma(tmp_path, self.get_embeddings()) as store:
            yield store


class TestChromaWithTheQueryPrompt(VectorStoreIntegrationTests):
    """With the trained model: the suite wants "bar" to find "bar", prompt or no prompt."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path, demo_model: Path) -> Iterator[VectorStore]:
        with empty_chroma(tmp_path, F2LLMEmbeddings(model=demo_model)) as store:
            yield store


@pytest.fixture
def symmetric(encoder: F2LLM) -> F2LLMEmbeddings:
    """Finds an equal text first, whatever the weights."""
    return F2LLMEmbeddings.from_encoder(encoder.with_options(task="sts"))


@pytest.fixture
def store(tmp_path: Path, symmetric: F2LLMEmbeddings) -> Iterator[Chroma]:
    with empty_chroma(tmp_path, symmetric) as chroma:
        chroma.add_texts(PASSAGES, ids=[str(i) for i in range(len(PASSAGES))])
        yield chroma


class TestRetrieval:
    def test_chain_over_chroma(self, store: Chroma):
        """The passage reaches the language model as it was written, line ends included."""
        retriever = store.as_retriever(search_kwargs={"k": 1})
        chain = (
            {
                "context": retriever | (lambda documents: documents[0].page_content),
                "question": RunnablePassthrough(),
            }
            | PromptTemplate.from_template("{context}|{question}")
            | RunnableLambda(lambda prompt: prompt.to_string())  # stands in for the language model
            | StrOutputParser()
        )
        for passage in PASSAGES:
            assert chain.invoke(passage) == f"{passage}|{passage}"
        assert chain.batch(PASSAGES) == [f"{passage}|{passage}" for passage in PASSAGES]

    async def test_chain_over_chroma_async(self, store: Chroma):
        retriever = store.as_retriever(search_kwargs={"k": 2})
        found = await retriever.abatch(PASSAGES)
        assert [documents[0].page_content for documents in found] == PASSAGES

    def test_chroma_holds_the_vectors_of_the_core(self, store: Chroma, symmetric: F2LLMEmbeddings):
        ids = [str(i) for i in range(len(PASSAGES))]
        kept = store.get(ids, include=["embeddings", "documents"])
        assert kept["documents"] == PASSAGES
        expected = symmetric.encoder.encode_document(PASSAGES)
        assert kept["embeddings"] == pytest.approx(expected, abs=1e-6)  # Chroma renormalises

    def test_line_ends_count(self, symmetric: F2LLMEmbeddings):
        with_line_end, without = symmetric.embed_documents(
            [PASSAGES[0], PASSAGES[0].replace("\n", " ")]
        )
        assert with_line_end != without

    def test_the_distance_of_an_equal_text_is_zero(self, store: Chroma):
        [(document, distance)] = store.similarity_search_with_score(PASSAGES[1], k=1)
        assert document.page_content == PASSAGES[1]
        assert distance == pytest.approx(0, abs=1e-5)

    def test_queries_get_the_prompt_and_passages_do_not(self, tmp_path: Path, encoder: F2LLM):
        with empty_chroma(tmp_path, F2LLMEmbeddings.from_encoder(encoder)) as chroma:
            chroma.add_texts(PASSAGES)
            found = chroma.similarity_search_with_score("telescope", k=len(PASSAGES))
        cosines = encoder.encode_document(PASSAGES) @ encoder.encode_query("telescope")
        expected = dict(zip(PASSAGES, 1 - cosines, strict=True))
        assert {d.page_content: score for d, score in found} == pytest.approx(expected, abs=1e-5)

    def test_in_memory_store(self, symmetric: F2LLMEmbeddings):
        retriever = InMemoryVectorStore.from_texts(PASSAGES, symmetric).as_retriever()
        found = retriever.batch(PASSAGES, config={"max_concurrency": 4})
        assert [documents[0].page_content for documents in found] == PASSAGES

    async def test_in_memory_store_async(self, symmetric: F2LLMEmbeddings):
        store = await InMemoryVectorStore.afrom_texts(PASSAGES, symmetric)
        found = await store.as_retriever().abatch(PASSAGES)
        assert [documents[0].page_content for documents in found] == PASSAGES


def test_questions_find_their_passages(tmp_path: Path, demo_model: Path):
    """What the user does, with the options nobody changes and a model that was trained."""
    answers = {
        "When does the river flood?": "The river floods every spring.\nFarmers wait for it.",
        "the economy and oil": "La economía del país depende del petróleo.",
        "Who works in a hospital?": "The doctor works at the hospital.",
    }
    with empty_chroma(tmp_path, F2LLMEmbeddings(model=demo_model)) as chroma:
        chroma.add_texts([*PASSAGES, *answers.values()])
        found = chroma.as_retriever(search_kwargs={"k": 1}).batch(list(answers))
    assert [documents[0].page_content for documents in found] == list(answers.values())
