"""The engines that are compared: how each is loaded and called, as its users would do it.

Importing this imports none of them, so that a cold start pays for its own engine only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from benchmarks.llama_cpp import LlamaCpp, write_model_file

DEVICE = "cpu"
REFERENCE = "st-fp32"  # whose vectors are right, and whose speed is 1
_ST = "sentence-transformers"


class Embedder(Protocol):
    """A loaded engine.

    Attributes:
        dtype: Its precision, `"float32"`, `"bfloat16"`, `"float16"` or `"int8"`; decides how near
            to the reference its vectors must be.
    """

    dtype: str

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        """Embed documents; gives what numpy can make `(n, width)` of."""

    def query(self, text: str) -> Any:  # noqa: ANN401
        """Embed one query after the checkpoint's own instruction; gives `(width,)`."""


@dataclass(frozen=True)
class Engine:
    """One way to run the checkpoint.

    Attributes:
        name: For the command line.
        title: For the table.
        load: Makes the embedder from a folder.
        needs: Modules that must be installed.
        batch_size: Documents per batch unless said otherwise; 0 where that is no option.
        tuned: Whether to measure it at its best batch size, too.
        prepare: Makes what it loads beside the checkpoint, in this interpreter.
    """

    name: str
    title: str
    load: Callable[[Path], Embedder]
    needs: tuple[str, ...]
    batch_size: int = 0
    tuned: bool = False
    prepare: Callable[[Path], None] | None = None


class _Ours:
    def __init__(self, folder: Path, dtype: Any) -> None:  # noqa: ANN401
        from f2llm_core import F2LLM

        self.dtype = dtype
        self._model = F2LLM(folder, device=DEVICE, dtype=dtype)

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        return self._model.encode_document(texts)

    def query(self, text: str) -> Any:  # noqa: ANN401
        return self._model.encode_query(text)


class _SentenceTransformers:
    def __init__(self, folder: Path, dtype: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(
            str(folder), device=DEVICE, model_kwargs={"dtype": dtype}, local_files_only=True
        )
        self.dtype = _dtype(self._model)

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        return self._model.encode_document(texts, batch_size=batch_size)

    def query(self, text: str) -> Any:  # noqa: ANN401
        return self._model.encode_query(text)


class _OpenVINO:
    """Its infer request serves one caller at a time, so callers take turns."""

    def __init__(self, folder: Path, hint: str) -> None:
        from sentence_transformers import SentenceTransformer

        self.dtype = {"f32": "float32", "bf16": "bfloat16"}[hint]
        self._turn = threading.Lock()
        exported = folder.with_name("openvino")
        if not exported.exists():  # once for all, as its documentation advises
            made = SentenceTransformer(str(folder), device=DEVICE, backend="openvino")
            made.save_pretrained(str(exported))
        self._model = SentenceTransformer(
            str(exported),
            device=DEVICE,
            backend="openvino",
            model_kwargs={"ov_config": {"INFERENCE_PRECISION_HINT": hint}},
            local_files_only=True,
        )

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        return self._model.encode_document(texts, batch_size=batch_size)

    def query(self, text: str) -> Any:  # noqa: ANN401
        with self._turn:
            return self._model.encode_query(text)


class _LangChain:
    """In the checkpoint's own dtype, as it loads; left to itself it drops the query prompt."""

    def __init__(self, folder: Path) -> None:
        from langchain_huggingface import HuggingFaceEmbeddings

        self._model = HuggingFaceEmbeddings(
            model_name=str(folder),
            model_kwargs={"device": DEVICE},
            query_encode_kwargs={"prompt_name": "query"},
        )
        self.dtype = _dtype(self._model._client)

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        return self._model.embed_documents(texts)

    def query(self, text: str) -> Any:  # noqa: ANN401
        return self._model.embed_query(text)


class _LlamaIndex:
    """In the checkpoint's own dtype, as it loads; left to itself it drops the query prompt."""

    def __init__(self, folder: Path) -> None:
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        self._model = HuggingFaceEmbedding(
            model_name=str(folder), device=DEVICE, query_instruction=read_query_prompt(folder)
        )
        self.dtype = _dtype(self._model._model)

    def documents(self, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
        return self._model.get_text_embedding_batch(texts)

    def query(self, text: str) -> Any:  # noqa: ANN401
        return self._model.get_query_embedding(text)


def read_query_prompt(folder: Path) -> str:
    """Return the query prompt that a checkpoint declares."""
    content = json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))
    return str(content["prompts"]["query"])


def _dtype(model: Any) -> str:  # noqa: ANN401
    return str(next(model.parameters()).dtype).removeprefix("torch.")


_OV_MODULES = ("sentence_transformers", "optimum.intel", "openvino")
_ENGINES = (
    Engine("f2llm-fp32", "**f2llm**", lambda f: _Ours(f, "float32"), ("f2llm_core",)),
    Engine("f2llm-bf16", "**f2llm**", lambda f: _Ours(f, "bfloat16"), ("f2llm_core",)),
    Engine("f2llm-int8", "**f2llm**", lambda f: _Ours(f, "int8"), ("f2llm_core",)),
    Engine(
        REFERENCE,
        _ST,
        lambda f: _SentenceTransformers(f, "float32"),
        ("sentence_transformers",),
        batch_size=32,
        tuned=True,
    ),
    Engine(
        "st-bf16",
        _ST,
        lambda f: _SentenceTransformers(f, "bfloat16"),
        ("sentence_transformers",),
        batch_size=32,
        tuned=True,
    ),
    Engine("langchain", "langchain-huggingface", _LangChain, ("langchain_huggingface",)),
    Engine(
        "llama-index",
        "llama-index HuggingFaceEmbedding",
        _LlamaIndex,
        ("llama_index.embeddings.huggingface",),
    ),
    Engine(
        "st-openvino-fp32",
        f"{_ST} OpenVINO",
        lambda f: _OpenVINO(f, "f32"),
        _OV_MODULES,
        batch_size=32,
    ),
    Engine(
        "st-openvino-bf16",
        f"{_ST} OpenVINO",
        lambda f: _OpenVINO(f, "bf16"),
        _OV_MODULES,
        batch_size=32,
    ),
    *(
        Engine(
            f"llama-cpp-{precision}",
            f"llama.cpp {precision.upper()}",
            partial(LlamaCpp, precision=precision),
            ("llama_cpp",),
            prepare=partial(write_model_file, precision=precision),
        )
        for precision in ("f32", "bf16", "f16", "q8_0")
    ),
)

#: All engines by name, in the order of the table.
ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in _ENGINES})
