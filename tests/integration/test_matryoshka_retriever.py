"""Both frameworks' `MatryoshkaRetriever` over real Chroma, and LangChain's own standard suite."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from llama_index.core import QueryBundle
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.embeddings import f2llm as llama_index_f2llm
from pydantic import ValidationError

import langchain_f2llm
from f2llm_core import F2LLM, ConfigurationError, FingerprintError, StoreError, TwoStageStore
from f2llm_core.indexing import index
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from store_kinds import (
    langchain_chroma,
    langchain_qdrant,
    llama_index_chroma,
    llama_index_qdrant,
)
from support import tiny_model

TEXTS = [f"Passage {i} tells of {word}." for i, word in enumerate(["owls", "tides", "bread"] * 20)]
QUERY = "Which passage tells of tides?"


@cache
def encoder() -> F2LLM:
    return F2LLM(tiny_model(), dtype="float32")


def ranking(dimensions: int = 64) -> list[str]:
    """The texts, best first, by vectors of a width."""
    sibling = encoder().with_options(dimensions=dimensions)
    return [
        TEXTS[i]
        for i in np.argsort(-(sibling.encode_document(TEXTS) @ sibling.encode_query(QUERY)))
    ]


def two_stage_order(fetch_k: int) -> list[str]:
    """What a shortlist of cut vectors leaves of the best."""
    shortlist = set(ranking(16)[:fetch_k])
    return [text for text in ranking() if text in shortlist]


@cache
def langchain_store() -> TwoStageStore:
    folder = Path(tempfile.mkdtemp(prefix="f2llm-tests-"))
    stack = ExitStack()  # the standard suite has no fixtures for a constructor's arguments
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(stack.close)
    chroma = stack.enter_context(langchain_chroma(folder / "chroma", None, 16))
    store = TwoStageStore(chroma, folder / "papers.full", dimensions=16)
    index(store, encoder(), [Document(t, metadata={"at": i}) for i, t in enumerate(TEXTS)])
    return store


@pytest.fixture
def embeddings() -> F2LLMEmbeddings:
    return F2LLMEmbeddings.from_encoder(encoder())


@pytest.fixture
def retriever(embeddings: F2LLMEmbeddings) -> langchain_f2llm.MatryoshkaRetriever:
    return langchain_f2llm.MatryoshkaRetriever(store=langchain_store(), embeddings=embeddings)


class TestLangChainStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return langchain_f2llm.MatryoshkaRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        embeddings = F2LLMEmbeddings.from_encoder(encoder())
        return {"store": langchain_store(), "embeddings": embeddings}

    @property
    def retriever_query_example(self) -> str:
        return QUERY


class TestLangChain:
    def test_documents_come_in_the_order_of_whole_vectors(self, retriever: Any):
        found = retriever.invoke(QUERY, k=8)
        assert [document.page_content for document in found] == ranking()[:8]
        assert [TEXTS[d.metadata["at"]] for d in found] == ranking()[:8]
        assert all(document.id for document in found)
        assert len(retriever.invoke(QUERY)) == 4

    async def test_sizes_are_for_one_call_or_for_all(self, retriever: Any, embeddings: Any):
        expected = two_stage_order(10)[:5]
        assert expected != ranking()[:5], "a shortlist so short that it shows"
        narrow = langchain_f2llm.MatryoshkaRetriever(
            store=retriever.store, embeddings=embeddings, k=5, fetch_k=10
        )
        for found in (
            narrow.invoke(QUERY),
            retriever.invoke(QUERY, k=5, fetch_k=10),
            await retriever.ainvoke(QUERY, k=5, fetch_k=10),
        ):
            assert [document.page_content for document in found] == expected

    async def test_a_query_is_one_pass_and_queries_at_once_share_it(self, retriever: Any):
        model = encoder()
        before = model.stats
        retriever.invoke(QUERY)
        assert (model.stats.passes, model.stats.texts) == (before.passes + 1, before.texts + 1)
        found = await retriever.abatch([f"{QUERY} {i}" for i in range(20)])
        assert [len(documents) for documents in found] == [4] * 20
        assert model.stats.passes < before.passes + 15

    def test_sizes_are_checked_when_made_and_per_call(self, retriever: Any, embeddings: Any):
        with pytest.raises(ConfigurationError, match="fetch_k=3 is less than k=4"):
            langchain_f2llm.MatryoshkaRetriever(
                store=retriever.store, embeddings=embeddings, fetch_k=3
            )
        with pytest.raises(ConfigurationError, match="k=0"):
            retriever.invoke(QUERY, k=0)
        for k in (True, "3"):
            with pytest.raises(ConfigurationError, match=f"k={k!r}: expected a positive integer"):
                langchain_f2llm.MatryoshkaRetriever(
                    store=retriever.store, embeddings=embeddings, k=k
                )

    def test_sizes_may_be_numpys(self, retriever: Any, embeddings: Any):
        made = langchain_f2llm.MatryoshkaRetriever(
            store=retriever.store, embeddings=embeddings, k=np.int64(3), fetch_k=np.int32(60)
        )
        assert len(made.invoke(QUERY)) == 3
        assert len(retriever.invoke(QUERY, k=np.int64(2))) == 2

    @pytest.mark.parametrize("option", ["filters", "search_kwargs"])
    def test_an_unknown_option_is_refused(self, retriever: Any, embeddings: Any, option: str):
        with pytest.raises(ValidationError, match=f"{option}\n.*not permitted"):
            langchain_f2llm.MatryoshkaRetriever(
                store=retriever.store, embeddings=embeddings, **{option: {"at": 1}}
            )

    def test_embeddings_of_another_width_are_refused(self, retriever: Any, embeddings: Any):
        with pytest.raises(FingerprintError, match="holds vectors of 64 dimensions"):
            langchain_f2llm.MatryoshkaRetriever(
                store=retriever.store, embeddings=embeddings.with_options(dimensions=16)
            )

    def test_a_collection_that_is_gone_is_told(self, tmp_path: Path, embeddings: Any):
        with langchain_chroma(tmp_path, None, 16) as chroma:
            store = TwoStageStore(chroma, tmp_path / "papers.full", dimensions=16)
            index(store, embeddings, [("a", TEXTS[0])])
            retriever = langchain_f2llm.MatryoshkaRetriever(store=store, embeddings=embeddings)
            chroma._client.delete_collection("papers")
            with pytest.raises(StoreError, match="Chroma collection 'papers'"):
                retriever.invoke(QUERY)
            with pytest.raises(StoreError, match="Chroma collection 'papers'"):
                TwoStageStore(chroma, tmp_path / "papers.full", dimensions=16)


@pytest.fixture
def embed_model() -> F2LLMEmbedding:
    return F2LLMEmbedding.from_encoder(encoder())


@pytest.fixture
def nodes(tmp_path: Path, embed_model: F2LLMEmbedding) -> Iterator[Any]:
    """A retriever over LlamaIndex's store."""
    with llama_index_chroma(tmp_path, None, 16) as chroma:
        store = TwoStageStore(chroma, tmp_path / "papers.full", dimensions=16)
        texts = [TextNode(text=t, metadata={}) for t in TEXTS]
        index(store, embed_model, texts)
        yield llama_index_f2llm.MatryoshkaRetriever(store, embed_model)


