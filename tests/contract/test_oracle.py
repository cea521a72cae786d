"""The local engine against sentence-transformers on the same folder, which knows nothing of ours.

The oracle is loaded in float32 explicitly: transformers 5 loads these checkpoints in bfloat16.
"""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from texts import SCRIPTS, many_texts

from f2llm_core import F2LLM, truncate
from f2llm_core.models import trained_dimensions
from support import copy_model

#: Texts that contain control tokens are left out: the oracle parses them, we take them as text.
TEXTS = [text for text in many_texts() if "<|" not in text]
EXACT = 0.99999


@pytest.fixture(scope="module", params=["tiny", "demo", "other-settings"])
def folder(request, checkpoint, demo_model, tmp_path_factory):
    if request.param == "other-settings":  # those in which the other two are equal
        target = tmp_path_factory.mktemp("model") / "other"
        return copy_model(target, rope_theta=1e4, rms_norm_eps=0.1)
    return checkpoint if request.param == "tiny" else demo_model


def load_oracle(folder):
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})


@pytest.fixture(scope="module")
def oracle(folder):
    return load_oracle(folder)


@pytest.fixture(scope="module")
def expected(oracle):
    """Full-width vectors of all texts: `{side: (n, width)}`."""
    return {
        "query": oracle.encode_query(TEXTS, batch_size=16),
        "document": oracle.encode_document(TEXTS, batch_size=16),
    }


@pytest.fixture(scope="module")
def ours(folder):
    return F2LLM(folder, dtype="float32")


@pytest.fixture(scope="module")
def vectors(ours):
    """Our full-width vectors of all texts: `{side: (n, width)}`."""
    return {side: encode(ours, side, TEXTS) for side in ("query", "document")}


def encode(encoder, side, texts):
    return encoder.encode_query(texts) if side == "query" else encoder.encode_document(texts)


def worst_cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return ((a * b).sum(axis=-1) / norms).min()


def test_there_are_enough_texts():
    assert len(TEXTS) >= 200
    assert len(SCRIPTS) >= 20


@pytest.mark.parametrize("side", ["query", "document"])
def test_equal_at_every_width(ours, vectors, expected, side):
    for dimensions in trained_dimensions(ours.width):
        cut = truncate(vectors[side], dimensions)
        assert worst_cosine(cut, expected[side][:, :dimensions]) >= EXACT
        small = ours.with_options(dimensions=dimensions)
        np.testing.assert_allclose(encode(small, side, TEXTS[:10]), cut[:10], atol=1e-5)


@pytest.mark.parametrize("side", ["query", "document"])
def test_equal_alone_and_in_any_batch(ours, expected, side):
    rng = np.random.default_rng(0)
    alone = np.stack([encode(ours, side, text) for text in TEXTS[::5]])
    assert worst_cosine(alone, expected[side][::5]) >= EXACT
    for size in (2, 9, 40):
        chosen = rng.permutation(len(TEXTS))[:size]
        vectors = encode(ours, side, [TEXTS[i] for i in chosen])
        assert worst_cosine(vectors, expected[side][chosen]) >= EXACT


@pytest.mark.parametrize("extra", [-1, 0, 1], ids=["max-1", "max", "max+1"])
def test_equal_around_the_length_limit(folder, oracle, ours, extra):
    limit = 24
    short = ours.with_options(max_length=limit, on_truncate="ignore")
    texts = [
        "1" * (limit - 1 + extra),
        "2" * (limit - 1 + extra),
    ]  # single digits are single tokens
    assert ours.count_tokens(texts) == [limit + extra] * 2
    prompt = ours.count_tokens("1", side="query")[0] - 2
    before, oracle.max_seq_length = oracle.max_seq_length, limit
    try:
        expected = oracle.encode_document(texts)
        oracle.max_seq_length = prompt + limit
        expected_queries = oracle.encode_query(texts)
    finally:
        oracle.max_seq_length = before
    assert worst_cosine(short.encode_document(texts), expected) >= EXACT
    longer = short.with_options(max_length=prompt + limit)
    assert worst_cosine(longer.encode_query(texts), expected_queries) >= EXACT


def test_equal_for_a_symmetric_task(ours, oracle):
    prompt = "Instruct: Retrieve semantically similar text.\nQuery: "
    vectors = ours.with_options(task="sts").encode(TEXTS[:40])
    assert worst_cosine(vectors, oracle.encode(TEXTS[:40], prompt=prompt)) >= EXACT


@pytest.mark.parametrize("older", [..., 3e4])
def test_equal_for_the_rotary_base_as_transformers_5_writes_it(tmp_path, older):
    rope = {"rope_theta": 1e4, "rope_type": "default"}
    folder = copy_model(tmp_path / "m", rope_theta=older, rope_parameters=rope)
    vectors = F2LLM(folder, dtype="float32").encode_document(TEXTS[:40])
    assert worst_cosine(vectors, load_oracle(folder).encode_document(TEXTS[:40])) >= EXACT


def test_bfloat16_stays_close(folder, vectors):
    half = F2LLM(folder, dtype="bfloat16")
    cosine = worst_cosine(half.encode_document(TEXTS), vectors["document"])
    assert 0.999 < cosine < 1


def test_the_reference_backend_keeps_the_same_promise(folder, ours):
    reference = F2LLM(folder, dtype="float32", backend="sentence-transformers")
    texts = many_texts()[-60:]  # control tokens included: its tokenising is ours
    for side in ("query", "document"):
        assert worst_cosine(encode(reference, side, texts), encode(ours, side, texts)) >= EXACT
    assert reference.with_options(dimensions=16).encode_query(texts[0]).shape == (16,)
