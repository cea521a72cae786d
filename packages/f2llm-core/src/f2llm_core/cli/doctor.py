"""`f2llm doctor`: whether a model, and a collection made with it, are what they should be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from f2llm_core.cli.output import print_json
from f2llm_core.cli.shared import debug_option, json_option, load_options

if TYPE_CHECKING:  # torch comes with this, and --help must not wait for it
    from f2llm_core.doctor import Report

_COLOURS = {"passed": "green", "failed": "red", "skipped": "bright_black"}


@click.command()
@click.argument("model")
@click.option(
    "--chroma",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a Chroma database, to audit a collection, too.",
)
@click.option("--collection", help="Name of the collection; its width is used.")
@load_options
@json_option
@debug_option
def doctor(
    model: str,
    folder: Path | None,
    collection: str | None,
    revision: str | None,
    device: str | None,
    dtype: str,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Try what MODEL must do, on a few texts.

    MODEL is a short name (80M ... 14B), a hub id or a folder. The exit code is 1 if something is
    wrong; what is grey does not apply.
    """
    if (folder is None) != (collection is None):
        msg = "--chroma and --collection need each other."
        raise click.UsageError(msg)
    from f2llm_core import F2LLM
    from f2llm_core.cli.audit import _open
    from f2llm_core.doctor import doctor as examine

    store = None if folder is None or collection is None else _open(folder, collection)
    encoder = F2LLM(
        model,
        dimensions=None if store is None else store.width,
        revision=revision,
        device=device,
        dtype=dtype,  # type: ignore[arg-type]  # checked there
        local_files_only=offline,
    )
    report = examine(encoder, store=store)
    if as_json:
        print_json(asdict(report) | {"healthy": report.healthy})
    else:
        _print(report)
    if not report.healthy:
        click.get_current_context().exit(1)


def _print(report: Report) -> None:
    click.echo(report.model)
    for check in report.checks:
        click.echo(f"  {click.style(str(check), fg=_COLOURS[check.status])}")
