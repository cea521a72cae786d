"""`f2llm cache`: look at the embedding cache, and clear it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from f2llm_core.cli.output import human_size, print_fields, print_json, print_table
from f2llm_core.cli.shared import debug_option, examples, json_option

if TYPE_CHECKING:  # numpy comes with it, and --help must not wait for it
    from f2llm_core.cache import EmbeddingCache

_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="The cache's folder, if it is neither F2LLM_CACHE nor your own.",
)


@click.group(
    invoke_without_command=True,
    epilog=examples("f2llm cache --json", "f2llm cache clear --model 80M"),
)
@_folder_option
@json_option
@debug_option
@click.pass_context
def cache(context: click.Context, folder: Path | None, *, as_json: bool) -> None:
    """Show or clear the embedding cache."""
    if context.invoked_subcommand is not None:
        if folder is not None or as_json:
            msg = f"Options go behind the command: f2llm cache {context.invoked_subcommand} …"
            raise click.UsageError(msg)
        return
    found = _open(folder).summary()
    if as_json:
        print_json(asdict(found))
        return
    rows, size = sum(m.rows for m in found.models), sum(m.bytes for m in found.models)
    print_fields(
        "Cache",
        [
            ("file", found.path),
            ("file size", human_size(found.file_bytes)),
            ("rows", f"{rows} ({human_size(size)})"),
        ],
    )
    if found.models:
        click.echo("Models")
        print_table(
            ["name", "rows", "size", "identity"],
            [[m.name, m.rows, human_size(m.bytes), m.identity] for m in found.models],
        )


@cache.command()
@click.option("--model", help="Only the rows of this one: short name, hub id or folder.")
@_folder_option
@json_option
@debug_option
def clear(model: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Remove rows, by default all of them."""
    opened = _open(folder)
    removed = opened.clear(_stored_name(opened, model) if model else None)
    if as_json:
        print_json({"path": str(opened.path), "removed": removed})
    else:
        click.echo(f"{removed:,} {'row' if removed == 1 else 'rows'} removed from {opened.path}")


def _open(folder: Path | None) -> EmbeddingCache:
    from f2llm_core.cache import EmbeddingCache, default_folder
    from f2llm_core.options import DEFAULT_CACHE_MAX_BYTES

    return EmbeddingCache(folder or default_folder(), DEFAULT_CACHE_MAX_BYTES)


def _stored_name(opened: EmbeddingCache, model: str) -> str:
    from f2llm_core.errors import CacheError
    from f2llm_core.models import find_model

    spec = find_model(model)
    # A folder may be gone by now, so it is not looked at.
    wanted = {spec.repo_id} if spec else {model, str(Path(model).expanduser().absolute())}
    stored = {found.name for found in opened.summary().models}
    if matching := wanted & stored:
        return matching.pop()
    msg = f"{opened.path} has no rows of {model}. It has: {', '.join(sorted(stored)) or 'none'}."
    raise CacheError(msg)
