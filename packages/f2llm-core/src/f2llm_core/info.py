"""What became of a model when it was loaded, for people who ask why, or report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from f2llm_core.backends.cached import CachedBackend
from f2llm_core.backends.local import LocalBackend
from f2llm_core.errors import ConfigurationError
from f2llm_core.fingerprint import precision
from f2llm_core.instructions import Prompts
from f2llm_core.machine import kind_name
from f2llm_core.models import trained_dimensions

if TYPE_CHECKING:
    import torch

    from f2llm_core.encoder import F2LLM


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model.

    Attributes:
        name: Hub id or folder.
        revision: What was asked of the hub; None for a folder or the default branch.
        commit: What the hub answered with; None for a folder.
        folder: Where the files are.
        layers: Number of decoder layers.
        width: Full embedding width.
        heads: Query heads per layer.
        kv_heads: Key/value heads per layer.
        head_dim: Width of one head.
        intermediate_size: Width of the feed-forward layers.
        vocab_size: Rows of the embedding table.
        trained_dimensions: Matryoshka widths, ascending.
        max_position: Longest sequence the model supports, in tokens.
        max_length: Tokens kept of each text.
        prompts: What goes before queries and before documents.
        backend: The backend's name.
        device: Where it computes.
        dtype: Precision of the matrix products; for weights kept in another one both.
        linear: Kind of matrix product.
        attention: Kind of attention.
        weight_bytes: Memory of the weights by kind, `"table"` (token embeddings) and `"layers"`.
        load_seconds: Time to read tokenizer and weights, with torch's import if that was due; near
            zero if they were loaded before.
    """

    name: str
    revision: str | None
    commit: str | None
    folder: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    trained_dimensions: tuple[int, ...]
    max_position: int
    max_length: int
    prompts: Prompts
    backend: str
    device: str
    dtype: str
    linear: str
    attention: str
    weight_bytes: Mapping[str, int]
    load_seconds: float


def describe(model: F2LLM) -> ModelInfo:
    """Load a model, if it is not loaded yet, and say what came of it.

    Raises:
        ConfigurationError: The encoder's backend does not run in this process.
        ModelError: The model cannot be found or loaded.
    """
    backend = _local(model)
    source, folder = backend.checkpoint.source, backend.checkpoint.folder
    config = backend.checkpoint.config
    started = time.perf_counter()
    backend.load()
    seconds = time.perf_counter() - started
    engine: Any = backend._engine
    options = model.config
    return ModelInfo(
        name=model.model,
        revision=model.revision,
        commit=folder.name if source.folder is None else None,
        folder=str(folder),
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate_size=config.intermediate_size,
        vocab_size=config.vocab_size,
        trained_dimensions=trained_dimensions(config.width),
        max_position=config.max_position,
        max_length=model.max_length,
        prompts=model.prompts,
        backend=options["backend"],
        device=str(engine.device),
        dtype=precision(options["dtype"], engine.device),
        linear=_kind(engine, "linear"),
        attention=_kind(engine, "attention"),
        weight_bytes=_weight_bytes(engine, config.vocab_size),
        load_seconds=seconds,
    )


def _local(model: F2LLM) -> LocalBackend:
    backend = model._backend
    if isinstance(backend, CachedBackend):
        backend = backend.inner
    if not isinstance(backend, LocalBackend):
        msg = f"{model!r} does not run in this process: there is nothing to describe."
        raise ConfigurationError(msg)
    return backend


def _kind(engine: object, what: str) -> str:
    kind = getattr(engine, what, None)  # other libraries' engines do not tell
    return "transformers" if kind is None else kind_name(kind)


def _weight_bytes(engine: object, vocab_size: int) -> dict[str, int]:
    """Sum the tensors that an engine holds; those with a row per token are the table."""
    sizes = {"table": 0, "layers": 0}
    for tensor in _tensors(engine, set()):
        sizes["table" if tensor.shape[:1] == (vocab_size,) else "layers"] += tensor.nbytes
    return sizes


def _tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:  # noqa: ANN401  (any object)
    """Yield every tensor within an engine, once."""
    import torch

    if id(value) in seen or isinstance(value, type):
        return
    seen.add(id(value))
    inside: Any = ()
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from value.parameters()
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, (list, tuple)):
        inside = value
    elif type(value).__module__.startswith("f2llm_core."):
        slots = getattr(value, "__slots__", ())
        inside = [getattr(value, name, None) for name in slots] or vars(value).values()
    for item in inside:
        yield from _tensors(item, seen)
