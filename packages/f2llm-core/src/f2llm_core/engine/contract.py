"""What a checkpoint declares about itself beside its weights: modules, pooling and prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from f2llm_core.engine.config import read_json
from f2llm_core.errors import ModelLoadError
from f2llm_core.instructions import Prompts

_KNOWN_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLING_FOLDER = "1_Pooling"  # where sentence-transformers keeps it, and the hub is asked for it


def check_modules(folder: Path) -> None:
    """Refuse a checkpoint that makes its vectors otherwise than from the last token.

    Args:
        folder: Without `modules.json` or a pooling file nothing is declared, and nothing refused.

    Raises:
        ModelLoadError: Another pooling, or a module beyond transformer, pooling and normalising.
    """
    path = folder / "modules.json"
    for module in _read_list(path):
        kind, place = str(module.get("type")), module.get("path", _POOLING_FOLDER)
        short = kind.rpartition(".")[2]
        if short not in _KNOWN_MODULES:
            msg = f"{path} asks for {kind!r}, which this library does not run."
            raise ModelLoadError(msg)
        if short == "Pooling" and place != _POOLING_FOLDER:
            msg = f"{path} keeps its pooling in {place!r:.100}, expected {_POOLING_FOLDER!r}."
            raise ModelLoadError(msg)
    path = folder / _POOLING_FOLDER / "config.json"
    pooling = read_json(path) if path.exists() else {}
    modes = [key for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True]
    mode = pooling.get("pooling_mode")  # as sentence-transformers 6 writes it
    modes += [f"pooling_mode_{mode}"] if isinstance(mode, str) else []
    if any(name != "pooling_mode_lasttoken" for name in modes):
        msg = f"{path} declares {', '.join(modes)}; this library pools the last token only."
        raise ModelLoadError(msg)


def read_prompts(folder: Path) -> Prompts:
    """Return the declared prompts; without the file, none, as sentence-transformers does.

    Raises:
        ModelLoadError: The file is damaged.
    """
    path = folder / "config_sentence_transformers.json"
    prompts = (read_json(path).get("prompts") if path.exists() else None) or {}
    query, document = (
        (prompts.get("query", ""), prompts.get("document", "")) if _is_object(prompts) else (0, 0)
    )
    if not isinstance(query, str) or not isinstance(document, str):
        msg = f"{path}: prompts must be strings, got {json.dumps(prompts)[:200]}."
        raise ModelLoadError(msg)
    return Prompts(query=query, document=document)


def _read_list(path: Path) -> list[dict[str, Any]]:
    """Return a JSON list of objects; empty if there is no such file."""
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} is not readable as JSON ({error}). Download the file again."
        raise ModelLoadError(msg) from error
    if not isinstance(content, list) or not all(map(_is_object, content)):
        msg = f"{path} is not a list of modules. Download the file again."
        raise ModelLoadError(msg)
    return content


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
