"""Where LangChain's and LlamaIndex's stores keep what in PostgreSQL, how to reach it, what fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.dialects.postgresql import dialect

from f2llm_core.errors import ConfigurationError
from f2llm_core.stores.base import Metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PREPARER = dialect().identifier_preparer  # type: ignore[no-untyped-call]

#: LangChain's table of collections.
COLLECTIONS = "langchain_pg_collection"

#: Before a search: by itself an HNSW index gives up at 40 rows, and an IVFFlat one at those of one
#: list. From 0.8 on pgvector goes on until there are enough.
SCAN = """
SELECT set_config('hnsw.ef_search', CAST(greatest(least(1000, :k), CAST(coalesce(
        nullif(current_setting('hnsw.ef_search', true), ''), '40') AS integer)) AS text), true),
    CASE WHEN CAST(string_to_array(substring(extversion FROM '^[0-9]+[.][0-9]+'), '.') AS integer[])
        >= ARRAY[0, 8] THEN set_config('hnsw.iterative_scan', 'strict_order', true)
        || set_config('ivfflat.iterative_scan', 'relaxed_order', true) END
FROM pg_extension WHERE extname = 'vector'
"""

# Bits of the integers of columns, but for the sign; and what a boolean may be written as.
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")  # or the beginning of one

#: Calls a function with a connection inside a transaction, and returns what it returns.
Run = Callable[[Callable[["Connection"], list[Any]]], list[Any]]


@dataclass(frozen=True)
class Layout:
    """Which columns of which table hold what.

    Attributes:
        table: Its name.
        schema: Its schema; None for the connection's.
        id: Column of the ids.
        order: Column of the primary key.
        document: Column of the texts.
        metadata: Column of the metadata as JSON.
        embedding: Column of the vectors.
        extra: Columns that hold one metadata key each, of their names.
        collection: Only rows of this LangChain collection.
    """

    table: str
    schema: str | None
    id: str
    order: str
    document: str
    metadata: str
    embedding: str
    extra: tuple[str, ...] = ()
    collection: str | None = None


class Opened(NamedTuple):
    """A collection that was found.

    Attributes:
        run: Runs transactions.
        layout: Of its table.
    """

    run: Run
    layout: Layout


def langchain(store: Any) -> Opened:  # noqa: ANN401  (not imported)
    """Find the collection of a `langchain_postgres.PGVector`.

    Raises:
        ConfigurationError: It is asynchronous.
    """
    if store._engine is None:
        msg = "This PGVector works asynchronously only; make one with async_mode=False for this."
        raise ConfigurationError(msg)
    layout = Layout(
        table="langchain_pg_embedding",
        schema=None,
        id="id",
        order="id",
        document="document",
        metadata="cmetadata",
        embedding="embedding",
        collection=store.collection_name,
    )
    return Opened(_in_transaction(store._engine), layout)


def langchain_table(store: Any) -> Opened:  # noqa: ANN401
    """Find the table of a `langchain_postgres.PGVectorStore`.

    Raises:
        ConfigurationError: It has no JSON column for metadata, or one for full-text search, which
            only LangChain can fill.
    """
    inner, engine = store._PGVectorStore__vs, store._engine
    hybrid = inner.hybrid_search_config
    if inner.metadata_json_column is None or (hybrid and hybrid.tsv_column):
        msg = "This PGVectorStore needs a JSON column for metadata, and none for full-text search."
        raise ConfigurationError(msg)

    def run(work: Callable[[Connection], list[Any]]) -> list[Any]:
        async def call() -> list[Any]:
            async with engine._pool.begin() as connection:
                rows: list[Any] = await connection.run_sync(work)
                return rows

        rows: list[Any] = engine._run_as_sync(call())
        return rows

    layout = Layout(
        table=inner.table_name,
        schema=inner.schema_name,
        id=inner.id_column,
        order=inner.id_column,
        document=inner.content_column,
        metadata=inner.metadata_json_column,
        embedding=inner.embedding_column,
        extra=tuple(inner.metadata_columns),
    )
    return Opened(run, layout)


def llama_index(store: Any) -> Opened:  # noqa: ANN401
    """Find the table of a `llama_index` `PGVectorStore`, which makes it if need be."""
    store._initialize()
    layout = Layout(
        table=f"data_{store.table_name}",
        schema=store.schema_name,
        id="node_id",
        order="id",
        document="text",
        metadata="metadata_",
        embedding="embedding",
    )
    return Opened(_in_transaction(store._engine), layout)


def _in_transaction(engine: Any) -> Run:  # noqa: ANN401
    def run(work: Callable[[Connection], list[Any]]) -> list[Any]:
        with engine.begin() as connection:
            return work(connection)

    return run


def quoted(name: str) -> str:
    """Return an identifier for SQLAlchemy's `text`, which takes a colon for a parameter."""
    identifier: str = _PREPARER.quote_identifier(name)
    return identifier.replace(":", "\\:")


def literal(value: str) -> str:
    """Return a text as SQL, for the same."""
    return "'" + value.replace("'", "''").replace(":", "\\:") + "'"


def refusal(document: str, metadata: Metadata, types: Mapping[str, str]) -> str | None:
    """Say why PostgreSQL cannot hold a row; None if it can.

    Args:
        document: Its text.
        metadata: What is kept beside it.
        types: Of the table's columns for single keys of metadata. Numbers and booleans are checked.
    """
    for where, found in (("text", document), ("metadata", metadata)):
        if any("\0" in text for text in _texts_in(found)):
            return f"its {where} holds a NUL character; remove it: text.replace('\\0', '')"
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:  # such as NaN
        return f"its metadata is no JSON: {error}"
    for key, type_ in types.items():
        if metadata.get(key) is not None and not _fits(metadata[key], type_):
            return f"{key!r} of its metadata is {metadata[key]!r}, and the column {type_}"
    return None


def _fits(value: object, type_: str) -> bool:
    """Tell whether a column takes a value as JSON writes it; True for types not known here."""
    written = value if isinstance(value, str) else json.dumps(value)
    try:
        if type_ in _BITS:
            return bool(-(2 ** _BITS[type_]) <= int(written) < 2 ** _BITS[type_])
        if type_ in {"real", "double precision"} or type_.startswith("numeric"):
            float(written)
    except ValueError:
        return False
    word = written.strip().lower()
    known = word not in {"", "o"} and any(one.startswith(word) for one in _BOOLEANS)
    return type_ != "boolean" or known


def _texts_in(value: object) -> Iterator[str]:
    """Yield the strings of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for one in (*value, *value.values()) if isinstance(value, Mapping) else value:
            yield from _texts_in(one)
