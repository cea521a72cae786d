"""`f2llm audit`: how a collection's vectors were made, in words."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import print_json
from f2llm_core.cli.shared import (
    chroma_options,
    debug_option,
    examples,
    json_option,
    load_options,
    open_existing,
)

if TYPE_CHECKING:  # torch comes with these, and --help must not wait for it
    from f2llm_core import F2LLM
    from f2llm_core.auditing import Report
    from f2llm_core.stores import VectorStore


@click.command(
    epilog=examples(
        "f2llm audit 80M --chroma db --collection papers",
        "f2llm audit 80M --chroma db --collection papers --sample 500 --json",
    )
)
@click.argument("model")
@chroma_options
@click.option("--dimensions", type=int, help="Width; the collection's by default.")
@click.option("--task", help="Task preset that the collection is to be used with.")
@click.option("--sample", default=50, type=click.IntRange(min=1), help="Rows to look at (50).")
@load_options
@json_option
@debug_option
def audit(
    model: str,
    chroma: Path,
    collection: str,
    dimensions: int | None,
    task: str | None,
    sample: int,
    *,
    load: dict[str, Any],
    as_json: bool,
) -> None:
    """Find out how a collection was embedded.

    A sample of its texts is embedded again with MODEL and compared with what is stored. Nothing is
    written. The exit code is 1 if something is wrong.
    """
    from f2llm_core import F2LLM
    from f2llm_core.auditing import audit as examine

    store = open_existing(chroma, collection)
    encoder = F2LLM(model, dimensions=dimensions, task=task, **load)
    if dimensions is None and (width := store.width) is not None and width <= encoder.width:
        encoder = encoder.with_options(dimensions=width)
    report = examine(store, encoder, sample)
    said = _stamp(store, encoder)
    if as_json:
        least = None if math.isnan(report.cosine) else report.cosine  # JSON has no NaN
        print_json(asdict(report) | {"cosine": least, "right": report.right, "stamp": said})
    else:
        _print(report, said)
    if not report.right:
        click.get_current_context().exit(1)


def _stamp(store: VectorStore, encoder: F2LLM) -> str | None:
    """Say what the collection's stamp says of the model; None without a stamp."""
    from f2llm_core.errors import FingerprintError
    from f2llm_core.fingerprint import Fingerprint, compare

    stamp = store.read_stamp()
    if stamp is None:
        return None
    try:
        found = compare(encoder.fingerprint, Fingerprint.from_dict(stamp), "The stamp")
    except FingerprintError as error:  # damaged; what the vectors are is known by now
        return str(error)
    return found.message or "The stamp is this model's."


def _print(report: Report, stamp: str | None) -> None:
    least = "" if math.isnan(report.cosine) else f", least cosine {report.cosine:.4f}"
    click.echo(f"{report.store}: {report.checked} rows embedded again{least}")
    for cause in report.causes:
        click.echo(click.style(f"✗ {cause.kind}: ", fg="red") + cause.message)
    if report.right:
        click.echo(click.style("✓ ", fg="green") + "The vectors are this model's.")
    click.echo(f"  {stamp or 'It has no stamp.'}")
