# ruff: noqa: S608  (every value is a parameter, every name is quoted)
"""PostgreSQL with pgvector, in the tables of LangChain's and LlamaIndex's stores.

LangChain's `PGVector` keeps all collections in one table, and the stamp with the collection's own
metadata. In the other stores a collection is a table, and the stamp is a line of the table's
comment: it is dropped, renamed and dumped with the table, and other lines stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import MetaData, Table, text
from sqlalchemy.schema import SetTableComment

from f2llm_core.errors import StoreError
from f2llm_core.matryoshka import Vectors
from f2llm_core.stores import pgvector_layouts
from f2llm_core.stores.base import (
    PAGE,
    Entry,
    Match,
    Metadata,
    Records,
    batches,
    in_order,
    pages,
    store_errors,
)
from f2llm_core.stores.filters import Where, to_sql
from f2llm_core.stores.pgvector_layouts import COLLECTIONS, SCAN, Layout, Run, literal, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BATCH = 1000  # rows of a transaction; the database itself would take far more
# LlamaIndex's ids are not unique to the database: two writers of one would both insert.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext(:table))"
_STAMP = re.compile(r"^f2llm: (\{.*\})\n?", re.MULTILINE)


class PGVectorStore:
    """One collection, in the layout of the framework whose store it was opened from."""

    def __init__(self, run: Run, layout: Layout) -> None:
        """Use a collection.

        Args:
            run: Calls a function with a connection inside a transaction, and returns its result.
            layout: Of the table.
        """
        self._run = run
        self._layout = layout
        self._table = ".".join(quoted(n) for n in (layout.schema, layout.table) if n)
        self._id, self._order = quoted(layout.id), quoted(layout.order)
        self._document, self._embedding = quoted(layout.document), quoted(layout.embedding)
        pairs = "".join(f", {literal(key)}, {quoted(key)}" for key in layout.extra)[2:]
        extra = f" || jsonb_strip_nulls(jsonb_build_object({pairs}))" if pairs else ""
        self._metadata = f"(coalesce(CAST({quoted(layout.metadata)} AS jsonb), '{{}}'){extra})"
        self._where = "true"
        if layout.collection is not None:
            self._where = f"collection_id = (SELECT uuid FROM {COLLECTIONS} WHERE name = :name)"

    @property
    def name(self) -> str:
        """What and which it is."""
        return f"PostgreSQL collection {self._layout.collection or self._layout.table!r}"

    @property
    def max_batch_size(self) -> int:
        """Rows of one transaction."""
        return _BATCH

    @property
    def width(self) -> int | None:
        """What the column was declared with, else that of a row."""
        if declared := re.search(r"\((\d+)\)", self._types[self._layout.embedding]):
            return int(declared[1])
        found = self._query(
            "tell its width",
            f"SELECT vector_dims({self._embedding}) FROM {self._table} "
            f"WHERE {self._where} AND {self._embedding} IS NOT NULL LIMIT 1",
        )
        return found[0][0] if found else None

    @property
    def id_namespace(self) -> str:
        """The name of a LangChain collection, all of which share one table and its primary key."""
        return self._layout.collection or ""

    def read_stamp(self) -> dict[str, Any] | None:
        """Return the stamp."""
        stamp: Any = None
        if self._layout.collection is not None:
            stamp = self._cmetadata().get("f2llm")
        elif found := _STAMP.search(self._comment()):
            stamp = json.loads(found[1])
        return stamp if isinstance(stamp, dict) else None

    def write_stamp(self, stamp: Metadata) -> None:
        """Write the stamp; needs the right to comment on the table, if it is one of its own."""
        if self._layout.collection is not None:
            content = json.dumps(self._cmetadata() | {"f2llm": dict(stamp)})
            sql = f"UPDATE {COLLECTIONS} SET cmetadata = CAST(:content AS json) WHERE name = :name"
            self._query("keep its stamp", sql, content=content)
            return
        rest = _STAMP.sub("", self._comment()).rstrip("\n")
        comment = "\n".join(filter(None, [rest, f"f2llm: {json.dumps(dict(stamp))}"]))
        layout = self._layout
        table = Table(layout.table, MetaData(), schema=layout.schema, comment=comment)

        def work(connection: Connection) -> list[Any]:
            connection.execute(SetTableComment(table))
            return []

        with store_errors(self.name, "keep its stamp"):
            self._run(work)

    def refusal(self, document: str, metadata: Metadata) -> str | None:
        """Say so of NUL characters, and of values that JSON or a column does not take."""
        types = {key: self._types[key] for key in self._layout.extra}
        return pgvector_layouts.refusal(document, metadata, types)

    def exclusive(self) -> AbstractContextManager[object]:
        """A transaction is lock enough."""
        return nullcontext()

    def count(self) -> int:
        """Return the number of rows."""
        sql = f"SELECT count(*) FROM {self._table} WHERE {self._where}"
        return int(self._query("count its rows", sql)[0][0])

    def entries(self, keys: Sequence[str] = ()) -> Iterator[Entry]:
        """Yield every row's id, in the order of the primary key."""
        picked = (
            f"(SELECT jsonb_object_agg(key, value) FROM jsonb_each({self._metadata}) "
            "WHERE key = ANY(CAST(:keys AS text[])))"
        )
        head = (
            f"SELECT CAST({self._id} AS text), CAST({self._order} AS text), "
            f"CAST({picked if keys else 'NULL'} AS text) FROM {self._table} WHERE {self._where}"
        )
        # By the table's column, not by the text that a column of the result makes of it.
        tail = f" ORDER BY {self._table}.{self._order} LIMIT {PAGE}"
        after = f" AND {self._order} > CAST(:last AS {self._types[self._layout.order]})"
        asked = {"keys": list(keys)} if keys else {}
        rows = self._query("list its rows", head + tail, **asked)
        while rows:
            for id_, _, metadata in rows:
                yield Entry(id_, json.loads(metadata) if metadata else {})
            rows = self._query("list its rows", head + after + tail, last=rows[-1][1], **asked)

    def get(self, ids: Sequence[str]) -> Records:
        """Return rows in the order of `ids`."""
        sql = (
            f"SELECT CAST({self._id} AS text), {self._document}, CAST({self._metadata} AS text), "
            f"CAST({self._embedding} AS text) FROM {self._table} "
            f"WHERE {self._where} AND {self._id} = ANY({self._cast_ids()})"
        )
        found: dict[str, tuple[str | None, Metadata, Any]] = {}
        for page in pages(ids):
            for id_, document, metadata, vector in self._query("read rows", sql, ids=page):
                found[id_] = document, json.loads(metadata), _parsed(vector)
        return in_order(self.name, ids, found)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        documents: Sequence[str],
        metadatas: Sequence[Metadata],
    ) -> None:
        """Write rows; see `VectorStore.upsert`."""
        insert = self._insert()
        given = batches(self, ids, vectors, documents, metadatas)
        for keys, rows, texts, metadata in given:
            values = {
                "ids": keys,
                "vectors": [f"[{','.join(map(repr, row))}]" for row in rows.tolist()],
                "documents": texts,
                "metadatas": [json.dumps(one) for one in metadata],
            }
            self._query(f"write {len(keys)} rows", _LOCK, self._delete(), insert, **values)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""
        for page in pages(ids):
            self._query(f"delete {len(page)} rows", self._delete(), ids=page)

    def search(self, vector: Vectors, k: int, *, where: Where | None = None) -> list[Match]:
        """Return the nearest rows by cosine, through an index if there is one for it.

        With a filter, an index may return fewer than `k` before pgvector 0.8: it is applied to
        what the index found.
        """
        chosen, values = to_sql(where, self._metadata)
        distance = f"{self._embedding} <=> CAST(:vector AS {self._types[self._layout.embedding]})"
        sql = (
            f"SELECT CAST({self._id} AS text), 1 - ({distance}) FROM {self._table} "
            f"WHERE {self._where} AND {chosen} ORDER BY {distance} LIMIT :k"
        )
        values |= {"vector": f"[{','.join(map(repr, vector.tolist()))}]", "k": k}
        found = [Match(i, float(s)) for i, s in self._query("search", SCAN, sql, **values)]
        return sorted(found, key=lambda match: -match.similarity)

    @cached_property
    def _types(self) -> dict[str, str]:
        """The table's columns and their types, as they are written in SQL."""
        sql = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped"
        )
        found = dict(self._query("be opened", sql))
        if not found:
            msg = f"{self.name} does not exist: there is no table {self._table}."
            raise StoreError(msg)
        return found

    def _query(self, doing: str, *statements: str, **values: object) -> list[Any]:
        """Run statements in one transaction; return the rows of the last, if it has any."""
        values |= {"name": self._layout.collection, "table": self._table.replace("\\:", ":")}

        def work(connection: Connection) -> list[Any]:
            for sql in statements:
                result = connection.execute(text(sql), values)
            return list(map(tuple, result)) if result.returns_rows else []

        with store_errors(self.name, doing):
            return self._run(work)

    def _cast_ids(self) -> str:
        return f"CAST(:ids AS {self._types[self._layout.id]}[])"

    def _delete(self) -> str:
        chosen = f"{self._id} = ANY({self._cast_ids()})"
        return f"DELETE FROM {self._table} WHERE {self._where} AND {chosen}"

    def _insert(self) -> str:
        layout, types = self._layout, self._types
        columns = [self._id, self._document, self._embedding, quoted(layout.metadata)]
        extra = f"CAST(ARRAY[{', '.join(map(literal, layout.extra))}] AS text[])"
        values = [
            f"CAST(id AS {types[layout.id]})",
            "document",
            f"CAST(vector AS {types[layout.embedding]})",
            f"CAST(CAST(metadata AS jsonb) - {extra} AS {types[layout.metadata]})",
        ]
        for key in layout.extra:
            columns.append(quoted(key))
            values.append(f"CAST(CAST(metadata AS jsonb) ->> {literal(key)} AS {types[key]})")
        if layout.collection is not None:
            columns.append("collection_id")
            values.append(f"(SELECT uuid FROM {COLLECTIONS} WHERE name = :name)")
        arrays = (f"CAST(:{n} AS text[])" for n in ("ids", "vectors", "documents", "metadatas"))
        return (
            f"INSERT INTO {self._table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM unnest({', '.join(arrays)}) AS rows (id, vector, document, metadata)"
        )

    def _cmetadata(self) -> dict[str, Any]:
        sql = f"SELECT CAST(cmetadata AS text) FROM {COLLECTIONS} WHERE name = :name"
        rows = self._query("be opened", sql)
        if not rows:
            msg = f"{self.name} does not exist."
            raise StoreError(msg)
        return (json.loads(rows[0][0]) if rows[0][0] else None) or {}

    def _comment(self) -> str:
        sql = "SELECT obj_description(to_regclass(:table), 'pg_class')"
        return self._query("be opened", sql)[0][0] or ""


def from_langchain(store: Any) -> PGVectorStore:  # noqa: ANN401  (not imported)
    """Use the collection of a `langchain_postgres.PGVector`."""
    return PGVectorStore(*pgvector_layouts.langchain(store))


def from_langchain_table(store: Any) -> PGVectorStore:  # noqa: ANN401
    """Use the table of a `langchain_postgres.PGVectorStore`."""
    return PGVectorStore(*pgvector_layouts.langchain_table(store))


def from_llama_index(store: Any) -> PGVectorStore:  # noqa: ANN401
    """Use the table of a `llama_index` `PGVectorStore`."""
    return PGVectorStore(*pgvector_layouts.llama_index(store))


def _parsed(vector: str | None) -> Vectors | None:
    return None if vector is None else np.fromstring(vector.strip("[]"), np.float32, sep=",")
