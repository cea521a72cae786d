"""Every kind of vector store that is known, real and empty, as its framework makes it."""

from __future__ import annotations

import atexit
import operator
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from f2llm_core.stores.base import Entry, Match, Records, batches, in_order
from f2llm_core.stores.filters import Group, parse

COSINE = {"hnsw": {"space": "cosine"}}

Maker = Callable[[Path, Any, int], AbstractContextManager[Any]]


@contextmanager
def chroma_client(folder: Path) -> Iterator[Any]:
    """A client of a folder of its own: clients in memory would share their collections."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    try:
        yield client
    finally:
        client.close()


@contextmanager
def chroma(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    with chroma_client(folder) as client:
        yield client.create_collection(
            "papers", configuration=COSINE, embedding_function=None, metadata={"theirs": "kept"}
        )


@contextmanager
def langchain_chroma(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from langchain_chroma import Chroma

    with chroma_client(folder) as client:
        yield Chroma(
            "papers",
            client=client,
            embedding_function=embeddings,
            collection_configuration=COSINE,
            collection_metadata={"theirs": "kept"},
        )


@contextmanager
def llama_index_chroma(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from llama_index.vector_stores.chroma import ChromaVectorStore

    with chroma(folder, embeddings, width) as collection:
        yield ChromaVectorStore(chroma_collection=collection)


@contextmanager
def langchain_qdrant(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    try:
        cosine = models.VectorParams(size=width, distance=models.Distance.COSINE)
        client.create_collection("papers", vectors_config=cosine)
        client.update_collection("papers", metadata={"theirs": "kept"})
        yield QdrantVectorStore(
            client, "papers", embedding=embeddings, validate_collection_config=False
        )
    finally:
        client.close()


@contextmanager
def llama_index_qdrant(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(folder))
    try:
        yield QdrantVectorStore("papers", client=client)
    finally:
        client.close()


@cache
def postgres() -> Any:
    """Start PostgreSQL, once per test run, reached by a socket file only."""
    pgserver = pytest.importorskip("pgserver")
    folder = tempfile.mkdtemp(prefix="f2llm-pg-")
    server = pgserver.get_server(folder, cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    return server


def database(driver: str) -> str:
    """Make an empty database; return its URL for a driver."""
    import psycopg

    name = f"t{uuid4().hex}"
    with psycopg.connect(postgres().get_uri(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = postgres().get_uri(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    return url.replace("postgresql:", f"postgresql+{driver}:")


@contextmanager
def langchain_pgvector(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from langchain_postgres import PGVector
    from sqlalchemy import create_engine

    engine = create_engine(database("psycopg"))
    metadata = {"theirs": "kept"}
    yield PGVector(
        embeddings, connection=engine, collection_name="papers", collection_metadata=metadata
    )
    engine.dispose()


@contextmanager
def langchain_pgvector_table(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from langchain_postgres import Column, PGEngine, PGVectorStore

    engine = PGEngine.from_connection_string(database("asyncpg"))
    engine.init_vectorstore_table(
        "papers: mine",
        width,
        metadata_columns=[Column("source", "TEXT"), Column("it's", "INTEGER")],
    )
    yield PGVectorStore.create_sync(
        engine, embeddings, "papers: mine", metadata_columns=["source", "it's"]
    )
    engine._run_as_sync(engine.close())


@contextmanager
def llama_index_pgvector(folder: Path, embeddings: Any, width: int) -> Iterator[Any]:
    from llama_index.vector_stores.postgres import PGVectorStore

    store = PGVectorStore.from_params(
        connection_string=database("psycopg2"),
        async_connection_string=database("asyncpg"),
        table_name="Papers",
        embed_dim=width,
    )
    yield store
    store._engine.dispose()


KINDS: dict[str, Maker] = {
    kind.__name__: kind
    for kind in (
        chroma,
        langchain_chroma,
        llama_index_chroma,
        langchain_qdrant,
        llama_index_qdrant,
        langchain_pgvector,
        langchain_pgvector_table,
        llama_index_pgvector,
    )
}


class MemoryStore:
    """A store of numpy arrays, exact and without a database; it counts what is written."""

    name = "Memory collection 'papers'"
    id_namespace = ""

    def __init__(self, max_batch_size: int = 100) -> None:
        self.max_batch_size = max_batch_size
        self.rows: dict[str, tuple[Any, str | None, dict[str, Any]]] = {}
        self.stamp: dict[str, Any] | None = None
        self.writes = 0

    @property
    def width(self) -> int | None:
        return next((len(vector) for vector, _, _ in self.rows.values()), None)

    def read_stamp(self) -> dict[str, Any] | None:
        return self.stamp

    def write_stamp(self, stamp: Any) -> None:
        self.stamp = dict(stamp)

    def refusal(self, document: str, metadata: Any) -> str | None:
        return None

    def exclusive(self) -> AbstractContextManager[object]:
        return nullcontext()

    def count(self) -> int:
        return len(self.rows)

    def entries(self, keys: Any = ()) -> Iterator[Entry]:
        for id_, (_, _, metadata) in list(self.rows.items()):
            yield Entry(id_, {k: metadata[k] for k in keys if k in metadata})

    def get(self, ids: Any) -> Records:
        found = {
            i: (self.rows[i][1], self.rows[i][2], self.rows[i][0]) for i in ids if i in self.rows
        }
        return in_order(self.name, ids, found)

    def upsert(self, ids: Any, vectors: Any, documents: Any, metadatas: Any) -> None:
        given = batches(self, ids, vectors, documents, metadatas)
        for keys, rows, texts, kept in given:
            self.writes += 1
            self.rows |= dict(zip(keys, zip(rows, texts, kept, strict=True), strict=True))

    def delete(self, ids: Any) -> None:
        for id_ in ids:
            self.rows.pop(id_, None)

    def search(self, vector: Any, k: int, *, where: Any = None) -> list[Match]:
        chosen = parse(where)
        rows = [
            Match(id_, float(row @ vector / np.linalg.norm(row) / np.linalg.norm(vector)))
            for id_, (row, _, metadata) in self.rows.items()
            if passes(metadata, chosen)
        ]
        return sorted(rows, key=lambda match: -match.similarity)[:k]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, values: value in values,
    "$nin": lambda value, values: value not in values,
}


def passes(metadata: dict[str, Any], part: Any) -> bool:
    """Whether a filter lets a row pass, said once more in the plainest way."""
    if part is None:
        return True
    if isinstance(part, Group):
        return (all if part.operator == "$and" else any)(passes(metadata, p) for p in part.parts)
    value = metadata.get(part.key)
    if value is None:
        return part.operator in {"$ne", "$nin"}
    if part.operator in {"$gt", "$gte", "$lt", "$lte"} and isinstance(value, str):
        return False
    return _COMPARE[part.operator](value, part.value)
