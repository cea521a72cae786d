"""The model of a run: the one asked for, or the demo model where the default is out of reach."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from corpus import DemoError

from f2llm_core import DEFAULT_MODEL, F2LLM, ModelNotFoundError

DEMO_MODEL = Path(__file__).parents[2] / "models" / "f2llm-demo"

#: Model, revision and dimensions: vectors may be compared where all three agree.
Identity = dict[str, str | int]


def load_encoder(model: str | None, dimensions: int | None, say: Callable[[str], None]) -> F2LLM:
    """Load a model, so that whatever is wrong with it comes out before anything is indexed.

    Args:
        model: Short name, hub id or folder; None for the default, with the demo model as fallback.
        dimensions: Width of the vectors; None for the model's own.
        say: Told in one line if the demo model is used.

    Returns:
        An encoder with its weights loaded.

    Raises:
        F2LLMError: The model cannot be loaded or has no such width.
        DemoError: Neither the default nor the demo model is there.
    """
    if model is not None:
        return _loaded(model, dimensions)
    try:
        return _loaded(DEFAULT_MODEL, dimensions)
    except ModelNotFoundError as error:
        if not DEMO_MODEL.is_dir():
            msg = f"{error} Nor is there a demo model in {DEMO_MODEL}."
            raise DemoError(msg) from error
        reason = str(error).partition(". ")[0]
    say(f"{reason}: the small demo model {DEMO_MODEL.name} is used instead.")
    return _loaded(str(DEMO_MODEL), dimensions)


def _loaded(model: str, dimensions: int | None) -> F2LLM:
    encoder = F2LLM(model, dimensions=dimensions)
    encoder.encode_query("ready?")
    return encoder


def identify(encoder: F2LLM) -> Identity:
    """Return what an index must know of the model that made it.

    A folder is known by its name and contents: moving it changes nothing, training it anew does.
    """
    folder = Path(encoder.model).expanduser()
    if not folder.is_dir():
        return _identity(encoder.model, encoder.revision or "default branch", encoder.dimensions)
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return _identity(folder.resolve().name, digest.hexdigest(), encoder.dimensions)


def _identity(model: str, revision: str, dimensions: int) -> Identity:
    return {"model": model, "revision": revision, "dimensions": dimensions}


def describe(identity: Identity) -> str:
    """Return an identity in words."""
    revision = str(identity["revision"])[:8]
    return f"{identity['model']} (revision {revision}, {identity['dimensions']} dimensions)"
