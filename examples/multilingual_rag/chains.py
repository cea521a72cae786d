"""The same question answered by a LangChain chain and by a LlamaIndex query engine.

Both read the one collection that `index.Index` keeps, through their own Chroma stores.
"""

from __future__ import annotations

import math
from typing import Any

from answers import HUMAN, SYSTEM, Answer, Hit, distinct, number_passages, quote
from index import Index
from langchain_chroma import Chroma
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from llama_index.core import ChatPromptTemplate as LlamaPromptTemplate
from llama_index.core import Response, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import LLM
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore
from llama_index.vector_stores.chroma import ChromaVectorStore

from f2llm_core import F2LLM
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding

#: Searched for each passage that is wanted: most of them are found in many languages.
TRANSLATIONS = 20


def langchain_chain(
    index: Index, count: int, llm: BaseChatModel | None = None
) -> Runnable[str, Answer]:
    """Make a chain from a question to its passages and answer.

    Args:
        index: Where to search.
        count: Number of passages.
        llm: Writes the answer; without one it is quoted from the passages.
    """
    store = Chroma(
        index.name,
        F2LLMEmbeddings.from_encoder(index.encoder),
        client=index.client,
        create_collection_if_not_exists=False,
    )

    def search(question: str) -> list[Hit]:
        found = store.similarity_search_with_score(question, k=count * TRANSLATIONS)
        hits = (Hit(str(d.id), d.page_content, d.metadata, 1 - dist) for d, dist in found)
        return distinct(hits, count)

    def show_passages(state: dict[str, Any]) -> dict[str, str]:
        return {"question": state["question"], "passages": number_passages(state["hits"])}

    def extract(state: dict[str, Any]) -> str:
        return quote(index.encoder, state["question"], state["hits"])

    write: Runnable[dict[str, Any], str] = RunnableLambda(extract)
    if llm is not None:
        prompt = ChatPromptTemplate.from_messages([("system", SYSTEM), ("human", HUMAN)])
        write = RunnableLambda(show_passages) | prompt | llm | StrOutputParser()
    return (
        RunnableParallel(question=RunnablePassthrough(), hits=RunnableLambda(search))
        | RunnablePassthrough.assign(text=write)
        | RunnableLambda(lambda state: Answer(state["hits"], state["text"]))
    )


class PassageQueryEngine(CustomQueryEngine):
    """A query engine that answers with numbered passages, each of them in one language only."""

    retriever: BaseRetriever
    encoder: F2LLM
    count: int
    llm: LLM | None = None

    def custom_query(self, query_str: str) -> Response:
        """Return the answer; its source nodes are the passages, in the order of their numbers."""
        nodes = self.retriever.retrieve(query_str)
        hits = distinct(map(_hit, nodes), self.count)
        if self.llm is None:
            answer = quote(self.encoder, query_str, hits)
        else:
            passages = number_passages(hits)
            answer = self.llm.predict(_LLAMA_PROMPT, question=query_str, passages=passages)
        by_id = {node.node_id: node for node in nodes}
        return Response(answer, [by_id[hit.id] for hit in hits], {"hits": hits})

    def ask(self, question: str) -> Answer:
        """Return what `query` does, as the chain returns it."""
        response = self.query(question)
        return Answer((response.metadata or {})["hits"], str(response))


_LLAMA_PROMPT = LlamaPromptTemplate(
    [
        ChatMessage(content=SYSTEM, role=MessageRole.SYSTEM),
        ChatMessage(content=HUMAN, role=MessageRole.USER),
    ]
)


def _hit(node: NodeWithScore) -> Hit:
    # LlamaIndex's Chroma store reports exp(-distance), and the distance is 1 - cosine.
    cosine = 1 + math.log(node.score or 1e-9)
    return Hit(node.node_id, node.node.get_content(), node.metadata, cosine)


def llama_index_engine(index: Index, count: int, llm: LLM | None = None) -> PassageQueryEngine:
    """Make a query engine over the same collection; arguments as in `langchain_chain`."""
    vectors = VectorStoreIndex.from_vector_store(
        ChromaVectorStore(chroma_collection=index.collection),
        embed_model=F2LLMEmbedding.from_encoder(index.encoder),
    )
    retriever = vectors.as_retriever(similarity_top_k=count * TRANSLATIONS)
    return PassageQueryEngine(retriever=retriever, encoder=index.encoder, count=count, llm=llm)
