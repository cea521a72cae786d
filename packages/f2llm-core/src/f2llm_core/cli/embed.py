"""`f2llm embed`: files of texts into a folder of Parquet files with their vectors."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import print_failures, print_json
from f2llm_core.cli.shared import (
    debug_option,
    examples,
    is_terminal,
    json_option,
    load_options,
)

if TYPE_CHECKING:  # numpy comes with it, and --help must not wait for it
    from f2llm_core import F2LLM
    from f2llm_core.distributed import EmbedReport


@click.command(
    epilog=examples(
        "f2llm embed 80M corpus.jsonl --output vectors",
        "f2llm embed 0.6B corpus/ --output vectors --dimensions 256 --engine ray --workers 4",
    )
)
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the vectors; with workers on several machines, one that they share.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="One process, or workers of a Ray cluster: the one that RAY_ADDRESS names, or of its own.",
)
@click.option("--text-field", default="text", show_default=True, help="Field or column of texts.")
@click.option("--id-field", default="id", show_default=True, help="Field or column of ids.")
@click.option("--dimensions", type=int, help="Width of the vectors; the model's by default.")
@click.option(
    "--vector-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the numbers in the files.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Rows of a file; embedded again if a process dies meanwhile.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Ray: loaded models; by default all.")
@click.option("--cpus-per-worker", type=float, help="Ray: CPUs and threads of each; 1 by default.")
@click.option("--gpus-per-worker", type=float, help="Ray: GPUs of each; 0 by default.")
@load_options
@json_option
@debug_option
@click.pass_context
def embed(
    context: click.Context,
    model: str,
    inputs: tuple[Path, ...],
    output: Path,
    engine: str,
    text_field: str,
    id_field: str,
    dimensions: int | None,
    vector_dtype: str,
    batch_size: int,
    workers: int | None,
    cpus_per_worker: float | None,
    gpus_per_worker: float | None,
    *,
    load: dict[str, Any],
    as_json: bool,
) -> None:
    """Embed files into a folder of Parquet files.

    INPUTS are files of JSON lines (.jsonl) or Parquet (.parquet), or folders of such, whose rows
    have an id and a text. Rows that the folder holds are skipped: when it was stopped, run the same
    command again. Rows that cannot be embedded are listed, and the exit code is then 1.
    """
    from f2llm_core import F2LLM

    given = {
        "workers": workers,
        "cpus_per_worker": cpus_per_worker,
        "gpus_per_worker": gpus_per_worker,
    }
    shares = {name: share for name, share in given.items() if share is not None}
    if shares and engine == "local":
        msg = f"--{next(iter(shares)).replace('_', '-')} is for --engine ray."
        raise click.UsageError(msg)
    encoder = F2LLM(model, dimensions=dimensions, **load)
    columns: dict[str, Any] = {"id_column": id_field, "text_column": text_field}
    writing: dict[str, Any] = {
        "vector_dtype": vector_dtype,
        "show_progress": is_terminal(sys.stderr),
    }
    if engine == "local":
        report = _embed_here(encoder, inputs, output, columns, writing, batch_size)
    else:
        writing |= {"batch_size": batch_size, **shares}
        report = _embed_with_ray(encoder, inputs, output, columns, writing)
    print_json(asdict(report)) if as_json else click.echo(_said(report))
    if report.failed:
        failures = [f"{f.place}: {f.reason}" for f in report.failed]
        print_failures(failures, f"Rows left out: {len(failures):,}.")
        context.exit(1)


def _embed_here(
    encoder: F2LLM,
    inputs: tuple[Path, ...],
    output: Path,
    columns: dict[str, Any],
    writing: dict[str, Any],
    batch_size: int,
) -> EmbedReport:
    from f2llm_core.distributed import embed_tables, read_tables

    tables = read_tables(inputs, **columns, batch_size=batch_size)
    return embed_tables(tables, encoder, output, **columns, **writing)


def _embed_with_ray(
    encoder: F2LLM,
    inputs: tuple[Path, ...],
    output: Path,
    columns: dict[str, Any],
    writing: dict[str, Any],
) -> EmbedReport:
    from f2llm_core.distributed import embed_dataset, read_dataset
    from f2llm_core.distributed.ray_pool import cluster

    with redirect_stdout(sys.stderr), cluster():  # Ray prints what its processes say
        return embed_dataset(read_dataset(inputs, **columns), encoder, output, **columns, **writing)


def _said(report: EmbedReport) -> str:
    rate = report.tokens / report.seconds if report.seconds else 0.0
    return (
        f"{report.embedded:,} embedded, {report.skipped:,} skipped, {len(report.failed):,} failed "
        f"in {report.seconds:.1f} s; {report.tokens:,} tokens ({rate:,.0f} a second)"
    )
