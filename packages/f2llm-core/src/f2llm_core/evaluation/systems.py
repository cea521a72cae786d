"""What can be evaluated: `F2LLM`, and whatever else makes vectors of queries and documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError, FingerprintError
from f2llm_core.fingerprint import Fingerprint
from f2llm_core.matryoshka import Vectors

_BLOCK = 1024  # documents embedded at a time


@dataclass(frozen=True, slots=True)
class System:
    """One way to turn texts into vectors.

    Attributes:
        name: Unique in an evaluation.
        model: Of the model, for people.
        kind: `"f2llm"`, or `"baseline"` for anything else.
        embed_queries: From texts to rows of full width.
        embed_documents: From texts to blocks of rows.
        matryoshka: Whether cut rows mean something; if not, only the full width is evaluated.
        dtype: Precision, if it is known.
        query_prompt: What goes before queries, if it is known.
        document_prompt: What goes before documents, if it is known.
        fingerprint: What an index must be made with.
    """

    name: str
    model: str
    kind: Literal["f2llm", "baseline"]
    embed_queries: Callable[[list[str]], Vectors]
    embed_documents: Callable[[Iterable[str]], Iterator[Vectors]]
    matryoshka: bool = False
    dtype: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    fingerprint: dict[str, Any] | None = None


def f2llm_system(model: F2LLM, name: str | None = None, *, show_progress: bool = False) -> System:
    """Evaluate an encoder, at its full width or at any below, whatever its `dimensions`."""
    whole = model.with_options(dimensions=None)
    prompts = whole.prompts
    fingerprint: Fingerprint | None
    try:
        fingerprint = whole.fingerprint
    except FingerprintError:  # a server, which does not say what exactly it runs
        fingerprint = None
    known = Path(whole.model).name if fingerprint is None else fingerprint.name
    return System(
        name=name or known,
        model=known,
        kind="f2llm",
        embed_queries=partial(whole.encode_query, show_progress=show_progress),
        embed_documents=partial(
            whole.iter_documents, block_size=_BLOCK, show_progress=show_progress
        ),
        matryoshka=True,
        dtype=None if fingerprint is None else fingerprint.dtype,
        query_prompt=prompts.query,
        document_prompt=prompts.document,
        fingerprint=None if fingerprint is None else asdict(fingerprint),
    )


def as_system(model: Any, name: str | None = None, *, matryoshka: bool = False) -> System:  # noqa: ANN401
    """Evaluate any embedder through the methods that its framework calls.

    Args:
        model: An `F2LLM`, a LangChain `Embeddings`, a LlamaIndex `BaseEmbedding`, a
            sentence-transformers model.
        name: By default its class.
        matryoshka: Whether it was trained for cut vectors, which are then evaluated, too.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(model, F2LLM):
        return f2llm_system(model, name)
    kind = type(model)
    name = name or f"{kind.__module__.partition('.')[0]}:{kind.__name__}"
    if hasattr(model, "embed_query") and hasattr(model, "embed_documents"):
        query, documents = model.embed_query, model.embed_documents
    elif hasattr(model, "get_query_embedding") and hasattr(model, "get_text_embedding_batch"):
        query, documents = model.get_query_embedding, model.get_text_embedding_batch
    elif hasattr(model, "encode_query") and hasattr(model, "encode_document"):
        query, documents = model.encode_query, model.encode_document
    else:
        msg = (
            f"{name} cannot be evaluated: expected a LangChain Embeddings (embed_query), a "
            "LlamaIndex BaseEmbedding (get_query_embedding) or a sentence-transformers model "
            "(encode_query)."
        )
        raise ConfigurationError(msg)
    return System(
        name=name,
        model=name,
        kind="baseline",
        embed_queries=lambda texts: _rows([query(text) for text in texts]),
        embed_documents=partial(_blocks, documents),
        matryoshka=matryoshka,
    )


def load_system(spec: str, name: str | None = None) -> System:
    """Make an embedder by its dotted name and evaluate it.

    Args:
        spec: `"module:Class?option=value&option=value"`. A value is JSON where it can be read as
            such, else text; `%26` stands for `&`.
        name: By default the part before the `?`.

    Raises:
        ConfigurationError: There is no such module or class, or it refuses the options.
    """
    dotted, _, query = spec.partition("?")
    module, _, attribute = dotted.partition(":")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if not (module and attribute) or not all(key and equals for key, equals, _ in pairs):
        msg = (
            f"{spec!r}: expected module:Class?option=value&option=value, for example "
            "'langchain_huggingface:HuggingFaceEmbeddings?model_name=some/model'."
        )
        raise ConfigurationError(msg)
    options = {key: _value(unquote(value)) for key, _, value in pairs}
    try:
        make = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        msg = f"{spec!r}: {error}. Is the package installed?"
        raise ConfigurationError(msg) from error
    try:
        made = make(**options)
    except Exception as error:  # whatever others raise about their options
        msg = f"{spec!r}: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    return as_system(made, name or dotted)


def stock_systems(folder: Path, dtype: str) -> Iterator[System]:
    """Yield a checkpoint as the frameworks' own integrations use it, those that are installed.

    Args:
        folder: The checkpoint.
        dtype: Precision of the matrix products, so that the use is compared and not the rounding.

    Raises:
        ConfigurationError: None of them is installed.
    """
    exact = {"dtype": dtype.rpartition("/")[2]}  # "int8/bfloat16" multiplies in bfloat16
    nested = {"model_kwargs": exact}  # LangChain passes on what sentence-transformers takes
    stock: list[tuple[str, str, dict[str, Any]]] = [
        (
            "sentence-transformers",
            "sentence_transformers:SentenceTransformer",
            {"model_name_or_path": str(folder), "model_kwargs": exact},
        ),
        (
            "langchain-huggingface",
            "langchain_huggingface:HuggingFaceEmbeddings",
            {"model_name": str(folder), "model_kwargs": nested},
        ),
        (
            "llama-index-embeddings-huggingface",
            "llama_index.embeddings.huggingface:HuggingFaceEmbedding",
            {"model_name": str(folder), "model_kwargs": exact},
        ),
    ]
    installed = 0
    for name, dotted, options in stock:
        module, _, attribute = dotted.partition(":")
        try:
            make = getattr(import_module(module), attribute)
        except ImportError:
            continue
        installed += 1
        system = as_system(make(**options), name, matryoshka=True)
        yield replace(system, model=folder.name, dtype=exact["dtype"])
    if not installed:
        packages = ", ".join(name for name, _, _ in stock)
        msg = f"None of the stock integrations is installed: pip install one of {packages}."
        raise ConfigurationError(msg)


def _value(text: str) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _blocks(embed: Callable[[list[str]], Any], texts: Iterable[str]) -> Iterator[Vectors]:
    stream = iter(texts)
    for block in iter(lambda: list(islice(stream, _BLOCK)), []):
        yield _rows(embed(block))


def _rows(vectors: Any) -> Vectors:  # noqa: ANN401  (lists, arrays, tensors)
    return np.asarray(vectors, dtype=np.float32)
