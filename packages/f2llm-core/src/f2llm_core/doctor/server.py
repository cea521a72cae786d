"""What `doctor` tries on a model that a server runs, whose vectors it holds against right ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from f2llm_core.doctor import Check
from f2llm_core.doctor.golden import LONG, TEXTS, Golden, Way, make_golden, name_of
from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError, EndpointError, ModelError
from f2llm_core.matryoshka import Vectors

_SAME = 0.005  # 1 - cosine: 16 bits are nearer than that, 8 bits as a rule
_NEAR = 0.02  # and what a wrong way may be off, since the server rounds, too
_CLEARER = 4  # times nearer must a wrong way be than the right one, to be the cause
_KIN = 0.2  # beyond which rounding cannot be to blame

#: What to do about a server, by what is wrong with its vectors.
ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "without EOS": (
            "Its tokenizer must append the EOS: serve the checkpoint's own tokenizer.json, or a "
            "GGUF file made with add_eos_token."
        ),
        "with two EOS": "Its tokenizer and its template both append one: turn one of them off.",
        "mean-pooled": (
            "Start it with last-token pooling: --pooling last (llama.cpp), --pooling last-token "
            "(text-embeddings-inference)."
        ),
        "query instruction on documents": (
            "Turn its default prompt off: instructions are put in here, once."
        ),
        "truncated": "Raise its context and its batch of tokens, or pass max_length here.",
        "newlines rewritten": "Have it take texts as they are.",
        "ends stripped": "Have it take texts as they are.",
    }
)


def examine_server(encoder: F2LLM, golden: Golden | None) -> Iterator[Check]:
    """Try a model that a server runs.

    Args:
        encoder: The model, with whatever options.
        golden: The right vectors; None to make them with weights on this machine, if there are any.

    Raises:
        ConfigurationError: `golden` is of another model.
    """
    if golden is not None:
        check_same_model(encoder, golden)
    # Past the cache, which would answer for the server.
    plain = encoder.with_options(task=None, dimensions=None, max_length=None, on_truncate="ignore")
    backend = plain._backend
    plain._backend = getattr(backend, "inner", backend)
    try:
        yield _check_server(plain)
        short = plain.encode_document(TEXTS[:LONG])
        yield _check_alone(plain, short)
    except EndpointError as error:
        yield Check("server", "failed", str(error).rstrip("."))
        return
    rows = np.full((len(TEXTS), short.shape[1]), np.nan, dtype=np.float32)
    rows[:LONG] = short
    try:
        rows[LONG:] = plain.encode_document(TEXTS[LONG:])
    except EndpointError as error:
        yield Check("long texts", "failed", str(error).rstrip("."), ADVICE["truncated"])
    try:
        right = _make_here(encoder) if golden is None else golden
    except ModelError:
        said = "there is nothing to hold them against: no weights on this machine, and no golden"
        way_out = "where the weights are, run f2llm doctor MODEL --write-golden FILE"
        yield Check("vectors", "skipped", f"{said}; {way_out}")
        return
    yield from check_vectors(rows, right)


def check_same_model(encoder: F2LLM, golden: Golden) -> None:
    """Raise `ConfigurationError` if golden vectors are of another model."""
    if golden.model.casefold() != name_of(encoder).casefold():
        msg = f"The golden vectors are of {golden.model}, not of {name_of(encoder)}."
        raise ConfigurationError(msg)


def check_vectors(rows: Vectors, golden: Golden) -> Iterator[Check]:
    """Tell whether vectors of `TEXTS` are right, or how they were made.

    Args:
        rows: `(len(TEXTS), width)` float32, of unit length; NaN where there are none.
        golden: What they should be.

    Yields:
        One passed check, or a failed one for each thing that is wrong.
    """
    if rows.shape[1] != golden.width:
        said = f"they have {rows.shape[1]} dimensions, the model has {golden.width}"
        yield Check("vectors", "failed", said, "Serve the model that was asked for.")
        return
    right, *wrong = golden.ways
    off = _far(rows, right.rows)
    bad = set(np.flatnonzero(off > _SAME).tolist())
    if not bad:
        yield Check(
            "vectors", "passed", f"cosine {1 - np.nanmax(off):.5f} to the right ones, or nearer"
        )
        return
    while bad:
        way, explained = max(
            ((way, _explained(rows, way, off, bad)) for way in wrong),
            key=lambda pair: (len(pair[1]), -_mean_far(rows, pair[0], pair[1])),
        )
        if not explained:
            break
        bad -= explained
        said = f"{len(explained)} of {len(rows)} vectors {way.said}"
        yield Check(way.kind, "failed", said, ADVICE[way.kind])
    if bad:
        yield _unexplained(off[sorted(bad)], len(rows))


def _check_server(plain: F2LLM) -> Check:
    row = plain.encode_document([TEXTS[0]])
    url = plain.config["base_url"]
    return Check("server", "passed", f"{url} answers, with {row.shape[1]} dimensions")


def _check_alone(plain: F2LLM, together: Vectors) -> Check:
    """See that a vector does not depend on what is sent with it."""
    alone = np.concatenate([plain.encode_document([text]) for text in TEXTS[:LONG]])
    off = float(_far(together, alone).max())
    if off > _SAME:
        said = f"the same text alone and with others: cosine {1 - off:.4f}"
        advice = "It mixes texts or their padding: update it, or have it take one at a time."
        return Check("batches", "failed", said, advice)
    return Check("batches", "passed", f"alone as with others (cosine {1 - off:.5f})")


def _make_here(encoder: F2LLM) -> Golden:
    """Make the right vectors with weights on this machine.

    Raises:
        ModelError: There are none.
    """
    config = encoder.config
    here = F2LLM(
        config["model"],
        revision=config["revision"],
        backend="local",
        dtype="float32",
        local_files_only=True,
    )
    with here:
        return make_golden(here)


def _unexplained(off: Vectors, total: int) -> Check:
    """Say what may be with vectors that no way explains."""
    cosine = 1 - float(np.median(off))
    some = f"{len(off)} of {total} vectors are at cosine {cosine:.3f} from the right ones"
    if cosine >= 1 - _KIN:
        advice = "Serve it in 16 bits, or in 8."
        return Check("precision", "failed", f"{some}: it quantises hard, or rounds", advice)
    advice = "Serve this one, at this revision; and look whether it adds a prompt of its own."
    return Check("model", "failed", f"{some}: it is another model, or made otherwise", advice)


def _explained(rows: Vectors, way: Way, off: Vectors, bad: set[int]) -> set[int]:
    """Return which of the bad vectors a way explains.

    Where it was not gone, it explains what is left if it explains all the others.
    """
    tried = {i for i in bad if np.isfinite(way.rows[i]).all()}
    far = _far(rows, way.rows)
    found = {i for i in tried if far[i] <= min(_NEAR, off[i] / _CLEARER)}
    return bad.copy() if found and found == tried else found


def _mean_far(rows: Vectors, way: Way, explained: set[int]) -> float:
    """Tell ways apart that explain as much: how far off they are."""
    far = _far(rows, way.rows)[sorted(explained)]
    return float(np.nanmean(far)) if len(far) else 0.0


def _far(rows: Vectors, right: Vectors) -> Vectors:
    """Return 1 - cosine of unit vectors, `(n,)`; NaN where there is none."""
    far: Vectors = 1 - (rows.astype(np.float64) * right).sum(axis=1)
    return far