class TestLlamaIndex:
    def test_nodes_come_in_the_order_of_whole_vectors(self, nodes: Any):
        found = nodes.retrieve(QUERY, k=8)
        assert [hit.node.get_content(MetadataMode.NONE) for hit in found] == ranking()[:8]
        cosines = encoder().encode_document(ranking()[:8]) @ encoder().encode_query(QUERY)
        assert [hit.score for hit in found] == pytest.approx(cosines, abs=1e-3)
        assert len(nodes.retrieve(QUERY)) == 4

    async def test_sizes_are_for_one_call_or_for_all(self, nodes: Any, embed_model: Any):
        expected = two_stage_order(10)[:5]
        narrow = llama_index_f2llm.MatryoshkaRetriever(nodes._store, embed_model, k=5, fetch_k=10)
        for found in (
            narrow.retrieve(QUERY),
            nodes.retrieve(QUERY, k=5, fetch_k=10),
            await nodes.aretrieve(QUERY, k=5, fetch_k=10),
        ):
            assert [hit.text for hit in found] == expected
        assert len(await nodes.aretrieve(QUERY)) == 4

    async def test_a_query_is_one_pass_unless_it_brings_its_vector(self, nodes: Any):
        bundle = QueryBundle(QUERY, embedding=encoder().encode_query(QUERY).tolist())
        before = encoder().stats.passes
        expected = [hit.node_id for hit in nodes.retrieve(QUERY)]
        assert encoder().stats.passes == before + 1
        assert [hit.node_id for hit in nodes.retrieve(bundle)] == expected
        assert [hit.node_id for hit in await nodes.aretrieve(bundle)] == expected
        bundle.embedding = np.asarray(bundle.embedding)
        assert [hit.node_id for hit in nodes.retrieve(bundle)] == expected
        assert encoder().stats.passes == before + 1

    async def test_an_empty_query_is_a_text(self, nodes: Any):
        ids = [hit.node_id for hit in nodes.retrieve("")]
        assert len(ids) == 4
        assert [hit.node_id for hit in await nodes.aretrieve("")] == ids

    async def test_the_event_loop_goes_on(self, nodes: Any):
        found = await asyncio.gather(*(nodes.aretrieve(f"{QUERY} {i}") for i in range(10)))
        assert [len(hits) for hits in found] == [4] * 10

    def test_serves_a_query_engine(self, nodes: Any):
        engine = RetrieverQueryEngine(nodes, response_synthesizer=NoText(llm=MockLLM()))
        response = engine.query(QUERY)
        assert [hit.text for hit in response.source_nodes] == ranking()[:4]

    def test_what_langchain_indexed_is_nodes_too(self, embed_model: Any):
        nodes = llama_index_f2llm.MatryoshkaRetriever(langchain_store(), embed_model, k=3)
        assert [hit.text for hit in nodes.retrieve(QUERY)] == ranking()[:3]

    def test_refuses_what_does_not_fit(self, nodes: Any, embed_model: Any):
        with pytest.raises(ConfigurationError, match="fetch_k=1 is less than k=2"):
            llama_index_f2llm.MatryoshkaRetriever(nodes._store, embed_model, k=2, fetch_k=1)
        other = embed_model.model_copy(update={"text_instruction": "Represent it."})
        with pytest.raises(FingerprintError, match="document_prompt"):
            llama_index_f2llm.MatryoshkaRetriever(nodes._store, other)


