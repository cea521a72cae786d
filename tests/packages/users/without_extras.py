"""A user's own program that uses what is not installed: prints the install line of each extra."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from f2llm_core import F2LLM, MissingExtraError
from f2llm_core.distributed import embed_dataset, read_tables
from f2llm_core.testing import tiny_checkpoint


def answer(**options: Any) -> Callable[[Path], object]:
    return lambda model: F2LLM(model, **options).encode_query("a")


def imported(module: str) -> Callable[[Path], object]:
    return lambda _: import_module(module)


def embedded(_: Path) -> object:
    return next(iter(read_tables(["corpus.jsonl"])))


def distributed(model: Path) -> object:
    return embed_dataset(object(), F2LLM(model), "vectors")


#: A module that each extra brings, hidden if another package brought it, and how it is used.
EXTRAS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "chroma": ("chromadb", imported("f2llm_core.chroma")),
    "endpoint": ("httpx", answer(base_url="http://127.0.0.1:9/v1")),
    "eval": ("jinja2", imported("f2llm_core.evaluation.report")),
    "mteb": ("mteb", imported("f2llm_core.evaluation.mteb")),
    "parquet": ("pyarrow", embedded),
    "ray": ("ray", distributed),
    "sentence-transformers": ("sentence_transformers", answer(backend="sentence-transformers")),
}

with tempfile.TemporaryDirectory() as scratch:
    model = tiny_checkpoint(Path(scratch) / "model")
    for extra, (module, use) in EXTRAS.items():
        sys.modules[module] = None  # type: ignore[assignment]
        try:
            use(model)
        except MissingExtraError as error:
            [line] = re.findall(r"pip install '.*?'", str(error))
            print(line)
        else:
            message = f"{extra} was not missed"
            raise AssertionError(message)
