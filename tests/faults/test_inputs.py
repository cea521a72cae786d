"""Whatever is given for a text: an `InputError` that names it, or a right row; never NaN."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f2llm_core import F2LLM, InputError, TruncationWarning
from faults.awkward import GOOD, SURROGATES, awkward_texts, not_texts
from faults.figures import Tally
from faults.stubs import inputs
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding

LEAST_COSINE = 0.99999


def doors_of(encoder):
    """Return every way in for a list of texts, as list -> rows."""
    langchain = F2LLMEmbeddings.from_encoder(encoder)
    llama_index = F2LLMEmbedding.from_encoder(encoder)
    return {
        "encode_document": encoder.encode_document,
        "encode_query": encoder.encode_query,
        "aencode_document": lambda texts: asyncio.run(encoder.aencode_document(texts)),
        "iter_documents": lambda texts: np.concatenate(
            list(encoder.iter_documents(texts, block_size=2))
        ),
        "langchain": lambda texts: np.array(langchain.embed_documents(texts)),
        "llama_index": lambda texts: np.array(llama_index.get_text_embedding_batch(texts)),
    }


def check_refused(door, bad, tally):
    """Put something bad first, in the middle and last; each time it is named in an InputError."""
    for position in range(3):
        texts = [*GOOD[:position], bad, *GOOD[position:]]
        tally.tried += 1
        try:
            door(texts)
        except InputError as error:
            if error.index != position:
                tally.fault("untyped errors", f"{type(bad)} at {position}: index {error.index}")
        except Exception as error:
            tally.fault("untyped errors", f"{type(bad)} at {position}: {error!r}")
        else:
            tally.fault("bad ones let through", type(bad))


def check_rows(door, texts, neighbours, tally):
    """Embed texts between neighbours: rows finite and of length 1, neighbours as when alone.

    Args:
        door: List of texts to rows.
        texts: All of them can be embedded.
        neighbours: Rows of `GOOD` by the same door, alone.
        tally: Counts every text.
    """
    tally.tried += len(texts)
    try:
        rows = np.asarray(door([GOOD[0], *texts, GOOD[1]]))
    except Exception as error:
        tally.fault("untyped errors", f"{texts!a}: {error!r}")
        return
    if len(rows) != len(texts) + 2:
        tally.fault("NaN or wrong rows", f"{len(rows)} of {len(texts) + 2}")
        return
    good = np.isfinite(rows).all(axis=1) & (np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-5)
    beside = (rows[[0, -1]] * neighbours).sum(axis=1)
    if not (good[[0, -1]] & (beside >= LEAST_COSINE)).all():
        tally.fault("NaN or wrong rows", f"beside {texts!a}")
    for text in np.array(texts, dtype=object)[~good[1:-1]]:
        tally.fault("NaN or wrong rows", ascii(text))


def check_awkward(door, texts, tally, together=16):
    """Embed awkward texts in lists of several, between neighbours."""
    neighbours = np.concatenate([door([text]) for text in GOOD])
    for start in range(0, len(texts), together):
        check_rows(door, texts[start : start + together], neighbours, tally)


def check_generated(door, examples, tally):
    """Embed generated lists of texts, some of which hold a surrogate or are no texts."""
    neighbours = np.concatenate([door([text]) for text in GOOD])
    text = st.text(st.characters(exclude_categories=()), max_size=60)
    item = st.one_of(text, text, text, st.none(), st.binary(max_size=3), st.floats())

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(item, min_size=1, max_size=6))
    def try_one(items):
        bad = [i for i in items if not isinstance(i, str) or any(ord(c) in SURROGATES for c in i)]
        if bad:
            check_refused(door, bad[0], tally)
        else:
            check_rows(door, items, neighbours, tally)

    try_one()


def check_lengths(encoder, limits, tally):
    """Embed texts of about `max_length` tokens: told and cut beyond it, untouched up to it."""
    head = "a" * max(limits)
    for limit in limits:
        short = encoder.with_options(max_length=limit)
        strict = short.with_options(on_truncate="error")
        kept = encoder.encode_document(head[: limit - 1])  # one character is one token here
        for tokens in range(max(2, limit - 3), limit + 4):
            text = head[: tokens - 1].ljust(tokens - 1, "a")
            tally.tried += 1
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                row = short.encode_document(text)
            expected = kept if tokens >= limit else encoder.encode_document(text)
            told = any(w.category is TruncationWarning for w in said)
            if told != (tokens > limit) or not row @ expected >= LEAST_COSINE:
                tally.fault("NaN or wrong rows", f"{tokens} tokens, max_length {limit}")
            try:
                strict.encode_document(text)
            except InputError:
                refused = True
            else:
                refused = False
            if refused != (tokens > limit):
                tally.fault("bad ones let through", f"{tokens} tokens, max_length {limit}")


def test_what_is_no_text_is_refused_at_every_door(encoder, prove):
    tally = Tally("inputs")
    for door in doors_of(encoder).values():
        for bad in not_texts():
            check_refused(door, bad, tally)
    prove(tally)


def test_every_lone_surrogate_is_refused_wherever_it_stands(encoder, prove):
    tally = Tally("inputs")
    for code in SURROGATES:
        for text in (f"{chr(code)}ab", f"a{chr(code)}b", f"ab{chr(code)}"):
            check_refused(encoder.encode_document, text, tally)
    prove(tally)


@pytest.mark.parametrize("side", ["encode_document", "encode_query"])
def test_awkward_texts_get_rows_and_leave_their_neighbours_alone(encoder, amount, prove, side):
    tally = Tally("inputs")
    check_awkward(getattr(encoder, side), awkward_texts(amount(100, 8)), tally)
    prove(tally)


def test_generated_lists(encoder, amount, prove):
    tally = Tally("inputs")
    check_generated(encoder.encode_document, amount(3_000, 150), tally)
    prove(tally)


def test_lengths_around_the_limit(checkpoint, prove):
    tally = Tally("inputs")
    encoder = F2LLM(checkpoint, dtype="float32")
    assert encoder.count_tokens("a" * 40) == [41]
    check_lengths(encoder, [2, 3, 8, 31, 64, 257, 1_000], tally)
    prove(tally)


def faults_of(check, *args, **options):
    tally = Tally("inputs")
    check(*args, tally=tally, **options)
    return {name for name, count in tally.found.items() if count}


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (inputs.door_that_raises_untyped_errors, "untyped errors"),
        (inputs.door_that_names_the_wrong_text, "untyped errors"),
        (inputs.door_that_lets_everything_through, "bad ones let through"),
    ],
)
def test_a_broken_door_is_found(encoder, broken, found):
    assert faults_of(check_refused, broken(encoder.encode_document), None) == {found}
    assert faults_of(check_generated, broken(encoder.encode_document), 50) == {found}


@pytest.mark.parametrize(
    "broken",
    [
        inputs.door_that_returns_nan_for_blanks,
        inputs.door_that_mixes_neighbours,
        inputs.door_that_ruins_neighbours_with_nan,
        inputs.door_that_stretches_neighbours,
        inputs.door_that_loses_the_last,
    ],
)
def test_wrong_rows_are_found(encoder, broken):
    door = broken(encoder.encode_document)
    assert faults_of(check_awkward, door, awkward_texts(1)) == {"NaN or wrong rows"}


@pytest.mark.parametrize("category", ["Cc", "Cn", "Co", "Cf", "Mn", "Zl", "So"])
def test_a_category_that_is_not_taken_is_found(encoder, category):
    door = inputs.door_that_chokes_on(category, encoder.encode_document)
    assert faults_of(check_awkward, door, awkward_texts(1)) == {"untyped errors"}


def test_an_encoder_that_cuts_too_early_is_found(encoder):
    broken = inputs.CutsOneTokenMore(encoder)
    assert "NaN or wrong rows" in faults_of(check_lengths, broken, [8])


def test_an_encoder_without_a_row_for_what_just_fits_is_found(encoder):
    broken = inputs.ReturnsNanAtTheLimit(encoder)
    assert faults_of(check_lengths, broken, [8]) == {"NaN or wrong rows"}
