"""Many vectors become lists while the event loop goes on, in the core and in both adapters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from f2llm_core import F2LLM
from f2llm_core.outputs import to_lists
from langchain_f2llm import F2LLMEmbeddings
from llama_index.embeddings.f2llm import F2LLMEmbedding

MANY = 1000
ENCODER = F2LLM("80M")  # never loaded
LANGCHAIN = F2LLMEmbeddings.from_encoder(ENCODER)
LLAMA_INDEX = F2LLMEmbedding.from_encoder(ENCODER)
CONVERSIONS: dict[str, Callable[[Any], Awaitable[list[list[float]]]]] = {
    "core": to_lists,
    "LangChain": lambda rows: LANGCHAIN.aembed_documents(["a"] * len(rows)),
    "LlamaIndex": lambda rows: LLAMA_INDEX._aget_text_embeddings(["a"] * len(rows)),
    "LlamaIndex's queries": lambda rows: LLAMA_INDEX.aget_agg_embedding_from_queries(
        ["a"] * 400, agg_fn=list
    ),
}


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (3, 8), (MANY, 320)])
async def test_same_as_at_once(shape: tuple[int, int]):
    rows = np.random.default_rng(0).random(shape, dtype=np.float32)
    lists = await to_lists(rows)
    assert lists == rows.tolist()
    assert {type(number) for row in lists for number in row} <= {float}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
async def test_the_loop_goes_on(convert: Any, monkeypatch: pytest.MonkeyPatch):
    entered, loop_ran = threading.Event(), threading.Event()

    class Watched(np.ndarray[Any, Any]):
        def tolist(self) -> Any:
            assert self.ndim == 1, "the interpreter is held until all are converted"
            entered.set()
            assert loop_ran.wait(10), "the event loop was blocked"
            return super().tolist()

    def rows(count: int) -> Watched:
        return np.ones((count, 320), dtype=np.float32).view(Watched)

    async def encode(self: F2LLM, texts: Any) -> Watched:
        return rows(len(list(texts)))

    for method in ("aencode_document", "aencode_query"):
        monkeypatch.setattr(F2LLM, method, encode)
    task = asyncio.ensure_future(convert(rows(MANY)))
    while not (entered.is_set() or task.done()):
        await asyncio.sleep(0.001)
    loop_ran.set()
    assert {len(row) for row in await task} == {320}
