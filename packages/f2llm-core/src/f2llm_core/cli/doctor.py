"""`f2llm doctor`: whether a model, and a collection made with it, are what they should be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import print_json
from f2llm_core.cli.shared import (
    debug_option,
    examples,
    json_option,
    load_options,
    open_existing,
)

if TYPE_CHECKING:  # torch comes with this, and --help must not wait for it
    from f2llm_core import F2LLM
    from f2llm_core.doctor import Report

_COLOURS = {"passed": "green", "failed": "red", "skipped": "bright_black"}


@click.command(
    epilog=examples(
        "f2llm doctor 80M",
        "f2llm doctor ./my-model --chroma db --collection papers",
        "f2llm doctor 80M --write-golden golden.jsonl",
        "f2llm doctor 80M --base-url http://localhost:8080 --golden golden.jsonl",
    )
)
@click.argument("model")
@click.option(
    "--chroma",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a Chroma database, to audit a collection, too.",
)
@click.option("--collection", help="Name of the collection; its width is used.")
@click.option("--base-url", help="Server that runs MODEL; its key is read from F2LLM_API_KEY.")
@click.option("--server-model", help="What the server calls MODEL, if it is not to be asked.")
@click.option(
    "--golden",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Right vectors to hold the server against, where there are no weights.",
)
@click.option(
    "--write-golden",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write such a file, with the weights of MODEL, and do nothing else.",
)
@load_options
@json_option
@debug_option
def doctor(
    model: str,
    folder: Path | None,
    collection: str | None,
    base_url: str | None,
    server_model: str | None,
    golden: Path | None,
    write_golden: Path | None,
    *,
    load: dict[str, Any],
    as_json: bool,
) -> None:
    """Try what MODEL must do, on a few texts.

    MODEL is a short name (80M ... 14B), a hub id or a folder. The exit code is 1 if something is
    wrong; what is grey does not apply.

    With --base-url, the server's vectors are held against those of the weights on this machine, or
    of a golden file: a server that drops the EOS, adds a prompt, pools otherwise, cuts texts or
    quantises hard is told by them.
    """
    if (folder is None) != (collection is None):
        msg = "--chroma and --collection need each other."
        raise click.UsageError(msg)
    from f2llm_core import F2LLM
    from f2llm_core.doctor import doctor as examine

    store = None if folder is None or collection is None else open_existing(folder, collection)
    if write_golden is not None and (base_url is not None or golden is not None):
        msg = "--write-golden makes the file of the weights of MODEL, for --base-url and --golden."
        raise click.UsageError(msg)
    encoder = F2LLM(
        model,
        backend="local" if write_golden is not None else None,
        dimensions=None if store is None else store.width,
        **load,
        base_url=base_url,
        server_model=server_model,
    )
    if write_golden is not None:
        _write(encoder, write_golden, as_json=as_json)
        return
    report = examine(encoder, store=store, golden=golden)
    if as_json:
        print_json(asdict(report) | {"healthy": report.healthy})
    else:
        _print(report)
    if not report.healthy:
        click.get_current_context().exit(1)


def _write(encoder: F2LLM, path: Path, *, as_json: bool) -> None:
    from f2llm_core.doctor.golden import make_golden, write_golden

    write_golden(path, make_golden(encoder))
    if as_json:
        print_json({"path": str(path), "model": encoder.model})
    else:
        click.echo(f"Wrote {path}: what {encoder.model} makes of a few texts, right and wrong.")


def _print(report: Report) -> None:
    click.echo(report.model)
    for check in report.checks:
        click.echo(f"  {click.style(str(check), fg=_COLOURS[check.status])}")
