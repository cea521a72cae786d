"""Vector stores behind one Protocol: `open_store` takes what LangChain and LlamaIndex call one."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from f2llm_core.errors import ConfigurationError
from f2llm_core.stores.base import Entry, Match, Metadata, Records, VectorStore

__all__ = ["Entry", "Match", "Metadata", "Records", "VectorStore", "open_store"]

# By package and class, as nothing is imported for a store that is not there.
_KNOWN = {
    "chromadb.Collection": "chroma.from_collection",
    "langchain_chroma.Chroma": "chroma.from_wrapper",
    "llama_index.ChromaVectorStore": "chroma.from_wrapper",
    "langchain_qdrant.QdrantVectorStore": "qdrant.from_langchain",
    "llama_index.QdrantVectorStore": "qdrant.from_llama_index",
    "langchain_postgres.PGVector": "pgvector.from_langchain",
    "langchain_postgres.PGVectorStore": "pgvector.from_langchain_table",
    "llama_index.PGVectorStore": "pgvector.from_llama_index",
}


# Not isinstance: on Python 3.11 that would call the properties, and so the database.
_METHODS = [name for name, value in vars(VectorStore).items() if name[0] != "_" and callable(value)]


def open_store(store: object) -> VectorStore:
    """Return the collection behind a vector store of LangChain or LlamaIndex.

    Args:
        store: A Chroma collection; LangChain's `Chroma`, `QdrantVectorStore`, `PGVector` or
            `PGVectorStore`; LlamaIndex's `ChromaVectorStore`, `QdrantVectorStore` or
            `PGVectorStore`; or a `VectorStore`, which is returned as it is.

    Returns:
        The same rows behind one interface; nothing of them is read yet.

    Raises:
        ConfigurationError: Anything else.
        StoreError: The store cannot be reached, or has no such collection.
    """
    if all(callable(getattr(store, name, None)) for name in _METHODS):
        return cast("VectorStore", store)
    for base in type(store).__mro__:
        key = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if key in _KNOWN:
            module, _, function = _KNOWN[key].partition(".")
            opened: VectorStore = getattr(import_module(f"{__name__}.{module}"), function)(store)
            return opened
    msg = (
        f"{type(store).__module__}.{type(store).__qualname__} is no store that this library knows. "
        f"It knows {', '.join(_KNOWN)}; anything else needs the methods of "
        "f2llm_core.stores.VectorStore."
    )
    raise ConfigurationError(msg)
