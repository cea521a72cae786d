"""Indexing: what comes is in the store, once and as it is, whatever happened before."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from langchain_core.documents import Document
from llama_index.core import Document as LlamaDocument
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from f2llm_core import (
    F2LLM,
    ConfigurationError,
    FingerprintError,
    InputError,
    NonFiniteError,
    StoreError,
    TruncationWarning,
)
from f2llm_core.indexing import Failure, IndexReport, Placed, index
from f2llm_core.indexing import run as run_module
from f2llm_core.indexing.records import DIGEST, SOURCE
from langchain_f2llm import F2LLMEmbeddings
from store_kinds import MemoryStore
from support import tiny_model


@pytest.fixture
def store():
    return MemoryStore()


def numbered(n, start=0):
    return [(f"{i}.txt", f"This is number {i}.", {"n": i}) for i in range(start, start + n)]


def contents(store):
    """Return how often which source has which text."""
    return Counter((metadata[SOURCE], text) for _, text, metadata in store.rows.values())


def counts(report):
    return report.added, report.changed, report.unchanged, report.removed


def assert_right(store, encoder, records):
    """The store holds these records and no others, each with the vector of its text."""
    assert contents(store) == Counter(record[:2] for record in records)
    vectors = np.stack([vector for vector, _, _ in store.rows.values()])
    expected = encoder.encode_document([text for _, text, _ in store.rows.values()])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


# What comes, and what came before


def test_rows_are_texts_vectors_and_metadata(encoder, store):
    records = numbered(250)
    report = index(store, encoder, iter(records), batch_size=64)
    assert counts(report) == (250, 0, 0, 0)
    assert report.embedded == 250
    assert report.failed == ()
    assert report.seconds > 0
    assert_right(store, encoder, records)
    for _, _, metadata in store.rows.values():
        assert f"{metadata['n']}.txt" == metadata[SOURCE]


def test_a_second_time_nothing_is_embedded_or_written(encoder, store):
    index(store, encoder, numbered(50))
    passes, writes = encoder.stats.passes, store.writes
    assert counts(index(store, encoder, numbered(50))) == (0, 0, 50, 0)
    assert (encoder.stats.passes, store.writes) == (passes, writes)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 55])
def test_batches_are_those_of_the_store(encoder, count):
    store = MemoryStore(max_batch_size=16)
    index(store, encoder, numbered(count))
    assert_right(store, encoder, numbered(count))
    assert store.writes == -(-count // 16)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 1000])
def test_any_batch_size_is_fine(encoder, store, batch_size):
    index(store, encoder, numbered(7), batch_size=batch_size)
    assert_right(store, encoder, numbered(7))


def test_a_changed_text_takes_the_place_of_the_former(encoder, store):
    index(store, encoder, numbered(10))
    records = [*numbered(9), ("9.txt", "Another text.", {})]
    report = index(store, encoder, records)
    assert counts(report) == (0, 1, 9, 0)
    assert report.embedded == 1
    assert_right(store, encoder, records)


def test_a_paragraph_more_at_the_top_is_all_that_is_embedded(encoder, store):
    chunks = [("book", f"Paragraph {i}.") for i in range(20)]
    index(store, encoder, chunks)
    report = index(store, encoder, [("book", "Preface."), *chunks])
    assert counts(report) == (1, 0, 20, 0)
    assert report.embedded == 1


def test_other_metadata_needs_no_embedding(encoder, store):
    index(store, encoder, [("a", "text", {"tag": "old", "gone": 1}), ("b", "text")])
    passes = encoder.stats.passes
    report = index(store, encoder, [("a", "text", {"tag": "new"}), ("b", "text")])
    assert counts(report) == (0, 1, 1, 0)
    assert (report.embedded, encoder.stats.passes) == (0, passes)
    kept = {metadata[SOURCE]: metadata for _, _, metadata in store.rows.values()}
    assert kept["a"].keys() == {"tag", SOURCE, DIGEST}
    assert kept["a"]["tag"] == "new"
    assert_right(store, encoder, [("a", "text"), ("b", "text")])


def test_a_shorter_document_loses_its_last_chunks(encoder, store):
    index(store, encoder, [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")])
    assert counts(index(store, encoder, [("a", "1"), ("a", "4")])) == (0, 1, 1, 1)
    assert_right(store, encoder, [("a", "1"), ("a", "4"), ("b", "1")])


def test_a_renamed_document_is_another(encoder, store):
    index(store, encoder, [("old", "text"), ("other", "text")])
    assert counts(index(store, encoder, [("new", "text")])) == (1, 0, 0, 0)
    report = index(store, encoder, [("new", "text")], remove_missing="collection")
    assert counts(report) == (0, 0, 1, 2)
    assert_right(store, encoder, [("new", "text")])


def test_nothing_is_removed_if_so_asked(encoder, store):
    index(store, encoder, [("a", "1"), ("b", "1")])
    index(store, encoder, [("a", "2")], remove_missing=None)
    assert_right(store, encoder, [("a", "1"), ("b", "1"), ("a", "2")])


def test_no_documents_at_all_remove_nothing_but_from_the_collection(encoder, store):
    index(store, encoder, numbered(3))
    assert counts(index(store, encoder, [])) == (0, 0, 0, 0)
    assert counts(index(store, encoder, [], remove_missing="collection")) == (0, 0, 0, 3)


@pytest.mark.parametrize("id_", ["theirs", "0b3f5c52-6a5c-4c2e-9d7b-0f6f4a0d0001"])
def test_rows_of_others_stay(encoder, store, id_):
    index(store, encoder, numbered(3))
    store.upsert([id_], np.ones((1, 64)), ["text"], [{SOURCE: "x"} if id_ == "theirs" else {}])
    report = index(store, encoder, [], remove_missing="collection")
    assert report.removed == 3
    assert list(store.rows) == [id_]


def test_equal_texts_are_as_many_rows_as_there_are(encoder, store):
    records = [("a", "same"), ("a", "same"), ("b", "same"), ("a", "same")]
    assert counts(index(store, encoder, records[:3])) == (3, 0, 0, 0)
    assert_right(store, encoder, records[:3])
    assert counts(index(store, encoder, records[:1])) == (0, 0, 1, 1)
    assert_right(store, encoder, [("a", "same"), ("b", "same")])
    # Of a source that comes again later, equal texts are one: nothing is counted across sources.
    assert counts(index(store, encoder, records, batch_size=2)) == (1, 0, 3, 0)


def test_records_without_id_are_their_text(encoder, store):
    records = [(None, "one"), (None, "two"), (None, "one")]
    assert counts(index(store, encoder, records)) == (2, 0, 1, 0)
    assert counts(index(store, encoder, [(None, "three")])) == (1, 0, 0, 0)
    assert len(store.rows) == 3
    index(store, encoder, records, remove_missing="collection")
    assert sorted(text for _, text, _ in store.rows.values()) == ["one", "two"]


def test_a_text_that_comes_twice_is_embedded_once_also_while_it_is_on_its_way(encoder, store):
    records = [(None, "one"), (None, "one"), (None, "two"), (None, "two")]
    report = index(store, encoder, records, batch_size=2)
    assert (report.added, report.unchanged, report.embedded) == (2, 2, 2)


def test_it_is_read_no_further_ahead_than_its_batches(encoder):
    read = itertools.count()

    class Watching(MemoryStore):
        def upsert(self, ids, vectors, documents, metadatas):
            super().upsert(ids, vectors, documents, metadatas)
            ahead.append(given[-1] - len(self.rows))

    given, ahead = [], []

    def stream():
        for record in numbered(1000):
            given.append(next(read) + 1)
            yield record

    store = Watching()
    index(store, encoder, stream(), batch_size=40)
    assert len(store.rows) == 1000
    assert max(ahead) <= 40


def test_the_next_batch_is_embedded_while_one_is_stored(checkpoint):
    model = F2LLM(checkpoint, dtype="float32")

    class Waiting(MemoryStore):
        def upsert(self, ids, vectors, documents, metadatas):
            super().upsert(ids, vectors, documents, metadatas)
            until = time.monotonic() + 30  # a guard
            while len(self.rows) < 40 and model.stats.texts <= len(self.rows):
                assert time.monotonic() < until, "nothing is embedded meanwhile"
                time.sleep(0.001)

    store = Waiting()
    index(store, model, numbered(40), batch_size=20)
    assert len(store.rows) == 40


# What can be indexed


def test_langchain_documents(encoder, store):
    documents = [
        Document(page_content="one", metadata={"source": "a.txt", "page": 1}),
        Document(page_content="two", metadata={"source": "a.txt", "page": 2}),
        Document(id="own", page_content="three", metadata={"source": "b.txt"}),
        Document(page_content="four"),
    ]
    index(store, encoder, documents)
    found = {text: metadata for _, text, metadata in store.rows.values()}
    assert [found[text][SOURCE] for text in ("one", "two", "three")] == ["a.txt", "a.txt", "own"]
    assert found["two"]["page"] == 2
    assert_right(
        store, encoder, [(found[d.page_content][SOURCE], d.page_content) for d in documents]
    )
    assert counts(index(store, encoder, documents)) == (0, 0, 4, 0)


def chunks_of(text, id_="doc"):
    document = LlamaDocument(text=text, metadata={"file": "a.txt"}, id_=id_)
    return TokenTextSplitter(chunk_size=20, chunk_overlap=0).get_nodes_from_documents([document])


def test_llama_index_nodes_are_stored_as_their_own_stores_do(encoder, store):
    text = " ".join(f"word{i}" for i in range(60))
    nodes = chunks_of(text)
    assert len(nodes) > 3
    index(store, encoder, nodes)
    expected = encoder.encode_document([n.get_content(MetadataMode.EMBED) for n in nodes])
    for node, vector, (id_, row) in zip(nodes, expected, store.rows.items(), strict=True):
        np.testing.assert_allclose(row[0], vector, atol=1e-5)
        back = metadata_dict_to_node(row[2], text=row[1])
        assert back.node_id == id_
        assert (back.text, back.metadata, back.ref_doc_id) == (node.text, node.metadata, "doc")
        assert row[2][SOURCE] == "doc"
    # Cut again, the nodes have other ids, and are the same.
    assert counts(index(store, encoder, chunks_of(text))) == (0, 0, len(nodes), 0)


def test_a_node_of_no_document_is_its_own_source(encoder, store):
    index(store, encoder, [TextNode(text="a", id_="n1"), LlamaDocument(text="b", id_="d1")])
    assert contents(store) == Counter([("n1", "a"), ("d1", "b")])


def test_a_source_by_metadata_outlasts_random_ids(encoder, store):
    text = " ".join(f"word{i}" for i in range(60))
    first = index(store, encoder, chunks_of(text, "random"), source_key="file")
    again = index(store, encoder, chunks_of(text, "another"), source_key="file")
    assert counts(again) == (0, 0, first.added, 0)
    assert len(store.rows) == first.added
    with pytest.raises(InputError, match=r"documents\[0\]: its metadata has no 'page'"):
        index(store, encoder, chunks_of(text), source_key="page")


def test_an_adapter_is_a_model_too(store, checkpoint):
    index(store, F2LLMEmbeddings(model=checkpoint, dtype="float32"), numbered(3))
    assert len(store.rows) == 3


@pytest.mark.parametrize(
    "documents",
    ["text", b"text", None, 3, {"a": "b"}, Document(page_content="a"), TextNode(text="a")],
)
def test_one_document_is_no_list_of_them(encoder, store, documents):
    with pytest.raises(InputError, match="Pass an iterable of documents"):
        index(store, encoder, documents)


# What cannot be indexed

BAD = [
    (("a", None), "the text is None"),
    (("a", "\ud800"), "lone surrogate"),
    (("\udfff", "a"), "lone surrogate"),
    (("a", "a", {"k": "\ud800"}), "its metadata cannot be stored"),
    (("a", "a", {"k": object()}), "its metadata cannot be stored"),
    (("a", "a", {"k": [float("nan")]}), "its metadata cannot be stored"),
    (("a", "a", {1: "a"}), "not a str"),
    (("a", "a", ["k"]), "its metadata is a list"),
    ((1, "a"), "its source is 1"),
    (("a",), "expected"),
    ("text", "it is a str; expected"),
    (None, "it is a NoneType; expected"),
    (SimpleNamespace(page_content="a"), "expected"),
    (Document.model_construct(page_content=None, metadata={}), "the text is None"),
    (InputError("line is broken"), "line is broken"),
    (TextNode(text="a", metadata={"k": object()}), "its metadata cannot be stored"),
    (("a", "a", {"_node_content": "text"}), "no LlamaIndex node"),
    (("a", "a", {"_node_content": "[1]"}), "no LlamaIndex node"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_document_ends_it_and_what_came_before_is_stored(encoder, store, bad, reason):
    index(store, encoder, [("old", "text")])
    documents = [*numbered(25), Placed("file.jsonl:26", bad), *numbered(5, 25)]
    with pytest.raises(InputError, match=f"^file.jsonl:26: .*{reason}") as caught:
        index(store, encoder, documents, batch_size=20, remove_missing="collection")
    assert "25 rows were stored" in str(caught.value)
    assert_right(store, encoder, [("old", "text"), *numbered(25)])


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_bad_documents_are_collected_and_nothing_is_removed_then(encoder, store, bad, reason):
    index(store, encoder, [("old", "text")])
    report = index(
        store, encoder, [bad, *numbered(5)], on_error="collect", remove_missing="collection"
    )
    [failure] = report.failed
    assert failure.place == "documents[0]"
    assert reason in failure.reason
    assert not failure.reason.startswith("documents[0]: ")
    assert report.added == 5
    assert_right(store, encoder, [("old", "text"), *numbered(5)])


class Picky(MemoryStore):
    """Holds no metadata with lists."""

    def refusal(self, document, metadata):
        return "lists are no metadata" if isinstance(metadata.get("k"), list) else None


def test_what_the_store_cannot_hold_is_said_before_it_is_embedded(encoder):
    store, texts = Picky(), encoder.stats.texts
    documents = [("a", "a", {"k": ["x"]}), ("b", "b")]
    with pytest.raises(InputError, match=r"documents\[0\]: Memory .* cannot hold it: lists are no"):
        index(store, encoder, documents)
    assert encoder.stats.texts == texts
    report = index(store, encoder, documents, on_error="collect")
    assert [failure.place for failure in report.failed] == ["documents[0]"]
    assert_right(store, encoder, [("b", "b")])
    with pytest.raises(StoreError, match=r"cannot hold the row of id '2': lists .* Nothing was"):
        store.upsert(["1", "2"], np.ones((2, 64)), ["a", "b"], [{}, {"k": []}])
    assert store.count() == 1


def test_ids_of_collections_that_share_them_differ(encoder):
    class Sharing(MemoryStore):
        id_namespace = "one"

    stores = [MemoryStore(), Sharing()]
    for store in stores:
        assert counts(index(store, encoder, numbered(3))) == (3, 0, 0, 0)
        assert counts(index(store, encoder, numbered(3))) == (0, 0, 3, 0)
    assert not stores[0].rows.keys() & stores[1].rows.keys()


def test_what_goes_wrong_in_the_stream_comes_as_it_is_after_all_before_is_stored(encoder, store):
    def stream():
        yield from numbered(25)
        raise OSError("no such page")

    with pytest.raises(OSError, match="no such page"):
        index(store, encoder, stream(), batch_size=20)
    assert_right(store, encoder, numbered(25))


LONG = ("long.txt", "1" * 100, {})


def test_too_long_a_text_is_named_by_its_place(encoder, store):
    short = encoder.with_options(max_length=50)
    with pytest.warns(TruncationWarning, match=r"2 texts .* documents\[3\] \(101.*\[7\]") as caught:
        index(store, short, [*numbered(3), LONG, *numbered(3, 3), ("b", LONG[1])], batch_size=2)
    assert len(caught) == 1
    assert len(store.rows) == 8


def test_too_long_a_text_can_be_an_error(encoder, store):
    strict = encoder.with_options(max_length=50, on_truncate="error")
    documents = [*numbered(7), LONG, *numbered(7, 7), LONG]
    with pytest.raises(InputError, match=r"^documents\[7\] has 101 tokens") as caught:
        index(store, strict, documents, batch_size=10)
    assert "7 rows were stored" in str(caught.value)
    assert_right(store, encoder, numbered(7))
    report = index(store, strict, documents, batch_size=10, on_error="collect")
    assert [failure.place for failure in report.failed] == ["documents[7]", "documents[15]"]
    assert report.failed[0].reason.startswith("documents[7] has 101 tokens")
    assert_right(store, encoder, numbered(14))


def test_texts_that_are_too_long_are_counted_once(encoder, store, monkeypatch):
    strict = encoder.with_options(max_length=50, on_truncate="error")
    backend = type(strict._backend)
    submitted = []
    submit = backend.submit
    monkeypatch.setattr(
        backend, "submit", lambda *a, **k: submitted.append(len(a[1])) or submit(*a, **k)
    )
    long = [(f"long {i}", LONG[1]) for i in range(6)]
    report = index(store, strict, [long[0], *numbered(2), *long[1:]], on_error="collect")
    assert [f.place for f in report.failed] == [f"documents[{i}]" for i in (0, 3, 4, 5, 6, 7)]
    assert report.failed[-1].reason.startswith("documents[7] has 101 tokens, max_length is 50.")
    assert submitted == [8, 2]


def test_only_bad_documents_leave_nothing(encoder, store):
    strict = encoder.with_options(max_length=50, on_truncate="error")
    report = index(store, strict, [LONG, None], on_error="collect")
    assert len(report.failed) == 2
    assert store.rows == {}


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"on_error": "ignore"}, {"remove_missing": "all"}],
)
def test_wrong_options_are_refused_before_anything(encoder, store, wrong):
    [name] = wrong
    with pytest.raises(ConfigurationError, match=name):
        index(store, encoder, numbered(1), **wrong)
    assert store.stamp is None


# Whose collection it is


def test_the_stamp_stands_before_the_first_row(encoder):
    class Unstamped(MemoryStore):
        def upsert(self, *args):
            assert self.stamp is not None
            super().upsert(*args)

    store = Unstamped()
    index(store, encoder, numbered(3))
    assert store.stamp == encoder.fingerprint.to_dict()


def test_another_model_is_refused_before_anything_is_embedded(encoder, store):
    index(store, encoder, numbered(3))
    before, texts = dict(store.rows), encoder.stats.texts
    for other in (encoder.with_options(dimensions=32), encoder.with_options(task="sts")):
        with pytest.raises(FingerprintError):
            index(store, other, numbered(9), remove_missing="collection")
    assert store.rows == before
    assert encoder.stats.texts == texts


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_what_no_index_should_hold_is_not_stored(encoder, store, monkeypatch, value):
    def broken(self):
        rows = result(self)
        rows[-1] = value
        return rows

    result = run_module.Call.result
    monkeypatch.setattr(run_module.Call, "result", broken)
    with pytest.raises(NonFiniteError, match="0 rows were stored"):
        index(store, encoder, numbered(5))
    assert store.rows == {}


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_stored_row_that_is_no_vector_is_made_again(encoder, store, value):
    index(store, encoder, numbered(5))
    id_ = list(store.rows)[2]
    store.rows[id_] = (np.full(64, value, dtype=np.float32), *store.rows[id_][1:])
    assert index(store, encoder, numbered(5)).embedded == 1
    assert_right(store, encoder, numbered(5))


# What goes wrong in the middle


class Failing(MemoryStore):
    """Fails at one of its calls."""

    def __init__(self, at):
        super().__init__(max_batch_size=10)
        self.left = at

    def _call(self, name, *args):
        self.left -= 1
        if self.left == 0:
            raise StoreError("disk is full")
        return getattr(MemoryStore, name)(self, *args)

    def read_stamp(self):
        return self._call("read_stamp")

    def write_stamp(self, stamp):
        return self._call("write_stamp", stamp)

    def count(self):
        return self._call("count")

    def get(self, ids):
        return self._call("get", ids)

    def upsert(self, *args):
        return self._call("upsert", *args)

    def delete(self, ids):
        # One by one, so that it can fail in between.
        for id_ in ids:
            self._call("delete", [id_])


@pytest.mark.parametrize("at", range(1, 51))
def test_a_store_that_fails_keeps_what_it_has_and_is_resumed(encoder, at):
    old = [*numbered(30), *[("old.txt", f"Old {i}.") for i in range(20)]]
    new = [*numbered(20), *[(f"{i}.txt", f"Now {i}.") for i in range(20, 110)]]
    store = Failing(0)
    index(store, encoder, old)
    store.left, before = at, contents(store)
    with pytest.raises(StoreError, match="disk is full") as caught:
        index(store, encoder, new, remove_missing="collection")
    stored = sum((contents(store) - before).values())
    # At 1 it is the stamp that cannot be read, which is before anything is done.
    assert (f"By then {stored} rows were stored" in str(caught.value)) == (at > 1)
    if before - contents(store):  # nothing is removed before all that is new is there
        assert stored == 90
    again = index(store, encoder, new, remove_missing="collection")
    assert again.embedded == 90 - stored
    assert_right(store, encoder, new)


def test_ctrl_c_leaves_nothing_behind(encoder, store):
    def stream():
        yield from numbered(50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(store, encoder, stream(), batch_size=20)
    assert 0 < len(store.rows) < 50
    index(store, encoder, numbered(50))
    assert_right(store, encoder, numbered(50))


def test_what_another_wrote_meanwhile_is_not_removed(encoder, store):
    index(store, encoder, [("a", "1")])

    def stream():
        yield ("a", "2")
        index(store, encoder, [("a", "3")])

    index(store, encoder, stream())
    assert_right(store, encoder, [("a", "2"), ("a", "3")])


def test_progress_is_drawn_on_request(encoder, store, capsys):
    index(store, encoder, numbered(4))
    index(store, encoder, numbered(9), show_progress=True)
    drawn = capsys.readouterr().err
    assert "Embedding" in drawn
    assert "9/9" in drawn
    index(store, encoder, numbered(9))
    assert capsys.readouterr().err == ""


def test_a_report_is_a_plain_value():
    report = IndexReport(added=1, failed=(Failure("a", "b"),))
    assert report.failed[0].place == "a"
    with pytest.raises(AttributeError):
        report.added = 2


# Any history

SOURCES = st.sampled_from(["a", "b", "c"])
CHUNKS = st.lists(st.sampled_from(["one", "two", "three", "four\n", "하나"]), max_size=4)


class Histories(RuleBasedStateMachine):
    """Documents that come, change, are renamed and go; the store always is what they are."""

    @initialize()
    def begin(self):
        self.encoder = F2LLM(tiny_model(), dtype="float32")
        self.store = MemoryStore(max_batch_size=3)
        self.documents: dict[str, list[str]] = {}

    def update(self, sources, **options):
        records = [(source, text) for source in sources for text in self.documents[source]]
        before = contents(self.store)
        report = index(self.store, self.encoder, records, batch_size=4, **options)
        after = contents(self.store)
        assert report.added + report.changed == sum((after - before).values()) == report.embedded
        assert report.changed + report.removed == sum((before - after).values())

    @rule(source=SOURCES, chunks=CHUNKS)
    def write(self, source, chunks):
        self.documents[source] = chunks or ["only"]
        self.update([source])

    @rule(source=SOURCES, to=SOURCES)
    def rename(self, source, to):
        if source in self.documents:
            self.documents[to] = self.documents.pop(source)
            self.update(sorted(self.documents), remove_missing="collection")

    @rule(source=SOURCES)
    def remove(self, source):
        self.documents.pop(source, None)
        self.update(sorted(self.documents), remove_missing="collection")

    @rule(source=SOURCES, chunks=CHUNKS, at=st.integers(1, 12))
    def write_and_fail(self, source, chunks, at):
        self.documents[source] = chunks or ["only"]
        failing = Failing(at)
        failing.rows, failing.stamp = self.store.rows, self.store.stamp
        records = [(source, text) for text in self.documents[source]]
        with suppress(StoreError):
            index(failing, self.encoder, records, batch_size=4)
        self.store.rows, self.store.stamp = failing.rows, failing.stamp
        self.update([source])

    @invariant()
    def it_holds_what_there_is(self):
        expected = Counter((s, text) for s, texts in self.documents.items() for text in texts)
        assert contents(self.store) == expected


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
