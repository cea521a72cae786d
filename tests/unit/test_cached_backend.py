"""Embedding with a cache: the same vectors as without, and less work."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import random
import shutil
import sqlite3
import warnings
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core.load import dumps

from f2llm_core import (
    F2LLM,
    CacheWarning,
    ClosedError,
    ConfigurationError,
    InputError,
    NonFiniteError,
    TruncationWarning,
)
from f2llm_core.backends.base import Pending
from f2llm_core.backends.cached import CachedBackend
from f2llm_core.cache import FILE_NAME, EmbeddingCache
from f2llm_core.info import describe
from faults.faulty_server import answer, running
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding
from support import copy_model, edit_json

TEXTS = ["a", "우주 망원경", "", "two words", "a", "\n \t", "x" * 300]


@pytest.fixture
def make(checkpoint, tmp_path):
    """Make an encoder whose cache is shared with the others of the test."""

    def make(**options):
        defaults = {"dtype": "float32", "cache": tmp_path / "cache"}
        return F2LLM(options.pop("model", checkpoint), **(defaults | options))

    return make


def computed(model):
    return model.stats.texts


def test_the_second_time_nothing_is_computed(make, encoder):
    first = make()
    expected = first.encode_document(TEXTS)
    assert np.allclose(expected, encoder.encode_document(TEXTS), atol=1e-6)
    assert computed(first) == len(set(TEXTS))
    second = make()
    assert second.encode_document(TEXTS).tobytes() == expected.tobytes()
    assert second.encode_document(TEXTS[3]).tobytes() == expected[3].tobytes()
    assert second.encode_document(TEXTS[::-1]).tobytes() == expected[::-1].tobytes()
    assert list(second.iter_documents(TEXTS, block_size=3))[2].tobytes() == expected[6:].tobytes()
    assert computed(second) == 0
    assert second._backend.inner._engine is None  # weights are loaded for what is missing only


def test_only_what_is_missing_is_computed(make, encoder):
    make().encode_document(TEXTS[:3])
    model = make()
    assert np.allclose(model.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-6)
    assert computed(model) == len(set(TEXTS[3:]) - set(TEXTS[:3]))


def test_full_rows_serve_every_width(make, encoder):
    make(dimensions=8).encode_document(TEXTS)
    model = make()
    for dimensions in (64, 32, 9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sibling, plain = (m.with_options(dimensions=dimensions) for m in (model, encoder))
        assert np.allclose(sibling.encode_document(TEXTS), plain.encode_document(TEXTS), atol=1e-6)
    assert computed(model) == 0


def test_roles_instructions_lengths_and_precisions_never_mix(make, checkpoint):
    """Every way to embed the same texts, in random order, against one without cache."""
    ways = [
        (side, options, dtype)
        for side, options, dtype in itertools.product(
            ("encode_query", "encode_document"),
            (
                {},
                {"task": "sts"},
                {"task": "code"},
                {"instruction": "a"},
                {"instruction": ""},
                {"document_instruction": "a"},
                {"max_length": 40},
                {"max_length": 41},
            ),
            ("float32", "bfloat16", "int8"),
        )
    ] * 2
    random.Random(0).shuffle(ways)
    encoders = {t: F2LLM(checkpoint, dtype=t) for t in ("float32", "bfloat16", "int8")}
    for side, options, dtype in ways:
        options = {"on_truncate": "ignore", **options}
        plain = getattr(encoders[dtype].with_options(**options), side)(TEXTS)
        cached = getattr(make(dtype=dtype, **options), side)(TEXTS)
        assert np.allclose(cached, plain, atol=1e-6 if dtype == "float32" else 1e-2)


def test_a_prompt_split_elsewhere_is_another_prompt(make):
    model = make()
    model.with_options(instruction="").encode_query(model.prompts.query + "a")
    model.encode_query("a")
    assert computed(model) == 2


def test_models_never_mix(make, tmp_path):
    from f2llm_core.testing import tiny_checkpoint

    other = tiny_checkpoint(tmp_path / "other", seed=1)
    make().encode_document(TEXTS)
    vectors = make(model=other).encode_document(TEXTS)
    assert np.allclose(vectors, F2LLM(other, dtype="float32").encode_document(TEXTS), atol=1e-6)
    same = make(model=shutil.copytree(other, tmp_path / "copy"))
    assert same.encode_document(TEXTS).tobytes() == vectors.tobytes()
    assert computed(same) == 0  # contents count, not the folder's name


def test_other_weights_at_the_same_place_are_another_model(make, tmp_path):
    from f2llm_core.testing import tiny_checkpoint

    folder = tiny_checkpoint(tmp_path / "model")
    old = make(model=folder)
    before = old.encode_document(TEXTS)
    shutil.rmtree(folder)
    tiny_checkpoint(folder, seed=1)
    fresh = make(model=folder)
    after = fresh.encode_document(TEXTS)
    assert not np.allclose(before, after, atol=1e-2)
    with pytest.warns(CacheWarning, match="have changed"):
        assert np.allclose(old.encode_document([*TEXTS, "new"])[:-1], before, atol=1e-6)
    assert make(model=folder).encode_document(TEXTS).tobytes() == after.tobytes()


def test_rows_of_a_model_whose_files_change_meanwhile_are_not_kept(make, tmp_path):
    folder = copy_model(tmp_path / "model")
    call = make(model=folder)._pipeline("document").begin(["a"], single=True, show_progress=False)
    edit_json(folder / "config.json", something=1)
    with pytest.warns(CacheWarning, match="have changed"):
        assert call.result().shape == (64,)
    assert EmbeddingCache(tmp_path / "cache", 10**9).summary().models == ()


def test_a_vanished_folder_stops_the_cache_and_not_the_model(make, tmp_path):
    model = make(model=copy_model(tmp_path / "model"))
    before = model.encode_document(TEXTS)
    shutil.rmtree(tmp_path / "model")
    with pytest.warns(CacheWarning, match="cannot be read|have changed"):
        assert np.allclose(model.encode_document(TEXTS), before, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_document(TEXTS)


def test_truncation_is_told_as_without_cache(make, encoder):
    texts = ["short", "one two three " * 9, "four five six " * 8, "short", "seven " * 30]
    make(max_length=12, on_truncate="ignore").encode_document(texts[1:3])
    for chosen in ([0, 1, 2, 3, 4], [1], [1, 2], [4], [0]):
        batch = [texts[i] for i in chosen]
        told = []
        for model in (encoder.with_options(max_length=12), make(max_length=12)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.encode_document(batch)
            told.append([(w.category, str(w.message)) for w in caught])
        assert told[0] == told[1]
        assert [category for category, _ in told[0]] == [TruncationWarning] * (chosen != [0])
    model = make(max_length=12, on_truncate="error")
    for batch in ([*texts, "new"], ["new", texts[1]]):
        with pytest.raises(InputError, match="max_length") as with_cache:
            model.encode_document(batch)
        with pytest.raises(InputError) as without:
            encoder.with_options(max_length=12, on_truncate="error").encode_document(batch)
        assert (str(with_cache.value), with_cache.value.index) == (
            str(without.value),
            without.value.index,
        )
    assert computed(model) == 0


def test_a_text_that_is_too_long_is_refused_before_anything_is_queued(make):
    strict = make(max_length=8, on_truncate="error")._pipeline("document")
    with pytest.raises(InputError, match=r"texts\[0\] has .* tokens"):
        strict.begin(["This is far too long."], single=True, show_progress=False)


def test_an_instruction_that_fills_the_length_is_refused_as_without(make):
    whole = F2LLM(make().model).prompts.query
    make(max_length=12, instruction="", on_truncate="ignore").encode_query(whole + "a")
    with pytest.raises(ConfigurationError, match="leaves no room"):
        make(max_length=12).encode_query("a")


class Told:
    """An observer that remembers."""

    def __init__(self):
        self.lengths = []
        self.done = 0

    at_once = False

    def tokenized(self, lengths):
        assert self.done == 0
        self.lengths.append(list(lengths))

    def embedded(self, count):
        self.done += count


def test_observers_hear_once_of_everything(make):
    model = make()
    for batch in (TEXTS[:3], TEXTS, TEXTS):
        told = Told()
        model._backend.submit(batch, prefix="", max_length=50, observer=told).result()
        assert told.lengths == [model.count_tokens(batch)]
        assert told.done == len(batch)


class Scripted:
    """An inner backend that gives the rows it was told to."""

    def __init__(self, real, rows):
        self.source, self.identity = real.source, real.identity
        self.width = real.width
        self._rows = rows

    def submit(self, prompts, *, prefix, max_length, observer):
        observer.tokenized([1] * len(prompts))
        done = Future()
        done.set_result(self._rows[: len(prompts)])
        return Pending(done)


def test_rows_that_are_not_numbers_are_raised_and_not_kept(make, tmp_path, monkeypatch):
    model = make()
    bad = np.ones((3, model.width), dtype=np.float32)
    bad[1, 5] = np.nan
    backend = model._backend
    broken = CachedBackend(Scripted(backend.inner, bad), backend._cache)
    monkeypatch.setattr(broken, "_files", backend._files)
    monkeypatch.setattr(CachedBackend, "prompts", backend.prompts)
    monkeypatch.setattr(CachedBackend, "max_position", backend.max_position)
    model._backend = broken
    with pytest.raises(NonFiniteError, match="1 of 3"):
        model.encode_document(["a", "b", "c"])
    [kept] = EmbeddingCache(tmp_path / "cache", 10**9).summary().models
    assert kept.rows == 2


def test_a_failed_call_keeps_nothing(make, monkeypatch):
    model = make()
    describe(model)

    def fail(*_):
        msg = "no"
        raise ValueError(msg)

    monkeypatch.setattr(model._backend.inner._engine, "forward", fail)
    with pytest.raises(ValueError, match="no"):
        model.encode_document(TEXTS)
    monkeypatch.undo()
    fresh = make()
    fresh.encode_document(TEXTS)
    assert computed(fresh) == len(set(TEXTS))


def test_async_callers_use_it_too(make):
    model = make()

    async def both():
        return await asyncio.gather(*(model.aencode_document(TEXTS) for _ in range(5)))

    expected = make().encode_document(TEXTS)
    assert all(v.tobytes() == expected.tobytes() for v in asyncio.run(both()))
    assert computed(model) == 0


def test_many_threads_get_their_own_rows(make, encoder):
    model = make()
    texts = [f"text {n}" for n in range(60)]
    expected = encoder.encode_document(texts)

    def work(seed):
        chance = random.Random(seed)
        for _ in range(20):
            chosen = [chance.randrange(len(texts)) for _ in range(chance.randrange(1, 6))]
            vectors = model.encode_document([texts[i] for i in chosen])
            assert np.allclose(vectors, expected[chosen], atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_a_cache_that_cannot_be_used_changes_nothing(make, encoder, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE_NAME).write_bytes(b"damage" * 999)
    model = make()
    with pytest.warns(CacheWarning) as caught:
        vectors = model.encode_document(TEXTS)
    assert [warning.filename for warning in caught] == [__file__]
    assert np.allclose(vectors, encoder.encode_document(TEXTS), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_document(TEXTS)


def test_texts_are_not_in_the_files(make, tmp_path):
    secret = "xyzzy-plugh-7261"
    make(instruction=secret).encode_query(secret)
    make().encode_document(secret)
    for path in (tmp_path / "cache").iterdir():
        assert secret.encode() not in path.read_bytes()


def test_the_option_survives_pickling_and_is_json(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make(cache="here", cache_max_bytes=10**6)
    assert model.config["cache"] == str(tmp_path / "here")
    json.dumps(model.config["cache"])
    model.encode_document(TEXTS)
    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(model))
    assert again.config == model.config
    again.encode_document(TEXTS)
    assert computed(again) == 0
    assert F2LLM(model.model).config["cache"] is None


def test_true_means_the_users_folder(make, tmp_path, monkeypatch):
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "mine"))
    model = make(cache=True)
    model.encode_document("a")
    assert (tmp_path / "mine" / FILE_NAME).exists()
    assert model.config["cache"] is True


@pytest.mark.parametrize("nothing", [None, False])
def test_without_the_option_nothing_is_written(make, tmp_path, monkeypatch, nothing):
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "mine"))
    make(cache=nothing).encode_document("a")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"cache": ""},
        {"cache": 1},
        {"cache": b"x"},
        {"cache_max_bytes": 0},
        {"cache_max_bytes": 1.5},
    ],
)
def test_wrong_options_are_refused(checkpoint, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        F2LLM(checkpoint, **options)


def test_a_closed_model_frees_its_weights_and_says_so_even_of_rows_it_has(make):
    model = make()
    model.encode_document("a")
    assert model._backend._cache._file._idle
    model.close()
    assert model._backend.inner._engine is None
    assert not model._backend._cache._file._idle
    with pytest.raises(ClosedError):
        model.encode_document("a")


@pytest.mark.enable_socket
def test_a_closed_model_on_a_server_says_so_too(make):
    with running(answer) as server:
        model = make(base_url=server.url, dtype="auto")
        model.encode_document("a")
        model.close()
        with pytest.raises(ClosedError, match="cache"):
            model.encode_document("a")


def test_describe_looks_through_the_cache(make, encoder):
    assert describe(make()).weight_bytes == describe(encoder).weight_bytes


def test_the_bound_reaches_the_cache(make, tmp_path):
    make(cache_max_bytes=5000).encode_document([f"text {n}" for n in range(100)])
    [kept] = EmbeddingCache(tmp_path / "cache", 10**9).summary().models
    assert 0 < kept.bytes <= 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_it_too(make):
    model = make()
    expected = model.encode_document(TEXTS)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if model.encode_document(TEXTS).tobytes() == expected.tobytes():
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_adapters_hand_the_option_on(checkpoint, tmp_path):
    options = {"dtype": "float32", "cache": tmp_path / "c", "cache_max_bytes": 10**6}
    chain = F2LLMEmbeddings(model=str(checkpoint), **options)
    vectors = chain.embed_documents(TEXTS)
    assert chain.encoder.config["cache"] == str(tmp_path / "c")
    index = F2LLMEmbedding(model_name=str(checkpoint), **options)
    assert index.get_text_embedding_batch(TEXTS) == vectors
    assert computed(index._encoder) == 0
    assert json.loads(dumps(chain))["kwargs"]["cache"] == str(tmp_path / "c")
    for copy in (pickle.loads(pickle.dumps(chain)), chain.with_options(dimensions=8)):
        assert copy.encoder.config["cache"] == str(tmp_path / "c")
        assert copy.encoder.config["cache_max_bytes"] == 10**6
    assert pickle.loads(pickle.dumps(index))._encoder.config["cache"] == str(tmp_path / "c")
    assert "cache" not in index.to_dict()  # decides no vector
    with sqlite3.connect(tmp_path / "c" / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (len(set(TEXTS)),)
    connection.close()
