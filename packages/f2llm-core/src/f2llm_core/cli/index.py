"""`f2llm index`: files of JSON lines into a Chroma collection."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import print_failures, print_json
from f2llm_core.cli.shared import (
    chroma_options,
    debug_option,
    examples,
    is_terminal,
    json_option,
    load_options,
    open_collection,
)

if TYPE_CHECKING:  # numpy comes with it, and --help must not wait for it
    from collections.abc import Iterator

    from f2llm_core.indexing import IndexReport
    from f2llm_core.indexing.records import Placed


@click.command(
    epilog=examples(
        "f2llm index 80M docs.jsonl --chroma db --collection papers",
        "f2llm index 80M *.jsonl --chroma db --collection papers --dimensions 128 --id-field key",
    )
)
@click.argument("model")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@chroma_options
@click.option("--text-field", default="text", show_default=True, help="Field with the text.")
@click.option("--id-field", help="Field with the id; by default id, which a line need not have.")
@click.option("--metadata", multiple=True, help="Field to keep; repeatable; by default all others.")
@click.option("--dimensions", type=int, help="Width of the vectors; the model's by default.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Rows embedded, and written, at once.",
)
@click.option("--remove-missing", is_flag=True, help="Remove what is in none of the files.")
@click.option("--keep-going", is_flag=True, help="Leave broken lines out, and list them.")
@load_options
@json_option
@debug_option
@click.pass_context
def index(
    context: click.Context,
    model: str,
    files: tuple[Path, ...],
    chroma: Path,
    collection: str,
    text_field: str,
    id_field: str | None,
    metadata: tuple[str, ...],
    dimensions: int | None,
    batch_size: int,
    *,
    remove_missing: bool,
    keep_going: bool,
    load: dict[str, Any],
    as_json: bool,
) -> None:
    """Embed JSON lines into a Chroma collection.

    Each line of FILES is an object with a text and, if it can be, an id. Only what the collection
    does not hold is embedded: after a change, or when it was stopped, run the same command again.
    A changed text takes the place of the former one of its id.
    """
    from f2llm_core import F2LLM
    from f2llm_core.indexing import index as index_documents
    from f2llm_core.indexing.jsonl import read_jsonl

    if id_field == text_field:
        msg = f"--id-field {id_field}: that is the field of the text."
        raise click.UsageError(msg)
    encoder = F2LLM(model, dimensions=dimensions, **load)
    unseen = set(metadata)

    def read() -> Iterator[Placed]:
        for path in files:
            for record in read_jsonl(
                path, text_field=text_field, id_field=id_field, metadata_fields=metadata or None
            ):
                if isinstance(record.document, tuple):
                    unseen.difference_update(record.document[2])
                yield record

    report = index_documents(
        open_collection(chroma, collection),
        encoder,
        read(),
        remove_missing="collection" if remove_missing else "source",
        on_error="collect" if keep_going else "raise",
        batch_size=batch_size,
        show_progress=is_terminal(sys.stderr),
    )
    print_json(asdict(report)) if as_json else click.echo(_said(report))
    if unseen:
        named = ", ".join(sorted(unseen))
        click.echo(f"No line has metadata in the field named by --metadata: {named}.", err=True)
    if report.failed:
        summary = f"Lines left out: {len(report.failed):,}; so nothing was removed."
        print_failures([f"{f.place}: {f.reason}" for f in report.failed], summary)
        context.exit(1)


def _said(report: IndexReport) -> str:
    rate = report.embedded / report.seconds if report.seconds else 0.0
    return (
        f"{report.added:,} added, {report.changed:,} changed, {report.unchanged:,} unchanged, "
        f"{report.removed:,} removed in {report.seconds:.1f} s; "
        f"{report.embedded:,} embedded ({rate:.0f} a second)"
    )
