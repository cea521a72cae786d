"""A user's own program: texts to vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

from f2llm_core import F2LLM, InputError
from f2llm_core.testing import tiny_checkpoint


def best(model: F2LLM, question: str, passages: list[str]) -> int:
    scores = model.encode_document(passages) @ model.encode_query(question)
    return int(scores.argmax())


with tempfile.TemporaryDirectory() as folder:
    model = F2LLM(tiny_checkpoint(Path(folder) / "model"), dimensions=32)
    assert model.encode_document(["a", "b"]).shape == (2, 32)
    assert best(model, "Which?", ["a", "b", "c"]) in range(3)
    try:
        model.encode_query("\ud800")
    except InputError as error:
        where: int | None = error.index
    model.close()
print("ok", where)