#: The same rows, in the words of Chroma and LangChain, of LlamaIndex, and of a list.
FILTERS = [
    (
        {"lang": "de"},
        MetadataFilters(filters=[MetadataFilter(key="lang", value="de")]),
        lambda lang, year: lang == "de",
    ),
    (
        {"lang": {"$in": ["de", "ko"]}, "year": {"$gte": 2004}},
        MetadataFilters(
            filters=[
                MetadataFilter(key="lang", value=["de", "ko"], operator=FilterOperator.IN),
                MetadataFilter(key="year", value=2004, operator=FilterOperator.GTE),
            ]
        ),
        lambda lang, year: lang != "en" and year >= 2004,
    ),
    (
        {"$or": [{"lang": {"$ne": "en"}, "year": {"$lt": 2002}}, {"year": 2006}]},
        MetadataFilters(
            condition=FilterCondition.OR,
            filters=[
                MetadataFilters(
                    filters=[
                        MetadataFilter(key="lang", value="en", operator=FilterOperator.NE),
                        MetadataFilter(key="year", value=2002, operator=FilterOperator.LT),
                    ]
                ),
                MetadataFilter(key="year", value=2006),
            ],
        ),
        lambda lang, year: (lang != "en" and year < 2002) or year == 2006,
    ),
]


