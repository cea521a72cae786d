"""What `f2llm eval` compares: models in their precisions, and other people's embedders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from f2llm_core.cli.shared import is_terminal

if TYPE_CHECKING:  # torch comes with these, and --help must not wait for it
    from f2llm_core import F2LLM
    from f2llm_core.evaluation.systems import System


class _Model(NamedTuple):
    """An encoder that has loaded nothing yet.

    Attributes:
        name: In the tables, unique.
        encoder: Used once, and closed.
    """

    name: str
    encoder: F2LLM


def choose_systems(options: dict[str, Any]) -> Iterator[System]:
    """Return what the options of the command name.

    The systems come one at a time: the weights of one are freed when the next is asked for. But
    what names nothing is an error here, and not after hours of the first.

    Raises:
        ConfigurationError: An option with a wrong value, or a class that cannot be imported.
        ModelError: A folder or name that is no model.
        UsageError: Something is named twice.
    """
    from f2llm_core.evaluation.systems import find_class, installed_stock, without_secrets

    models = _models(options)
    specs: Sequence[str] = options["baseline"]
    if specs:
        sys.path.append(os.getcwd())  # for a class of one's own, as with `python -m`
    for spec in specs:
        find_class(spec)
    if options["stock"]:
        if not is_terminal(sys.stderr):  # read when huggingface_hub is imported
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        installed_stock()
        if models[0].encoder.config["backend"] != "local":
            msg = "--stock needs the weights of MODEL on this machine, not a server."
            raise click.UsageError(msg)
    dotted = [spec.partition("?")[0] for spec in specs]
    baselines = _short_or_whole(dotted, [without_secrets(spec) for spec in specs])
    names = [*(model.name for model in models), *baselines]
    if twice := next((name for name in names if names.count(name) > 1), None):
        msg = f"{twice} is named twice."
        raise click.UsageError(msg)
    return _one_by_one(models, dict(zip(baselines, specs, strict=True)), stock=options["stock"])


def _models(options: dict[str, Any]) -> list[_Model]:
    """Return every model in every precision."""
    from f2llm_core import F2LLM
    from f2llm_core.evaluation.measure import check_width

    load, given = options["load"], [options["model"], *options["others"]]
    dtypes = [dtype.strip() for dtype in load["dtype"].split(",")]
    encoders = [
        F2LLM(
            name,
            task=options["task"],
            instruction=options["instruction"],
            cache=True if options["cache"] else None,
            **load | {"dtype": dtype, "revision": load["revision"] if place == 0 else None},
        )
        for place, name in enumerate(given)
        for dtype in dtypes
    ]
    own = [_own_name(encoder) for encoder in encoders[:: len(dtypes)]]
    names = [name for name in _short_or_whole(own, given) for _ in dtypes]
    if len(dtypes) > 1:
        names = [f"{name}, {dtype}" for name, dtype in zip(names, dtypes * len(given), strict=True)]
    models = list(map(_Model, names, encoders))
    for name, encoder in models:
        for width in options["dimensions"]:
            check_width(name, width, encoder.width)
    return models


def _own_name(encoder: F2LLM) -> str:
    """Return what a model is called: its hub id, or its folder's own name."""
    path = Path(encoder.model)
    return path.name if path.is_absolute() else encoder.model


def _short_or_whole(short: Sequence[str], whole: Sequence[str]) -> list[str]:
    """Return the short names, but the whole ones of those that share a short one."""
    pairs = zip(short, whole, strict=True)
    return [name if short.count(name) == 1 else long for name, long in pairs]


def _one_by_one(
    models: Sequence[_Model], baselines: dict[str, str], *, stock: bool
) -> Iterator[System]:
    from f2llm_core.evaluation.systems import f2llm_system, load_system, stock_systems
    from f2llm_core.info import describe

    first: tuple[Path, str] | None = None
    for name, encoder in models:
        with encoder:
            yield f2llm_system(encoder, name, show_progress=is_terminal(sys.stderr))
            if stock and first is None:
                info = describe(encoder)
                first = Path(info.folder), info.dtype
    for name, spec in baselines.items():
        yield load_system(spec, name)
    if first is not None:
        yield from stock_systems(*first)
