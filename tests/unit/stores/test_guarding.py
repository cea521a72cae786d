"""A stamp is compared before anything is embedded, and whatever decides a vector is in it."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from f2llm_core import (
    F2LLM,
    ConfigurationError,
    Fingerprint,
    FingerprintError,
    FingerprintWarning,
    guard,
)
from f2llm_core.stores.guarding import check, encoder_of
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from store_kinds import MemoryStore
from support import copy_model

IDENTITY = {
    "model": "sha256:" + "0" * 64,
    "dimensions": 32,
    "pooling": "mean",
    "eos": 7,
    "document_prompt": "Instruct: x\nQuery: ",
    "schema": 2,
}
TOLERATED = {"dtype": "bfloat16", "backend": "sentence-transformers", "max_length": 77}


@pytest.fixture
def fresh(checkpoint):
    """An encoder of its own, whose forward passes are counted from none."""
    return F2LLM(checkpoint, dtype="float32")


def filled(encoder, **changes):
    store = MemoryStore()
    store.upsert(["a"], np.ones((1, encoder.dimensions), np.float32), ["text"], [{}])
    store.write_stamp(replace(encoder.fingerprint, **changes).to_dict())
    store.writes = 0
    return store


def test_a_new_collection_is_stamped(fresh):
    store = MemoryStore()
    assert check(store, fresh) is None
    assert store.stamp is None
    assert guard(store, fresh) is store
    assert Fingerprint.from_dict(json.loads(json.dumps(store.stamp))) == fresh.fingerprint
    assert check(store, fresh).level == "same"
    assert guard(store, fresh) is store
    assert fresh.stats.passes == 0


def test_a_stamp_that_another_process_wrote_at_the_same_time_is_refused(fresh):
    class Raced(MemoryStore):
        def write_stamp(self, stamp):
            super().write_stamp(stamp | {"model": IDENTITY["model"]})

    with pytest.raises(FingerprintError, match="model"):
        guard(Raced(), fresh)


def test_every_field_is_one_or_the_other(fresh):
    names = {field.name for field in fields(Fingerprint)}
    assert names == {*IDENTITY, *TOLERATED, "query_prompt", "name"}


@pytest.mark.parametrize("field", IDENTITY)
def test_another_identity_is_refused_before_anything_is_embedded(fresh, field):
    store = filled(fresh, **{field: IDENTITY[field]})
    before = dict(store.stamp)
    with pytest.raises(FingerprintError, match=field) as caught:
        guard(store, fresh)
    message = str(caught.value)
    for side in (IDENTITY[field], getattr(fresh.fingerprint, field)):
        assert str(side) in message or repr(side) in message  # both are named
    assert store.name in message
    assert "new collection" in message
    assert (store.writes, store.count(), store.stamp) == (0, 1, before)
    assert fresh.stats.passes == 0


@pytest.mark.parametrize("field", TOLERATED)
def test_what_only_rounds_is_a_warning(fresh, field):
    with pytest.warns(FingerprintWarning, match=field):
        guard(filled(fresh, **{field: TOLERATED[field]}), fresh)


def test_the_query_side_is_nobodys_business(fresh, recwarn):
    store = filled(fresh)
    asked = fresh.with_options(task="code")
    assert guard(store, asked) is store
    assert not [w for w in recwarn if issubclass(w.category, FingerprintWarning)]
    found = check(store, asked)
    assert (found.level, found.fields) == ("informational", ("query_prompt",))


def test_real_options_are_told_apart(fresh, checkpoint, tmp_path):
    store = filled(fresh)
    for other in (
        fresh.with_options(dimensions=32),
        fresh.with_options(task="sts"),
        fresh.with_options(document_instruction="Find it."),
        F2LLM(copy_model(tmp_path / "m", rms_norm_eps=1e-5), dtype="float32"),
    ):
        with pytest.raises(FingerprintError):
            guard(store, other)
    with pytest.raises(FingerprintError, match=r"document_instruction='Instruct: Retrieve sem"):
        guard(filled(fresh.with_options(task="sts")), fresh)


def test_the_width_is_compared_without_a_stamp(fresh):
    store = MemoryStore()
    store.upsert(["a"], np.ones((1, 32), np.float32), ["text"], [{}])
    with pytest.raises(FingerprintError, match="dimensions=32"):
        guard(store, fresh)


def test_rows_without_a_stamp_are_refused_until_they_are_adopted(fresh):
    store = MemoryStore()
    texts = [f"line {i}\nand another" for i in range(12)]
    store.upsert(texts, fresh.encode_document(texts), texts, [{}] * 12)
    with pytest.raises(FingerprintError, match="12 rows and no stamp"):
        guard(store, fresh)
    assert store.stamp is None
    guard(store, fresh, adopt=True)
    assert store.stamp == fresh.fingerprint.to_dict()
    # The same model under another name.
    store.stamp["model"] = "owner/name@" + "0" * 40
    with pytest.raises(FingerprintError, match="adopt=True"):
        guard(store, fresh)
    guard(store, fresh, adopt=True)
    assert store.stamp == fresh.fingerprint.to_dict()


def test_what_is_stamped_rightly_needs_no_audit_to_be_adopted(fresh):
    store = filled(fresh)
    guard(store, fresh, adopt=True)
    assert fresh.stats.passes == 0


def test_adopting_ends_what_is_warned_of(fresh):
    store = filled(fresh, max_length=77)
    store.rows["a"] = (fresh.encode_document(["text"])[0], "text", {})
    guard(store, fresh, adopt=True)
    assert store.stamp == fresh.fingerprint.to_dict()


def test_an_empty_collection_is_adopted_whoever_stamped_it(fresh):
    store = MemoryStore()
    store.write_stamp(replace(fresh.fingerprint, model=IDENTITY["model"]).to_dict())
    with pytest.raises(FingerprintError, match="adopt=True"):
        guard(store, fresh)
    guard(store, fresh, adopt=True)
    assert store.stamp == fresh.fingerprint.to_dict()
    assert fresh.stats.passes == 0


def test_an_empty_collection_of_another_width_is_not_adopted(fresh):
    class Narrow(MemoryStore):
        width = 32

    store = Narrow()
    with pytest.raises(FingerprintError, match="dimensions=32"):
        guard(store, fresh, adopt=True)
    assert store.stamp is None


def test_what_an_audit_finds_wrong_is_not_adopted(fresh):
    store = MemoryStore()
    texts = [f"line {i}\nand another" for i in range(12)]
    store.upsert(texts, fresh.encode_query(texts), texts, [{}] * 12)
    with pytest.raises(FingerprintError, match=r"not adopted.* which is for queries"):
        guard(store, fresh, adopt=True)
    assert store.stamp is None


def test_a_damaged_stamp_is_refused(fresh):
    for damage in ({}, {"name": 1}, fresh.fingerprint.to_dict() | {"dimensions": True}):
        store = filled(fresh)
        store.stamp = damage
        with pytest.raises(FingerprintError, match="not readable"):
            guard(store, fresh)


def test_a_later_version_may_add_keys(fresh):
    store = filled(fresh)
    store.stamp["later"] = 1
    assert check(store, fresh).level == "same"


def test_adapters_stand_for_their_encoder(fresh):
    for adapter in (F2LLMEmbeddings.from_encoder(fresh), F2LLMEmbedding.from_encoder(fresh)):
        assert encoder_of(adapter) is adapter.encoder
        assert adapter.encoder.fingerprint == fresh.fingerprint
    with pytest.raises(ConfigurationError, match="got a str"):
        guard(MemoryStore(), "80M")
