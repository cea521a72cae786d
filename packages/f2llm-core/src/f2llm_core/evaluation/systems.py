"""What can be evaluated: `F2LLM`, and whatever else makes vectors of queries and documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_STOCK = {
    "sentence-transformers": "sentence_transformers:SentenceTransformer",
    "langchain-huggingface": "langchain_huggingface:HuggingFaceEmbeddings",
    "llama-index-embeddings-huggingface": "llama_index.embeddings.huggingface:HuggingFaceEmbedding",
}
_SECRET = re.compile(r"([?&][^=&]*(?:key|token|secret|password)[^=&]*=)[^&]*", re.IGNORECASE)


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

    def embed_queries(texts: list[str]) -> Vectors:
        return _rows(lambda: [query(text) for text in texts], len(texts), name)

    def embed_documents(texts: Iterable[str]) -> Iterator[Vectors]:
        stream = iter(texts)
        for block in iter(lambda: list(islice(stream, _BLOCK)), []):
            yield _rows(partial(documents, block), len(block), name)

    return System(
        name=name,
        model=name,
        kind="baseline",
        embed_queries=embed_queries,
        embed_documents=embed_documents,
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
    make, options = find_class(spec)
    try:
        made = make(**options)
    except Exception as error:  # whatever others raise about their options
        msg = f"{without_secrets(spec)!r}: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    return as_system(made, name or spec.partition("?")[0])


def find_class(spec: str) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """Return what `load_system` calls, and with which options.

    Raises:
        ConfigurationError: There is no such module or class.
    """
    dotted, _, query = spec.partition("?")
    module, _, attribute = dotted.partition(":")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    shown = without_secrets(spec)
    if not (module and attribute) or not all(key and equals for key, equals, _ in pairs):
        msg = (
            f"{shown!r}: expected module:Class?option=value&option=value, for example "
            "'langchain_huggingface:HuggingFaceEmbeddings?model_name=some/model'."
        )
        raise ConfigurationError(msg)
    try:
        make = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        msg = f"{shown!r}: {error}. Is the package installed?"
        raise ConfigurationError(msg) from error
    except Exception as error:  # whatever a module does when it is imported
        msg = f"{shown!r}: importing it failed: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    return make, {key: _value(unquote(value)) for key, _, value in pairs}


def without_secrets(spec: str) -> str:
    """Return a dotted name for messages and reports, without the values of keys and tokens."""
    return _SECRET.sub(r"\1***", spec)


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
    options: dict[str, dict[str, Any]] = {
        "sentence-transformers": {"model_name_or_path": str(folder), "model_kwargs": exact},
        "langchain-huggingface": {"model_name": str(folder), "model_kwargs": nested},
        "llama-index-embeddings-huggingface": {"model_name": str(folder), "model_kwargs": exact},
    }
    for name, make in installed_stock().items():
        system = as_system(make(**options[name]), name, matryoshka=True)
        yield replace(system, model=folder.name, dtype=exact["dtype"])


def installed_stock() -> dict[str, Callable[..., Any]]:
    """Return the classes of the frameworks' own integrations by package, those installed.

    Raises:
        ConfigurationError: None of them is.
    """
    found = {}
    for package, dotted in _STOCK.items():
        module, _, name = dotted.partition(":")
        try:
            found[package] = getattr(import_module(module), name)
        except ImportError:
            continue
    if not found:
        packages = ", ".join(_STOCK)
        msg = f"None of the stock integrations is installed: pip install one of {packages}."
        raise ConfigurationError(msg)
    return found


def _value(text: str) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _rows(embed: Callable[[], Any], count: int, name: str) -> Vectors:
    """Return what an embedder makes of so many texts, lists, arrays or tensors, as rows."""
    try:
        rows = np.asarray(embed(), dtype=np.float32)
    except Exception as error:  # whatever others raise: no key, no server, no memory
        msg = f"{name} failed to embed {count} texts: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    if rows.ndim != 2 or len(rows) != count:
        msg = f"{name} made an array of shape {rows.shape} of {count} texts; expected a row each."
        raise ConfigurationError(msg)
    return rows
