"""How the commands print: aligned text for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence

import click

_LISTED = 20  # of many failures


def print_json(value: object) -> None:
    """Write one JSON document to standard output, in ASCII, which every terminal can show."""
    click.echo(json.dumps(value, indent=2))


def print_fields(title: str, fields: Iterable[tuple[str, object]]) -> None:
    """Write a title and, indented below it, names and values in two columns."""
    fields = list(fields)
    width = max(len(name) for name, _ in fields)
    click.echo(title)
    for name, value in fields:
        click.echo(f"  {name:<{width}}  {value}".rstrip())


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows in aligned columns, indented; numbers to the right."""
    rows = list(rows)
    table = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    for line in table:
        cells = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )
        click.echo(f"  {'  '.join(cells)}".rstrip())


def print_failures(failures: Sequence[str], summary: str) -> None:
    """Write to standard error what failed, the first of many, and what that comes to."""
    for failure in failures[:_LISTED]:
        click.echo(failure, err=True)
    if len(failures) > _LISTED:
        click.echo(f"… and {len(failures) - _LISTED:,} more; --json lists all.", err=True)
    click.echo(summary, err=True)


def printable(text: str) -> str:
    """Return a text without control characters: one from elsewhere must not steer the terminal."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")


def one_line(text: str, limit: int) -> str:
    """Return a text without line breaks and control characters, cut to `limit` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def human_size(size: int) -> str:
    """Return a number of bytes for reading, for example `"1.1 GiB"`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"
