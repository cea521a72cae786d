"""`config.json` of a checkpoint: what the forward pass needs, and a refusal of what it lacks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f2llm_core.errors import ModelLoadError

_LARGEST = 2**40  # above any real number in a config.json; refuses infinity and NaN as well
_LARGEST_SIZE = 2**24  # above any real size; memory is taken for some before the weights are read
_DEFAULT_HEAD_DIM = 128  # transformers' Qwen3Config; never hidden_size / heads in this family


@dataclass(frozen=True, slots=True)
class Qwen3Config:
    """The shape of a dense Qwen3 decoder.

    Attributes:
        vocab_size: Rows of the embedding table.
        width: Residual width and embedding width (`hidden_size`).
        layers: Number of decoder layers.
        heads: Query heads.
        kv_heads: Key/value heads; `heads` is a multiple of it.
        head_dim: Width of one head; in this family independent of `width / heads`.
        intermediate_size: Width of the feed-forward layers.
        norm_eps: Epsilon of the RMS norms.
        rope_theta: Base of the rotary position embedding.
        max_position: Longest sequence in tokens.
        eos_ids: End-of-sequence ids that the file declares; may be empty.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    norm_eps: float
    rope_theta: float
    max_position: int
    eos_ids: tuple[int, ...]


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file.

    Raises:
        ModelLoadError: Not readable, not JSON (a Git LFS pointer, an HTML error page), no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # bad JSON or UTF-8 is a ValueError
        msg = f"{path} is not readable as JSON ({error}). Download the file again."
        raise ModelLoadError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds a JSON {type(content).__name__}, expected an object."
        raise ModelLoadError(msg)
    return content


def read_config(path: Path) -> Qwen3Config:
    """Read and check a `config.json`.

    Args:
        path: The file. Both notations of the rotary base are read: `rope_theta` (transformers 4)
            and `rope_parameters` (transformers 5).

    Returns:
        The shape of the model.

    Raises:
        ModelLoadError: Another architecture, a feature these models never use (biases, scaled
            rotary embeddings, sliding windows), or a missing or impossible number.
    """
    raw = read_json(path)
    _refuse_other_architectures(raw, path)
    rope = raw.get("rope_parameters") or {}
    config = Qwen3Config(
        vocab_size=_positive(raw, "vocab_size", path),
        width=_positive(raw, "hidden_size", path),
        layers=_positive(raw, "num_hidden_layers", path),
        heads=_positive(raw, "num_attention_heads", path),
        kv_heads=_positive(raw, "num_key_value_heads", path),
        head_dim=_positive({"head_dim": _DEFAULT_HEAD_DIM} | raw, "head_dim", path),
        intermediate_size=_positive(raw, "intermediate_size", path),
        norm_eps=_number({"rms_norm_eps": 1e-6} | raw, "rms_norm_eps", path),
        rope_theta=_number({"rope_theta": 1e4} | raw | rope, "rope_theta", path),
        max_position=_positive(raw, "max_position_embeddings", path),
        eos_ids=_eos_ids(raw, path),
    )
    if config.heads % config.kv_heads or config.head_dim % 2:
        msg = (
            f"{path}: num_attention_heads={config.heads} must be a multiple of "
            f"num_key_value_heads={config.kv_heads}, and head_dim={config.head_dim} even."
        )
        raise ModelLoadError(msg)
    return config


def _refuse_other_architectures(raw: dict[str, Any], path: Path) -> None:
    layer_types = raw.get("layer_types") or ["full_attention"]
    found = {
        "model_type": (raw.get("model_type"), "qwen3"),
        "hidden_act": (raw.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(raw.get("attention_bias")), False),
        "use_sliding_window": (bool(raw.get("use_sliding_window")), False),
        "layer_types": (
            sorted(set(map(str, layer_types))) if isinstance(layer_types, list) else layer_types,
            ["full_attention"],
        ),
        "rope_scaling": (_rope_type(raw.get("rope_scaling")), "default"),
        "rope_parameters": (_rope_type(raw.get("rope_parameters")), "default"),
    }
    wrong = [f"{key} is {has!r}, not {want!r}" for key, (has, want) in found.items() if has != want]
    if wrong:
        msg = f"{path} is not a dense Qwen3 embedding model: {'; '.join(wrong)}."
        raise ModelLoadError(msg)


def _rope_type(rope: object) -> object:
    """Return how positions are scaled, "default" if they are not."""
    if not rope:
        return "default"
    if not isinstance(rope, dict):
        return f"no object but {rope!s:.50}"
    return rope.get("rope_type", rope.get("type", "default"))


def _eos_ids(raw: dict[str, Any], path: Path) -> tuple[int, ...]:
    eos = raw.get("eos_token_id")
    ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    if all(type(i) is int and i >= 0 for i in ids):
        return tuple(ids)
    msg = f"{path}: eos_token_id is {str(eos)[:50]!r}, expected a token id or a list of them."
    raise ModelLoadError(msg)


def _number(raw: dict[str, Any], key: str, path: Path) -> float:
    value = raw.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LARGEST:
        return float(value)
    msg = f"{path}: {key} is {str(value)[:50]!r}, expected a positive number."
    raise ModelLoadError(msg)


def _positive(raw: dict[str, Any], key: str, path: Path) -> int:
    value = _number(raw, key, path)
    if value != int(value) or value > _LARGEST_SIZE:
        msg = f"{path}: {key} is {value!r}, expected an integer up to {_LARGEST_SIZE}."
        raise ModelLoadError(msg)
    return int(value)
