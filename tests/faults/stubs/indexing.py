"""Indexing that is broken on purpose, each in one way that a check must find."""

from __future__ import annotations

from contextlib import nullcontext
from uuid import uuid4

from f2llm_core.indexing import index
from f2llm_core.indexing.records import SOURCE, RowMaker
from f2llm_core.progress import CallObserver


def index_with_a_manifest(store, model, records, batch_size):
    """Notes what it has read as done before the store has it, and believes its notes."""
    done = int((store.read_stamp() or {"done": 0})["done"])
    while read := records[done : done + 4 * batch_size]:
        done += len(read)
        store.write_stamp({"done": done})
        for start in range(0, len(read), batch_size):
            _write(store, model, read[start : start + batch_size])


def index_with_random_ids(store, model, records, batch_size, **_):
    """Begins from the start, with ids that say nothing."""
    for start in range(0, len(records), batch_size):
        _write(store, model, records[start : start + batch_size], random_ids=True)


def index_with_rows_shifted(store, model, records, batch_size):
    """Takes the vectors of the texts that are left, but counted from the batch before."""
    have = {entry.id for entry in store.entries()}
    maker = RowMaker(None)
    left = [record for record in records if maker.make(record, "").id not in have]
    shifted = [(left[i - 1 if len(left) < len(records) else i][1]) for i in range(len(left))]
    for start in range(0, len(left), batch_size):
        part = slice(start, start + batch_size)
        _write(store, model, left[part], texts=shifted[part])


def index_all_at_once(store, model, records, batch_size):
    """Embeds everything before it stores anything."""
    vectors = model.encode_document([text for _, text in records])
    CallObserver.embedded(None, len(records))
    for start in range(0, len(records), batch_size):
        part = slice(start, start + batch_size)
        _store(store, records[part], vectors[part])


def index_without_a_lock(store, model, records, **options):
    """Writes into a folder that another process writes into."""
    store.exclusive = nullcontext
    index(store, model, records, **options)


def _write(store, model, records, *, random_ids=False, texts=None):
    vectors = model.encode_document(texts or [text for _, text in records])
    CallObserver.embedded(None, len(records))
    _store(store, records, vectors, random_ids=random_ids)


def _store(store, records, vectors, *, random_ids=False):
    maker = RowMaker(None)
    rows = [maker.make(record, "") for record in records]
    store.upsert(
        [str(uuid4()) if random_ids else row.id for row in rows],
        vectors,
        [row.document for row in rows],
        [{SOURCE: row.source} for row in rows],
    )


HOW = {
    "manifest": index_with_a_manifest,
    "random ids": index_with_random_ids,
    "rows shifted": index_with_rows_shifted,
    "all at once": index_all_at_once,
    "without a lock": index_without_a_lock,
}
