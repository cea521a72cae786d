"""A user's own program: LangChain."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from f2llm_core.testing import tiny_checkpoint
from langchain_f2llm import F2LLMEmbeddings


def store_of(embeddings: Embeddings, texts: list[str]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings)
    store.add_documents([Document(text) for text in texts])
    return store


with tempfile.TemporaryDirectory() as folder:
    embeddings = F2LLMEmbeddings(model=tiny_checkpoint(Path(folder) / "model"), dimensions=32)
    vector: list[float] = embeddings.embed_query("a", task="code")
    assert len(vector) == 32
    found: list[Document] = store_of(embeddings, ["a", "b"]).similarity_search("a", k=1)
    assert len(found) == 1
    rows: list[list[float]] = asyncio.run(embeddings.aembed_documents(["a", "b"]))
    assert rows == embeddings.embed_documents(["a", "b"])
print("ok")
