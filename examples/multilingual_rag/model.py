"""The model of a run: the one asked for, or the demo model where the default is out of reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from corpus import DemoError

from f2llm_core import DEFAULT_MODEL, F2LLM, Fingerprint, ModelNotFoundError

DEMO_MODEL = Path(__file__).parents[2] / "models" / "f2llm-demo"


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


def describe(model: Fingerprint) -> str:
    """Return which model an index is made with, in words."""
    revision = model.model.partition("@")[2] or model.model.removeprefix("sha256:")
    return f"{model.name} (revision {revision[:8]}, {model.dimensions} dimensions)"
