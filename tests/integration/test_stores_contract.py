"""What must be true of every vector store behind `open_store`, each of them real."""

from __future__ import annotations

from uuid import UUID, uuid5

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from f2llm_core import NonFiniteError, StoreError
from f2llm_core.stores import open_store
from f2llm_core.stores.base import PAGE, sample
from f2llm_core.stores.chroma import ChromaStore
from f2llm_core.stores.filters import parse
from f2llm_core.stores.pgvector_layouts import refusal
from store_kinds import KINDS, passes

WIDTH = 8


def ids_of(n):
    return [str(uuid5(UUID(int=0), str(i))) for i in range(n)]


def unit_rows(n, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows_of(n, seed=0):
    metadatas = [{"source": f"{i}.txt", "hash": f"h{i}"} for i in range(n)]
    return ids_of(n), unit_rows(n, seed), [f"text {i}\n우주" for i in range(n)], metadatas


@pytest.fixture(params=KINDS)
def framework_store(request, tmp_path):
    with KINDS[request.param](tmp_path, DeterministicFakeEmbedding(size=WIDTH), WIDTH) as store:
        yield store


@pytest.fixture
def store(framework_store):
    return open_store(framework_store)


def test_a_new_one_is_empty(store):
    assert open_store(store) is store
    assert "papers" in store.name
    assert store.count() == 0
    assert store.read_stamp() is None
    assert list(store.entries(["hash"])) == []
    assert store.get(ids_of(2)).ids == []
    assert store.search(unit_rows(1)[0], 3) == []
    assert store.width in {None, WIDTH}


def test_rows_come_back_as_they_were(store):
    ids, vectors, documents, metadatas = rows_of(5)
    store.upsert(ids, vectors, documents, metadatas)
    assert store.width == WIDTH
    wanted = [ids[3], ids_of(6)[5], ids[0]]  # the second is not there
    records = store.get(wanted)
    assert records.ids == [ids[3], ids[0]]
    assert records.documents == [documents[3], documents[0]]
    assert records.metadatas == [metadatas[3], metadatas[0]]
    assert records.vectors.dtype == np.float32
    np.testing.assert_allclose(records.vectors, vectors[[3, 0]], atol=1e-6)
    assert {e.id: e.metadata for e in store.entries(["hash", "none"])} == {
        id_: {"hash": m["hash"]} for id_, m in zip(ids, metadatas, strict=True)
    }
    assert all(entry.metadata == {} for entry in store.entries())


def test_an_id_written_again_is_replaced_whole(store):
    ids, vectors, documents, metadatas = rows_of(3)
    store.upsert(ids, vectors, documents, metadatas)
    store.upsert(ids[1:2], vectors[:1], ["other"], [{"hash": "new", "gone": None}])
    assert store.count() == 3
    records = store.get(ids[1:2])
    assert records.documents == ["other"]
    assert records.metadatas == [{"hash": "new"}]  # and no source
    np.testing.assert_allclose(records.vectors, vectors[:1], atol=1e-6)
    store.upsert(ids[1:2], vectors[:1], ["other"], [{}])
    assert store.get(ids[1:2]).metadatas == [{}]


def test_delete(store):
    ids, *rows = rows_of(4)
    store.upsert(ids, *rows)
    store.delete([ids[1], ids[3], *ids_of(5)[4:]])
    store.delete([])
    assert sorted(entry.id for entry in store.entries()) == sorted([ids[0], ids[2]])


def test_search_gives_cosines_nearest_first(store):
    ids, vectors, *rest = rows_of(20)
    store.upsert(ids, vectors, *rest)
    asked = unit_rows(1, seed=7)[0]
    exact = vectors @ asked
    best = np.argsort(-exact)[:5]
    found = store.search(asked, 5)
    assert [match.id for match in found] == [ids[i] for i in best]
    np.testing.assert_allclose([m.similarity for m in found], exact[best], atol=1e-5)
    assert len(store.search(asked, 50)) == 20


FILTERS = [
    {"lang": "de"},
    {"lang": {"$ne": "de"}},
    {"lang": {"$in": ["de", "it's: %"]}},
    {"lang": {"$nin": ["de", "fr"]}},
    {"year": 2000},
    {"year": {"$ne": 2000}},
    {"year": {"$gte": 2000, "$lt": 2003}},
    {"year": {"$gt": 2000.5}},
    {"year": {"$in": [1999, 2001]}},
    {"share": 0.5},
    {"share": {"$nin": [0.5, 0.25]}},
    {"share": {"$lte": 0.25}},
    {"open": True},
    {"lang": {"$in": ["de", "fr"]}, "year": {"$gt": 1999}},
    {"$or": [{"lang": "fr"}, {"year": {"$lt": 2000}, "open": False}]},
    {"$and": [{"$or": [{"lang": "de"}, {"lang": "fr"}]}, {"open": True}]},
    {"none": "of them"},
    {"lang": {"$gt": 1}},  # though "2001" looks like a number
]
NOTHING = FILTERS[-2:]


def test_a_filter_means_the_same_in_every_store(store):
    ids, vectors, documents, _ = rows_of(40)
    metadatas = [
        {
            "year": 1998 + i % 7 if i % 4 else None,
            "lang": [None, "de", "fr", "it's: %", "2001"][i % 5],
            "share": i % 5 / 4,
            "open": i % 2 == 0,
        }
        for i in range(40)
    ]
    store.upsert(ids, vectors, documents, metadatas)
    asked = unit_rows(1, seed=7)[0]
    for where in FILTERS:
        expected = {i for i, m in zip(ids, metadatas, strict=True) if passes(m, parse(where))}
        assert {match.id for match in store.search(asked, 40, where=where)} == expected, where
        assert len(expected) not in {0, 40} or where in NOTHING, where
    assert len(store.search(asked, 40, where={})) == 40
    best = store.search(asked, 3, where={"open": True})
    exact = [i for i in np.argsort(-(vectors @ asked)) if metadatas[i]["open"]][:3]
    assert [match.id for match in best] == [ids[i] for i in exact]


def test_a_key_with_dots_and_blanks_is_one_key(store):
    ids, vectors, documents, _ = rows_of(3)
    store.upsert(ids, vectors, documents, [{"a.b": 1}, {"a b": 1}, {"a": 1, "l[0]": 2}])
    for where, place in (({"a.b": 1}, 0), ({"a b": 1}, 1), ({"l[0]": 2}, 2)):
        assert [match.id for match in store.search(vectors[0], 3, where=where)] == [ids[place]]


ODD = {
    "a list": ["x", "y"],
    "a mixed list": ["x", 1],
    "no list": [],
    "a mapping": {"x": [1]},
    "a large number": 2**70,
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "NUL": "a\0b",
    "a key with NUL": {"a\0b": 1},
    "quotes": "'\" \\ %s :x",
    "no text": "",
}


def test_metadata_comes_back_as_it_was_or_is_refused_with_the_reason(store):
    """Never changed without a word, and never the store's own error after the batch is embedded."""
    ids, vectors, documents, _ = rows_of(len(ODD) + 1)
    metadatas = [*({"k": value} for value in ODD.values()), {"": 1}]
    refused = set()
    for id_, vector, document, metadata in zip(ids, vectors, documents, metadatas, strict=True):
        if reason := store.refusal(document, metadata):
            refused.add(id_)
            with pytest.raises(StoreError, match=r"cannot hold the row of id .* Nothing") as caught:
                store.upsert([id_], vector[None], [document], [metadata])
            assert reason in str(caught.value)
        else:
            store.upsert([id_], vector[None], [document], [metadata])
            assert str(store.get([id_]).metadatas) == str([metadata])
    assert store.count() == len(ids) - len(refused)
    assert ids[list(ODD).index("quotes")] not in refused


@pytest.mark.parametrize("document", ["", " \n", "a\0b", "\x1b[0m \ufffe"])
def test_a_text_comes_back_as_it_was_or_is_refused(store, document):
    ids, vectors, _, metadatas = rows_of(1)
    if store.refusal(document, {}):
        assert "\0" in document
        assert "PostgreSQL" in store.name
        return
    store.upsert(ids, vectors, [document], metadatas)
    assert store.get(ids).documents == [document]


def test_the_stamp_is_kept_with_the_collection(framework_store, store):
    stamp = {
        "dimensions": WIDTH,
        "instruction": 'Instruct: it\'s 100 %\n:q \\:x "Query": ',
        "n": None,
    }
    store.write_stamp({"dimensions": WIDTH, "older": 1})
    store.write_stamp(stamp)
    assert store.read_stamp() == stamp
    assert open_store(framework_store).read_stamp() == stamp
    store.upsert(*rows_of(2))
    assert store.read_stamp() == stamp
    assert store.count() == 2


def test_what_others_keep_with_the_collection_stays(store, request):
    kind = request.node.callspec.params["framework_store"]
    if kind in {"langchain_pgvector_table", "llama_index_pgvector"}:
        store._query("comment", f"COMMENT ON TABLE {store._table} IS 'theirs: kept\n100 %'")
    store.write_stamp({"dimensions": WIDTH, "first": 1})
    store.write_stamp({"dimensions": WIDTH, "second": 2})
    assert store.read_stamp() == {"dimensions": WIDTH, "second": 2}
    if kind in {"langchain_pgvector_table", "llama_index_pgvector"}:
        lines = store._comment().split("\n")
        assert lines[:2] == ["theirs: kept", "100 %"]
        assert len(lines) == 3
    elif kind == "langchain_pgvector":
        assert store._cmetadata()["theirs"] == "kept"
    elif kind == "langchain_qdrant":
        assert store._config().metadata["theirs"] == "kept"
    elif isinstance(store, ChromaStore):
        assert store._now().metadata["theirs"] == "kept"
        assert store.space == "cosine"


@pytest.mark.parametrize("of", ["1", "max-1", "max", "max+1", "3*max+7"])
def test_any_number_of_rows(store, framework_store, of):
    if isinstance(store, ChromaStore) and store._collection is not framework_store:
        pytest.skip("once is enough for a collection that is used in the same way")
    n = eval(of, {"max": store.max_batch_size})
    ids, vectors, documents, metadatas = rows_of(n)
    store.upsert(ids, vectors, documents, metadatas)
    assert store.count() == n
    entries = list(store.entries(["source"]))
    assert sorted(e.id for e in entries) == sorted(ids)
    some = range(0, n, max(1, n // 50))
    records = store.get([ids[i] for i in some])
    np.testing.assert_allclose(records.vectors, vectors[list(some)], atol=1e-6)
    assert records.documents == [documents[i] for i in some]


def test_an_index_of_postgresql_gives_as_many_rows_as_are_asked_for(tmp_path):
    fake = DeterministicFakeEmbedding(size=WIDTH)
    with KINDS["langchain_pgvector_table"](tmp_path, fake, WIDTH) as raw:
        store = open_store(raw)
        store.upsert(*rows_of(2500))
        column = f"{store._embedding} vector_cosine_ops"
        store._query("make an index", f"CREATE INDEX ON {store._table} USING hnsw ({column})")
        asked = unit_rows(1, seed=9)[0]
        found = store.search(asked, 200)
        assert len(found) == 200  # of itself such an index gives 40
        similarities = [match.similarity for match in found]
        assert similarities == sorted(similarities, reverse=True)
        exact = np.sort(unit_rows(2500) @ asked)[::-1][:200]
        assert np.mean(similarities) > 0.99 * np.mean(exact)


def test_metadata_that_a_column_does_not_take_is_refused_before_anything_is_embedded(tmp_path):
    fake = DeterministicFakeEmbedding(size=WIDTH)
    with KINDS["langchain_pgvector_table"](tmp_path, fake, WIDTH) as raw:
        store = open_store(raw)
        ids, vectors, documents, _ = rows_of(1)
        for value in (7, "7", " -7 ", None, -(2**31)):
            assert store.refusal("text", {"it's": value}) is None
            store.upsert(ids, vectors, documents, [{"it's": value}])
        for value in ("many", True, 7.5, [7], 2**31, ""):
            assert "integer" in store.refusal("text", {"it's": value})
            with pytest.raises(StoreError, match="Nothing was written"):
                store.upsert(ids, vectors, documents, [{"it's": value}])


@pytest.mark.parametrize(
    ("type_", "fit", "misfit"),
    [
        ("boolean", [True, False, 1, "yes", "F"], ["maybe", 2, "o", "", [True]]),
        ("double precision", [1, 2.5, "1e3", "nan"], ["x", True, [1]]),
        ("numeric(10,2)", [1, "2.5"], ["x"]),
        ("text", ["x", 1, [1], True], []),
    ],
)
def test_what_fits_into_a_column(type_, fit, misfit):
    assert [value for value in [*fit, *misfit] if refusal("", {"k": value}, {"k": type_})] == misfit


def test_what_no_index_should_hold_is_refused_before_anything_is_written(store):
    ids, vectors, documents, metadatas = rows_of(4)
    for value in (0.0, np.nan, np.inf):
        bad = vectors.copy()
        bad[2] = value
        with pytest.raises(NonFiniteError, match=ids[2]) as caught:
            store.upsert(ids, bad, documents, metadatas)
        assert caught.value.rows == (2,)
    with pytest.raises(StoreError, match="comes twice"):
        store.upsert([*ids[:3], ids[0]], vectors, documents, metadatas)
    with pytest.raises(StoreError, match="3 documents"):
        store.upsert(ids, vectors, documents[:3], metadatas)
    assert store.count() == 0


def test_another_width_is_the_stores_own_error(store):
    store.upsert(*rows_of(2))
    if store.name.endswith("'papers'") and "PostgreSQL" in store.name:
        pytest.skip("LangChain's PGVector has a column of any width")
    _, _, documents, metadatas = rows_of(1)
    with pytest.raises(StoreError, match="could not write 1 rows") as caught:
        store.upsert([ids_of(3)[2]], np.ones((1, WIDTH + 1), np.float32), documents, metadatas)
    assert caught.value.__cause__ is not None
    assert store.count() == 2


def test_sample(store):
    n = PAGE + 5
    ids, *rows = rows_of(n)
    store.upsert(ids, *rows)
    first = sample(store, 50, seed=1)
    assert len(set(first.ids)) == 50
    assert first.ids == sample(store, 50, seed=1).ids
    assert first.ids != sample(store, 50, seed=2).ids
    assert len(sample(store, n + 10).ids) == n
    assert set(sample(store, 600).ids) & {e.id for e in list(store.entries())[PAGE:]}
