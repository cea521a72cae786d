"""What the backend does around the forward pass; a recorder stands where the engine is used."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from texts import many_texts

from f2llm_core import F2LLM, ConfigurationError, InputError, ModelError
from f2llm_core.backends import local
from f2llm_core.backends.base import Stats
from f2llm_core.backends.checkpoint import Checkpoint
from f2llm_core.engine.hub import identify
from support import gate


@pytest.fixture
def fresh(checkpoint):
    """An encoder of its own, and the batches its engine was given: `[(sequences, prefixes)]`."""
    encoder = F2LLM(checkpoint, dtype="float32", max_batch_tokens=200)
    encoder._backend.load()
    engine = encoder._backend._engine
    run, batches = engine.forward, []

    def forward(sequences, prefixes=None):
        batches.append((list(sequences), list(prefixes)))
        return run(sequences, prefixes)

    engine.forward = forward
    return encoder, batches


def test_equal_texts_are_embedded_once_and_all_get_their_row(fresh):
    encoder, batches = fresh
    texts = ["a", "b", "a", "c", "b", "a"]
    rows = encoder.encode_document(texts)
    assert sum(len(sequences) for sequences, _ in batches) == 3
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_allclose(rows, [encoder.encode_document(t) for t in texts], atol=1e-6)


def test_the_instruction_is_computed_once(fresh, encoder):
    ours, batches = fresh
    made = []
    prefix = ours._backend._engine.prefix
    ours._backend._engine.prefix = lambda ids: made.append(ids) or prefix(ids)
    for text in ("first", "second", "third"):
        ours.encode_query(text)
    assert len(made) == 1
    for [sequence], [before] in batches:
        assert len(before.ids) > 10
        assert len(sequence) < 10


def test_instructions_are_forgotten_when_they_grow_too_many(fresh, monkeypatch):
    encoder, _ = fresh
    monkeypatch.setattr(local, "_KEPT_PREFIX_TOKENS", 100)
    for number in range(20):
        encoder.with_options(instruction=f"Find number {number}.").encode_query("a")
        assert 0 < sum(map(len, encoder._backend._prefixes)) <= 100


def test_a_closed_model_keeps_neither_instructions_nor_tokenizer(fresh):
    encoder, _ = fresh
    encoder.encode_query("a")
    backend = encoder._backend
    assert backend._prefixes
    tokenizer = weakref.ref(backend.checkpoint.tokenizer)
    encoder.close()
    gc.collect()
    assert not backend._prefixes
    assert tokenizer() is None


def test_with_the_prefix_and_in_full_are_the_same(fresh, encoder):
    ours, batches = fresh
    texts = many_texts()
    prompt = ours.prompts.query
    in_full = ours.encode_document([prompt + text for text in texts])  # documents have no prefix
    assert all(before is None for _, prefixes in batches for before in prefixes)
    np.testing.assert_allclose(ours.encode_query(texts), in_full, atol=1e-5)


def test_a_prompt_whose_tokens_merge_across_the_prefix_runs_in_full(fresh):
    encoder, batches = fresh
    backend = encoder._backend
    prefix, text = "Given a questi", "on, retrieve passages that can help"
    [start], [ids] = (backend.checkpoint.tokenizer.encode([t]) for t in (prefix, prefix + text))
    assert ids[: len(start)] != start  # "question" is one token

    class Silent:
        at_once = False

        def tokenized(self, lengths):
            pass

        def embedded(self, count):
            pass

    def rows(prefix, *prompts):
        given = {"prefix": prefix, "max_length": 8192, "observer": Silent()}
        return backend.submit(prompts, **given).result()

    merged, in_full = rows(prefix, prefix + text), rows("", prefix + text)
    assert [before for _, prefixes in batches for before in prefixes] == [None, None]
    np.testing.assert_array_equal(merged, in_full)


def test_callers_with_other_instructions_and_widths_share_a_pass(fresh, encoder):
    ours, batches = fresh
    siblings = [
        ours.with_options(task=task, dimensions=dimensions)
        for task, dimensions in ((None, None), ("code", 16), ("sts", 32), (None, 8))
    ]
    with ThreadPoolExecutor(8) as pool, gate(ours._backend) as wait_for_queue:
        calls = [pool.submit(s.encode_query, "a query") for s in siblings]
        calls += [pool.submit(s.encode_document, "a document") for s in siblings]
        wait_for_queue(8)
    for sibling, query, document in zip(siblings, calls[:4], calls[4:], strict=True):
        same = encoder.with_options(
            task=sibling.config["task"], dimensions=sibling.config["dimensions"]
        )
        np.testing.assert_allclose(query.result(), same.encode_query("a query"), atol=1e-5)
        np.testing.assert_allclose(document.result(), same.encode_document("a document"), atol=1e-5)
    assert len(batches) == 1
    # A query with and without its instruction, for three different instructions, and sts twice.
    assert len(batches[0][0]) == 5
    assert ours.stats == Stats(passes=1, texts=5)


def test_short_calls_that_wait_are_tokenised_in_one_go(fresh, encoder, monkeypatch):
    ours, batches = fresh
    tokenizer = ours._backend.checkpoint.tokenizer
    encode, encoded = tokenizer.encode, []
    monkeypatch.setattr(tokenizer, "encode", lambda p: encoded.append(len(p)) or encode(p))
    words = ["one", "two", "three", "four"]
    with ThreadPoolExecutor(8) as pool, gate(ours._backend) as wait_for_queue:
        calls = [pool.submit(ours.encode_query, word) for word in words]
        cancelled = ours._pipeline("document").begin(["five"], single=True, show_progress=False)
        cancelled.cancel()
        wait_for_queue(5)
        assert encoded == []
    for call, word in zip(calls, words, strict=True):
        np.testing.assert_allclose(call.result(), encoder.encode_query(word), atol=1e-5)
    assert encoded == [4]
    assert [len(sequences) for sequences, _ in batches] == [4]


def test_who_may_refuse_a_text_is_told_its_length_before_anything_is_queued(fresh):
    ours, batches = fresh
    strict = ours.with_options(max_length=8, on_truncate="error")
    with gate(ours._backend), pytest.raises(InputError, match=r"texts\[0\] has .* tokens"):
        strict.encode_document("This is far too long.")
    assert strict.encode_document("a").shape == (64,)
    assert len(batches) == 1


def test_a_text_that_cannot_be_tokenised_fails_its_own_call_only(fresh, encoder, monkeypatch):
    ours, _ = fresh
    tokenizer = ours._backend.checkpoint.tokenizer
    encode = tokenizer.encode

    def fragile(prompts):
        if any("poison" in prompt for prompt in prompts):
            raise ValueError("poison")
        return encode(prompts)

    monkeypatch.setattr(tokenizer, "encode", fragile)
    with ThreadPoolExecutor(8) as pool, gate(ours._backend) as wait_for_queue:
        calls = [pool.submit(ours.encode_document, text) for text in ("a", "poison", "b")]
        wait_for_queue(3)
    with pytest.raises(ValueError, match="poison"):
        calls[1].result()
    for call, text in ((calls[0], "a"), (calls[2], "b")):
        np.testing.assert_allclose(call.result(), encoder.encode_document(text), atol=1e-5)


def test_an_instruction_that_leaves_no_room_is_refused(checkpoint):
    encoder = F2LLM(checkpoint, max_length=12)
    with pytest.raises(ConfigurationError, match=r"max_length=12 leaves no room .* tokens: 'Inst"):
        encoder.encode_query("a")
    assert encoder.encode_document("a").shape == (64,)


def test_a_tokenizer_that_is_forgotten_meanwhile_still_serves_who_asked(checkpoint):
    class Forgotten(Checkpoint):
        """`close` forgets the tokenizer as soon as somebody has looked at it."""

        @property
        def _tokenizer(self):
            return self.__dict__.pop("kept", None)

        @_tokenizer.setter
        def _tokenizer(self, tokenizer):
            self.kept = tokenizer

    files = Forgotten(identify(checkpoint), local_files_only=True, token=None)
    assert files.tokenizer is not None
    assert files.tokenizer is not None


def test_a_device_that_does_not_survive_a_fork_is_refused_in_the_child(fresh, monkeypatch):
    encoder, _ = fresh
    backend = encoder._backend
    monkeypatch.setattr(backend, "_process", backend._process + 1)
    encoder.encode_query("on a CPU nothing is lost")
    monkeypatch.setattr(backend._engine, "device", torch.device("cuda"))
    with pytest.raises(ModelError, match=r"loaded on cuda before the process was forked.*'spawn'"):
        encoder.encode_query("another")


@pytest.mark.parametrize("kind", ["cpu", "gpu", "apple"])
def test_memory_that_runs_out_halves_the_batch(fresh, encoder, kind):
    ours, batches = fresh
    run = ours._backend._engine.forward

    def forward(sequences, prefixes=None):
        if len(sequences) > 2:
            if kind == "gpu":
                raise torch.OutOfMemoryError("CUDA out of memory")
            if kind == "apple":
                raise RuntimeError("MPS backend out of memory (MPS allocated: …")
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")
        return run(sequences, prefixes)

    ours._backend._engine.forward = forward
    texts = [f"text {i}" for i in range(17)]
    np.testing.assert_allclose(
        ours.encode_document(texts), encoder.encode_document(texts), atol=1e-5
    )
    assert max(len(sequences) for sequences, _ in batches) == 2


def test_a_single_text_that_does_not_fit_is_an_error_and_the_next_call_works(fresh):
    encoder, _ = fresh
    engine = encoder._backend._engine
    run = engine.forward

    def forward(sequences, prefixes=None):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    engine.forward = forward
    with pytest.raises(RuntimeError, match="allocate"):
        encoder.encode_document(["a", "b"])
    engine.forward = run
    assert encoder.encode_document(["a", "b"]).shape == (2, 64)


def test_another_error_is_not_taken_for_memory(fresh):
    encoder, _ = fresh
    calls = []

    def forward(sequences, prefixes=None):
        calls.append(1)
        raise RuntimeError("something else")

    encoder._backend._engine.forward = forward
    with pytest.raises(RuntimeError, match="something else"):
        encoder.encode_document(["a", "b"])
    assert len(calls) == 1


def test_progress_counts_every_text_once(fresh, capsys):
    encoder, _ = fresh
    encoder.encode_document(["a", "a", "b"], show_progress=True)
    assert "3/3" in capsys.readouterr().err
