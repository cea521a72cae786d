"""`f2llm search`: the nearest texts of a collection."""

from __future__ import annotations

import codecs
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2llm_core.cli.output import one_line, print_json
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
    from f2llm_core.stores import VectorStore

_SHOWN = 200  # characters of a text


@dataclass(frozen=True, slots=True)
class Found:
    """A row that was found.

    Attributes:
        id: Of the row.
        similarity: Cosine of its vector and the query's.
        text: As it is stored; None where the store holds none.
        metadata: What is kept beside it.
    """

    id: str
    similarity: float
    text: str | None
    metadata: dict[str, Any]

    def __str__(self) -> str:
        """The text on a line, and what people keep beside it on another."""
        kept = {k: v for k, v in self.metadata.items() if not k.startswith(("_", "f2llm_"))}
        source = self.metadata.get("f2llm_source") or self.id
        beside = ", ".join(
            [str(source), *(f"{key}: {value}" for key, value in sorted(kept.items()))]
        )
        text = one_line(self.text or "(no text is stored)", _SHOWN)
        return f"{self.similarity:.3f}  {text}\n       {one_line(beside, _SHOWN)}"


@click.command(
    epilog=examples(
        'f2llm search 80M "Which telescope sees infrared light?" --chroma db --collection papers',
        "f2llm search 80M --chroma db --collection papers --json < questions.txt",
    )
)
@click.argument("model")
@click.argument("queries", nargs=-1, metavar="[QUERY]...")
@chroma_options
@click.option("-k", "count", default=5, type=click.IntRange(min=1), help="Texts to find (5).")
@click.option("--task", help="Task preset; the model's own by default.")
@load_options
@json_option
@debug_option
def search(
    model: str,
    queries: tuple[str, ...],
    chroma: Path,
    collection: str,
    count: int,
    task: str | None,
    *,
    load: dict[str, Any],
    as_json: bool,
) -> None:
    """Find what answers a query in a collection.

    MODEL is the one that the collection was indexed with. Without a QUERY, each line of standard
    input is one. Nothing is written.
    """
    from f2llm_core import F2LLM

    asked = list(queries) or read_lines()
    store = open_existing(chroma, collection)
    encoder = F2LLM(model, dimensions=store.width, task=task, **load)
    found = find(store, encoder, asked, count)
    if as_json:
        print_json(
            [
                {"query": query, "found": list(map(asdict, rows))}
                for query, rows in zip(asked, found, strict=True)
            ]
        )
        return
    for query, rows in zip(asked, found, strict=True):
        if len(asked) > 1:
            click.echo(click.style(query, bold=True))
        for number, row in enumerate(rows, 1):
            click.echo(f"{number:>3}  {str(row).replace(chr(10), chr(10) + '     ')}")
        if not rows:
            click.echo(f"{store.name} holds no rows.", err=True)


def find(store: VectorStore, encoder: F2LLM, queries: list[str], count: int) -> list[list[Found]]:
    """Return the nearest rows of each query, nearest first.

    Raises:
        FingerprintError: The collection was not made with this model, or nobody knows.
        InputError: A query that cannot be embedded.
        StoreError: The store failed.
    """
    from f2llm_core.stores.guarding import check

    check(store, encoder)
    found = []
    for vector in encoder.encode_query(queries):
        matches = store.search(vector, count)
        rows = store.get([match.id for match in matches])
        text_of = dict(zip(rows.ids, zip(rows.documents, rows.metadatas, strict=True), strict=True))
        # A row that was deleted meanwhile is not there any more.
        found.append(
            [Found(*match, *text_of[match.id]) for match in matches if match.id in text_of]
        )
    return found


def read_lines() -> list[str]:
    """Return the lines of standard input that hold anything.

    Raises:
        ClickException: A line is not UTF-8.
        UsageError: Nobody pipes anything in, or nothing.
    """
    queries = []
    piped = sys.stdin is not None and not sys.stdin.isatty()
    for number, raw in enumerate(sys.stdin.buffer if piped else [], 1):
        try:
            line = raw.removeprefix(codecs.BOM_UTF8).decode().strip()
        except UnicodeDecodeError as error:
            msg = f"standard input:{number}: not UTF-8 (byte 0x{raw[error.start]:02x})."
            raise click.ClickException(msg) from None
        if line:
            queries.append(line)
    if queries:
        return queries
    msg = "Give a QUERY, or one a line on standard input."
    raise click.UsageError(msg)