def about(i: int) -> dict[str, Any]:
    return {"lang": ["de", "en", "ko"][i % 3], "year": 2000 + i % 7}


def chosen(passes: Any) -> list[str]:
    """The texts that a filter lets pass, best first."""
    return [text for text in ranking() if passes(*about(TEXTS.index(text)).values())]


@pytest.fixture(params=["chroma", "qdrant"])
def filtered(request: Any, tmp_path: Path, embeddings: Any, embed_model: Any) -> Iterator[Any]:
    """A retriever of each framework, over its own store."""
    makers = {
        "chroma": (langchain_chroma, llama_index_chroma),
        "qdrant": (langchain_qdrant, llama_index_qdrant),
    }[request.param]
    with ExitStack() as stack:
        one, other = (
            TwoStageStore(
                stack.enter_context(maker(tmp_path / str(n), embeddings, 16)),
                tmp_path / f"{n}.full",
                dimensions=16,
            )
            for n, maker in enumerate(makers)
        )
        index(one, embeddings, [Document(t, metadata=about(i)) for i, t in enumerate(TEXTS)])
        index(
            other,
            embed_model,
            [
                TextNode(text=t, metadata=about(i), excluded_embed_metadata_keys=["lang", "year"])
                for i, t in enumerate(TEXTS)
            ],
        )
        yield (
            langchain_f2llm.MatryoshkaRetriever(store=one, embeddings=embeddings, k=5),
            llama_index_f2llm.MatryoshkaRetriever(other, embed_model, k=5),
        )


async def test_metadata_filters(filtered: Any, embeddings: Any, embed_model: Any):
    documents, nodes = filtered
    for where, filters, passes in FILTERS:
        expected = chosen(passes)[:5]
        assert len(expected) == 5
        for found in (
            documents.invoke(QUERY, filter=where),
            await documents.ainvoke(QUERY, filter=where),
            documents.model_copy(update={"filter": where}).invoke(QUERY),
        ):
            assert [document.page_content for document in found] == expected
        own = llama_index_f2llm.MatryoshkaRetriever(nodes._store, embed_model, k=5, filters=filters)
        for hits in (
            nodes.retrieve(QUERY, filters=filters),
            await nodes.aretrieve(QUERY, filters=filters),
            own.retrieve(QUERY),
        ):
            assert [hit.text for hit in hits] == expected
    # A shortlist holds only what passes.
    assert len(documents.invoke(QUERY, filter={"lang": "ko"}, fetch_k=5)) == 5
    assert documents.invoke(QUERY, filter={"lang": "none"}) == []
    nothing = MetadataFilters(filters=[])
    assert len(nodes.retrieve(QUERY, filters=nothing)) == 5
    _, german, passes = FILTERS[0]
    hits = nodes.retrieve(QUERY, filters=MetadataFilters(filters=[nothing, *german.filters]))
    assert [hit.text for hit in hits] == chosen(passes)[:5]


def test_filters_are_checked_when_made_and_per_call(filtered: Any, embeddings: Any):
    documents, nodes = filtered
    with pytest.raises(ConfigurationError, match="comparisons are"):
        langchain_f2llm.MatryoshkaRetriever(
            store=documents.store, embeddings=embeddings, filter={"lang": {"$like": "d"}}
        )
    with pytest.raises(ConfigurationError, match="is no filter"):
        documents.invoke(QUERY, filter={"$not": {"lang": "de"}})
    for wrong in (
        MetadataFilter(key="lang", value="d", operator=FilterOperator.TEXT_MATCH),
        MetadataFilters(filters=[], condition=FilterCondition.NOT),
        MetadataFilters(filters=[], condition=FilterCondition.OR),
    ):
        with pytest.raises(ConfigurationError, match="is no filter"):
            nodes.retrieve(QUERY, filters=MetadataFilters(filters=[wrong]))
