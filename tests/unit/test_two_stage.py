"""Two stages as one store: right order, nothing lost, nothing mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f2llm_core import (
    F2LLM,
    ConfigurationError,
    FingerprintError,
    NonFiniteError,
    StoreError,
    TwoStageStore,
    guard,
)
from f2llm_core.auditing import audit
from f2llm_core.indexing import index
from f2llm_core.matryoshka import truncate
from f2llm_core.stores import VectorStore, open_store
from f2llm_core.two_stage import FETCH_K, check_sizes
from store_kinds import MemoryStore

ROWS = truncate(np.random.default_rng(0).normal(size=(60, 32)))
IDS = [str(i) for i in range(len(ROWS))]
QUERY = truncate(np.random.default_rng(1).normal(size=32))
TEXTS = [(str(i), f"Text number {i}.") for i in range(12)]


@pytest.fixture
def cut() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(cut: MemoryStore, tmp_path: Path) -> TwoStageStore:
    return TwoStageStore(cut, tmp_path / "papers.full", dimensions=8)


def fill(store: TwoStageStore, rows: Any = ROWS) -> None:
    ids = IDS[: len(rows)]
    store.upsert(ids, rows, [f"text {i}" for i in ids], [{"at": i} for i in ids])


def test_is_a_store(store: TwoStageStore):
    assert isinstance(store, VectorStore)
    assert open_store(store) is store
    assert "papers.full" in store.name


class TestSearch:
    def test_orders_a_shortlist_by_whole_vectors(self, store: TwoStageStore, cut: MemoryStore):
        fill(store)
        shortlist = np.argsort(-(truncate(ROWS, 8) @ truncate(QUERY, 8)))[:20]
        scores = ROWS @ QUERY
        expected = sorted(shortlist, key=lambda i: -scores[i])[:5]
        found = store.search(QUERY, 5, fetch_k=20)
        assert [match.id for match in found] == [IDS[i] for i in expected]
        assert [m.similarity for m in found] == pytest.approx(scores[expected], abs=1e-3)
        assert [m.id for m in found] != [m.id for m in cut.search(truncate(QUERY, 8), 5)]

    def test_a_shortlist_of_everything_is_exact(self, store: TwoStageStore):
        fill(store)
        exact = [IDS[i] for i in np.argsort(-(ROWS @ QUERY))[:10]]
        assert [match.id for match in store.search(QUERY, 10)] == exact

    def test_returns_fewer_where_there_are_fewer(self, store: TwoStageStore):
        assert store.search(QUERY, 3) == store.find(QUERY, 3) == []
        fill(store, ROWS[:2])
        assert len(store.search(QUERY, 3)) == 2

    def test_a_query_need_not_be_of_unit_length(self, store: TwoStageStore):
        fill(store)
        # A power of two changes no bit of the direction.
        assert store.search(8 * QUERY, 5) == store.search(QUERY, 5)

    def test_finds_what_is_stored(self, store: TwoStageStore):
        fill(store)
        found = store.find(QUERY, 3)
        assert [(row.id, row.score) for row in found] == store.search(QUERY, 3)
        assert [row.document for row in found] == [f"text {row.id}" for row in found]
        assert [row.metadata for row in found] == [{"at": row.id} for row in found]

    def test_asks_the_collection_for_the_shortlist_only(
        self, store: TwoStageStore, cut: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ):
        fill(store)
        asked = []
        search = cut.search
        monkeypatch.setattr(
            cut, "search", lambda v, k, **_: asked.append((len(v), k)) or search(v, k)
        )
        store.search(QUERY, 3)
        store.search(QUERY, FETCH_K + 1)
        store.search(QUERY, 3, 7)
        assert asked == [(8, FETCH_K), (8, FETCH_K + 1), (8, 7)]

    @pytest.mark.parametrize(("k", "fetch_k"), [(0, None), (5, 4), (True, 9), (1, 0), (1, 2.0)])
    def test_sizes_are_checked(self, store: TwoStageStore, k: Any, fetch_k: Any):
        with pytest.raises(ConfigurationError, match="k="):
            store.search(QUERY, k, fetch_k)
        with pytest.raises(ConfigurationError, match="k="):
            check_sizes(k, fetch_k)

    def test_a_query_of_another_width_is_refused(self, store: TwoStageStore):
        fill(store)
        with pytest.raises(StoreError, match="asked with 16 dimensions, it holds vectors of 32"):
            store.search(QUERY[:16], 3)

    def test_rows_without_a_whole_vector_are_named(self, store: TwoStageStore, tmp_path: Path):
        fill(store)
        store._full.delete(IDS[:2])
        with pytest.raises(StoreError, match=r"2 of 60 rows found have no full vector.*'[01]'"):
            store.search(QUERY, 3)
        (tmp_path / "papers.full").unlink()
        with pytest.raises(StoreError, match="60 of 60 rows found have no full vector"):
            store.search(QUERY, 3)

    def test_a_row_that_is_deleted_meanwhile_is_not_found(
        self, store: TwoStageStore, cut: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ):
        fill(store)
        search = cut.search

        def delete_after(*args: Any, **options: Any) -> Any:
            found = search(*args, **options)
            store.delete([found[0].id])
            return found

        monkeypatch.setattr(cut, "search", delete_after)
        found = store.search(QUERY, 60)
        assert len(found) == 59
        assert {match.id for match in found} == cut.rows.keys()


class TestRows:
    def test_collection_and_file_hold_the_two_widths(self, store: TwoStageStore, cut: MemoryStore):
        assert store.width is None
        fill(store)
        assert (store.width, cut.width, store.count()) == (32, 8, 60)
        np.testing.assert_allclose(cut.get(IDS).vectors, truncate(ROWS, 8), atol=1e-6)
        records = store.get([*IDS[::-1], "absent"])
        assert records.ids == IDS[::-1]
        assert records.documents[0] == "text 59"
        np.testing.assert_allclose(records.vectors, ROWS[::-1], atol=1e-3)

    def test_rows_without_a_whole_vector_are_not_there(self, store: TwoStageStore):
        fill(store)
        store._full.delete(IDS[5:])
        assert store.get(IDS).ids == IDS[:5]
        store._full.clear()
        assert store.get(IDS).ids == []

    def test_deletions_hit_both(self, store: TwoStageStore, cut: MemoryStore):
        fill(store)
        store.delete(IDS[:50])
        assert cut.count() == len(store._full.read(IDS)) == 10

    @pytest.mark.parametrize("method", ["upsert", "delete"])
    def test_a_failing_collection_leaves_no_row_without_its_whole_vector(
        self, store: TwoStageStore, cut: MemoryStore, monkeypatch: pytest.MonkeyPatch, method: str
    ):
        fill(store, ROWS[:10])

        def fail(*_: Any) -> None:
            msg = "disk full"
            raise StoreError(msg)

        monkeypatch.setattr(cut, method, fail)
        with pytest.raises(StoreError, match="disk full"):
            fill(store) if method == "upsert" else store.delete(IDS)
        assert cut.rows.keys() <= store._full.read(IDS).keys()

    def test_a_failing_file_leaves_no_row_without_its_whole_vector(
        self, store: TwoStageStore, cut: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ):
        def fail(*_: Any) -> None:
            msg = "disk full"
            raise StoreError(msg)

        monkeypatch.setattr(store._full, "write", fail)
        with pytest.raises(StoreError, match="disk full"):
            fill(store)
        assert cut.count() == 0

    def test_a_bad_vector_is_refused_before_anything_is_written(self, store: TwoStageStore):
        rows = ROWS.copy()
        rows[7] = np.nan
        with pytest.raises(NonFiniteError):
            fill(store, rows)
        assert store.count() == len(store._full.read(IDS)) == 0

    @pytest.mark.parametrize("width", [8, 7])
    def test_vectors_must_be_wider_than_the_cut(self, store: TwoStageStore, width: int):
        with pytest.raises(ConfigurationError, match=f"must have more than {width}"):
            fill(store, ROWS[:, :width])

    def test_widths_that_do_not_fit_are_refused(self, store: TwoStageStore, tmp_path: Path):
        fill(store)
        path = tmp_path / "papers.full"
        with pytest.raises(ConfigurationError, match="must have more than 32"):
            TwoStageStore(MemoryStore(), path, dimensions=32)
        with pytest.raises(ConfigurationError, match=r"vectors of 8\. Pass dimensions=8"):
            TwoStageStore(store._cut, path, dimensions=16)
        with pytest.raises(ConfigurationError, match="from 8"):
            TwoStageStore(MemoryStore(), path, dimensions=7)


class TestWithAModel:
    def test_indexes_resumes_and_goes_on(
        self, store: TwoStageStore, cut: MemoryStore, encoder: F2LLM
    ):
        assert index(store, encoder, TEXTS[:9]).added == 9
        report = index(store, encoder, TEXTS)
        assert (report.added, report.unchanged) == (3, 9)
        rows = encoder.encode_document([text for _, text in TEXTS])
        query = encoder.encode_query(TEXTS[4][1])
        best = TEXTS[int(np.argmax(rows @ query))][1]
        assert store.find(query, 1)[0].document == best
        assert cut.stamp is not None
        assert (cut.stamp["dimensions"], cut.width) == (8, 8)

    def test_a_lost_file_is_made_again(self, store: TwoStageStore, encoder: F2LLM, tmp_path: Path):
        index(store, encoder, TEXTS)
        before = store.get([e.id for e in store.entries()])
        (tmp_path / "papers.full").unlink()
        assert index(store, encoder, TEXTS).embedded == len(TEXTS)
        after = store.get(before.ids)
        np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-3)
        assert store._full.read_stamp() == encoder.fingerprint.to_dict()

    def test_another_model_is_refused(self, store: TwoStageStore, encoder: F2LLM):
        index(store, encoder, TEXTS)
        other = encoder.with_options(document_instruction="Represent it.")
        with pytest.raises(FingerprintError, match="document_prompt"):
            index(store, other, TEXTS)
        with pytest.raises(FingerprintError, match="64 dimensions, this model makes 32"):
            index(store, encoder.with_options(dimensions=32), TEXTS)

    def test_a_file_of_another_collection_is_refused(
        self, store: TwoStageStore, encoder: F2LLM, tmp_path: Path
    ):
        index(store, encoder, TEXTS)
        other = TwoStageStore(MemoryStore(), tmp_path / "other.full", dimensions=8)
        index(other, encoder.with_options(document_instruction="Represent it."), TEXTS)
        mixed = TwoStageStore(store._cut, tmp_path / "other.full", dimensions=8)
        with pytest.raises(FingerprintError, match="does not belong to Memory collection"):
            index(mixed, encoder, TEXTS)

    def test_a_file_left_over_from_an_earlier_collection_is_cleared(
        self, store: TwoStageStore, encoder: F2LLM, tmp_path: Path
    ):
        index(store, encoder.with_options(dimensions=32), TEXTS)
        anew = TwoStageStore(MemoryStore(), tmp_path / "papers.full", dimensions=8)
        assert index(anew, encoder, TEXTS[:1]).added == 1
        assert anew.width == 64
        assert len(anew._full.read([e.id for e in store.entries()])) == 1

    def test_a_file_of_another_collection_is_left_alone(
        self, store: TwoStageStore, encoder: F2LLM, tmp_path: Path
    ):
        index(store, encoder, TEXTS)
        another = MemoryStore()
        another.name = "Memory collection 'drafts'"
        confused = TwoStageStore(another, tmp_path / "papers.full", dimensions=16)
        with pytest.raises(
            FingerprintError, match=r"of Memory collection 'papers', not of .*draft"
        ):
            index(confused, encoder, TEXTS[:1])
        assert len(store.search(encoder.encode_query("x"), 3)) == 3
        (tmp_path / "papers.full").unlink()
        [cause] = audit(store, encoder).causes
        assert cause.message == f"None of its {len(TEXTS)} rows has a vector."

    def test_nor_does_it_grow_when_a_collection_is_made_anew_by_the_same_model(
        self, encoder: F2LLM, tmp_path: Path
    ):
        every = []
        for night in range(3):
            anew = TwoStageStore(MemoryStore(), tmp_path / "papers.full", dimensions=8)
            index(anew, encoder, [(f"{night} {id_}", text) for id_, text in TEXTS])
            every += [entry.id for entry in anew.entries()]
        assert len(set(every)) == 3 * len(TEXTS)
        assert set(anew._full.read(every)) == set(every[-len(TEXTS) :])

    def test_the_same_model_under_another_name_keeps_the_whole_vectors(
        self, store: TwoStageStore, encoder: F2LLM
    ):
        index(store, encoder, TEXTS)
        elsewhere = {**encoder.fingerprint.to_dict(), "model": "owner/name@" + "0" * 40}
        store.write_stamp(elsewhere)
        with pytest.raises(FingerprintError, match="adopt=True"):
            guard(store, encoder)
        stamp = encoder.fingerprint.to_dict()
        store._full.write_stamp(stamp, store._cut.name)  # as if killed between the two
        with pytest.raises(FingerprintError, match="does not belong"):
            guard(store, encoder)
        guard(store, encoder, adopt=True)
        assert store.read_stamp() == encoder.fingerprint.to_dict()
        assert index(store, encoder, TEXTS).embedded == 0
        assert len(store.search(encoder.encode_query("number"), 12)) == 12

    def test_a_collection_without_whole_vectors_is_refused(
        self, cut: MemoryStore, store: TwoStageStore, encoder: F2LLM
    ):
        index(cut, encoder.with_options(dimensions=8), TEXTS)
        with pytest.raises(FingerprintError, match="made without full vectors"):
            index(store, encoder, TEXTS)
