"""What a server answered, checked before a row of it is believed."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from f2llm_core.errors import EndpointResponseError
from f2llm_core.matryoshka import Vectors


class Answer(NamedTuple):
    """What a server made of texts.

    Attributes:
        rows: `(n, width)` float32, row i for text i; finite, none of them zero.
        model: What the server says has made them; empty if it does not.
    """

    rows: Vectors
    model: str


def read_answer(body: bytes, count: int, where: str) -> Answer:
    """Read an answer of `/v1/embeddings`.

    Args:
        body: The JSON document.
        count: Texts that were sent.
        where: The server, to begin a message with.

    Raises:
        EndpointResponseError: Anything but one sound vector for each text, all of one width.
    """
    problem, answer = _read(body, count)
    if answer is None:
        msg = f"{where} {problem}."
        raise EndpointResponseError(msg, status=200)
    return answer


def parse(body: bytes) -> Any:  # noqa: ANN401  (whatever JSON holds)
    """Return a JSON document; None for what is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _read(body: bytes, count: int) -> tuple[str, Answer | None]:
    """Return an answer, or what is wrong with it."""
    document = parse(body)
    if document is None:
        return f"answered something else than JSON ({body[:40]!r} …); look at base_url", None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return "answered JSON without a list of embeddings in 'data'; look at base_url", None
    if len(data) != count:
        return f"answered {len(data)} embeddings for {count} texts", None
    places = _places(data)
    if places is None:
        shown = [item.get("index") for item in data[:8]]
        return f"numbered its {count} embeddings wrongly ({shown!r:.80} …)", None
    vectors = [_vector(item.get("embedding")) for item in data]
    for place, vector in zip(places, vectors, strict=True):
        if isinstance(vector, str):
            return f"answered for text {place} {vector}", None
    return _stack(places, [v for v in vectors if not isinstance(v, str)], document.get("model"))


def _places(data: list[dict[str, Any]]) -> list[int] | None:
    """Return which text each embedding is of; servers that number none keep the order."""
    indices = [item.get("index") for item in data]
    if all(index is None for index in indices):
        return list(range(len(data)))
    if not all(type(index) is int for index in indices) or set(indices) != set(range(len(data))):
        return None
    return [int(index) for index in indices if index is not None]


def _vector(value: object) -> Vectors | str:
    """Return one embedding, `(width,)` float32, or what it is instead."""
    if isinstance(value, str):  # asked for floats, some servers send these bytes
        return _decoded(value)
    if not isinstance(value, list) or not value:
        return "no embedding"
    if all(isinstance(item, list) for item in value):
        return "a vector for each token: start it with pooling (of the last token)"
    if not set(map(type, value)) <= {int, float}:
        return "something else than numbers"
    try:
        with np.errstate(over="ignore"):  # to infinity, which is looked for
            return _sound(np.array(value, dtype=np.float32))
    except OverflowError:
        return "numbers out of range"


def _decoded(value: str) -> Vectors | str:
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        return "text that is no base64"
    if not raw or len(raw) % 4:
        return "base64 that is not of float32"
    return _sound(np.frombuffer(raw, "<f4").astype(np.float32))


def _sound(vector: Vectors) -> Vectors | str:
    if not np.isfinite(vector).all():
        return "NaN or infinity"
    return vector if vector.any() else "a vector of zeros"


def _stack(places: list[int], vectors: list[Vectors], model: object) -> tuple[str, Answer | None]:
    widths = sorted({len(vector) for vector in vectors})
    if len(widths) > 1:
        return f"answered vectors of different widths ({widths[0]} and {widths[-1]})", None
    rows = np.empty((len(vectors), widths[0]), dtype=np.float32)
    rows[places] = vectors
    return "", Answer(rows, model if isinstance(model, str) else "")
