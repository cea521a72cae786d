"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from f2llm_core.stores import VectorStore

Command = TypeVar("Command", bound=Callable[..., Any])

_DEBUG = "f2llm_core.debug"


def debug_enabled(context: click.Context) -> bool:
    """Tell whether `--debug` was given, before or after the command's name."""
    return bool(context.meta.get(_DEBUG))


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_DEBUG] = True  # shared by the contexts of group and command


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to standard output, the rest to stderr."
)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether somebody watches a standard stream; a closed one is None."""
    return stream is not None and stream.isatty()


def examples(*lines: str) -> str:
    """Return the end of a help text: commands as one would type them."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide which weights are loaded and how.

    The command gets them as `load`, keyword arguments of `F2LLM`.
    """

    @wraps(command)
    def gathered(
        *args: Any,  # noqa: ANN401  (the command's own)
        revision: str | None,
        device: str | None,
        dtype: str,
        offline: bool,
        **others: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        load = {
            "revision": revision,
            "device": device,
            "dtype": dtype,
            "local_files_only": offline,
        }
        return command(*args, load=load, **others)

    for option in reversed(
        [
            click.option("--revision", help="Commit, branch or tag on the hub; sizes are pinned."),
            click.option("--device", help="For example cpu or cuda:1; the first GPU by default."),
            click.option(
                "--dtype",
                default="auto",
                help="Precision: auto (the default), float32, bfloat16, int8.",
            ),
            click.option("--offline", is_flag=True, help="Never use the network."),
        ]
    ):
        gathered = option(gathered)
    return gathered


def chroma_options(command: Command) -> Command:
    """Add the options that say which collection, for `open_collection`."""
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--collection", required=True, help="Name of the collection.")(command)
    return click.option("--chroma", required=True, type=folder, help="Chroma's folder.")(command)


def open_collection(folder: Path, name: str) -> Collection:
    """Open a Chroma collection for cosines, made if it is not there.

    Raises:
        MissingExtraError: Chroma is not installed.
        StoreError: The folder or the name is of no use.
    """
    from f2llm_core.stores.base import store_errors

    with store_errors(f"{folder}", f"open the collection {name!r}"):
        return _client(folder).get_or_create_collection(
            name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )


def open_existing(folder: Path, name: str) -> VectorStore:
    """Open a Chroma collection that is there already.

    Raises:
        MissingExtraError: Chroma is not installed.
        ConfigurationError: The folder is no Chroma database, or has no such collection.
        StoreError: The database is damaged.
    """
    from f2llm_core.errors import ConfigurationError
    from f2llm_core.stores import open_store
    from f2llm_core.stores.base import store_errors

    if not (folder / "chroma.sqlite3").exists():  # opening it would make it
        msg = f"{folder} is no Chroma database: it has no chroma.sqlite3."
        raise ConfigurationError(msg)
    with store_errors(f"{folder}", f"open the collection {name!r}"):
        client = _client(folder)
        names = sorted(found.name for found in client.list_collections())
        if name not in names:
            msg = f"{folder} has no collection {name!r}. It has: {', '.join(names) or 'none'}."
            raise ConfigurationError(msg)
        return open_store(client.get_collection(name, embedding_function=None))


def _client(folder: Path) -> ClientAPI:
    from f2llm_core.errors import MissingExtraError

    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        feature = "A Chroma collection (--chroma)"
        raise MissingExtraError(feature, "chroma") from error
    # It opens files again later, and knows a folder only by one of its names.
    return chromadb.PersistentClient(folder.absolute(), Settings(anonymized_telemetry=False))
