"""Rows of a table of Arrow as ids and texts that can be embedded, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from f2llm_core.errors import ConfigurationError, InputError
from f2llm_core.indexing.run import Failure
from f2llm_core.inputs import check_text

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that a reader of files adds: where a row stood, and what was wrong with it there.
PLACE, PROBLEM = "f2llm_place", "f2llm_problem"

_SHOWN = 40  # characters of a text that stands for a row without id


class Columns(NamedTuple):
    """Names of the columns that are read.

    Attributes:
        id: Holds the ids: str, or int, which is written as str.
        text: Holds the texts.
    """

    id: str = "id"
    text: str = "text"


def choose_columns(id_column: str, text_column: str) -> Columns:
    """Return the names, or raise `ConfigurationError` if they are one."""
    if id_column == text_column:
        msg = f"{id_column!r} cannot be the column of the ids and of the texts."
        raise ConfigurationError(msg)
    return Columns(id_column, text_column)


class Row(NamedTuple):
    """What is embedded.

    Attributes:
        id: Not empty.
        text: Checked.
        place: Where it came from, for messages.
        position: In its table.
    """

    id: str
    text: str
    place: str
    position: int


def check_rows(table: pa.Table, columns: Columns) -> tuple[list[Row], list[Failure]]:
    """Return the rows of a table that can be embedded, and the others.

    Raises:
        ConfigurationError: The table lacks a column.
    """
    check_columns(table.column_names, columns)
    ids, texts = (values(table, name) for name in columns)
    places, problems = (
        values(table, name) if name in table.column_names else [None] * table.num_rows
        for name in (PLACE, PROBLEM)
    )
    rows: list[Row] = []
    failed: list[Failure] = []
    found = zip(ids, texts, places, problems, strict=True)
    for position, (id_, text, place, problem) in enumerate(found):
        place = place or _place(id_, text)
        try:
            if problem is not None:
                raise InputError(problem)
            rows.append(Row(check_id(id_), check_text(_value(text)), place, position))
        except InputError as error:
            failed.append(Failure(place, str(error)))
    return rows, failed


def check_columns(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless a table has all columns that are wanted."""
    missing = [name for name in wanted if name not in names]
    if missing:
        msg = (
            f"There is no column {missing[0]!r}; there are {', '.join(map(repr, names)) or 'none'}."
        )
        raise ConfigurationError(msg)


def check_id(id_: object) -> str:
    """Return an id as it is written.

    Raises:
        InputError: It is no str or int, is empty, or holds a lone surrogate.
    """
    id_ = _value(id_)
    if isinstance(id_, int) and not isinstance(id_, bool):
        return str(id_)
    if not isinstance(id_, str):
        msg = f"its id is {'missing' if id_ is None else f'a {type(id_).__name__}, not a str'}"
        raise InputError(msg)
    if not id_:
        msg = "its id is empty"
        raise InputError(msg)
    try:
        return check_text(id_)
    except InputError as error:
        msg = f"its id: {error}"
        raise InputError(msg) from None


def values(table: pa.Table, name: str) -> list[Any]:
    """Return a column as Python's values; an `InputError` for what is no valid UTF-8."""
    column = table.column(name)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # Arrow trusts whoever wrote the file
        return [_decoded(value) for value in column.cast("binary").to_pylist()]


def _decoded(value: bytes | None) -> str | InputError | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        return InputError(f"not UTF-8 (byte 0x{value[error.start]:02x})")  # type: ignore[index]


def _value(found: object) -> object:
    if isinstance(found, InputError):
        raise found
    return found


def _place(id_: object, text: object) -> str:
    """Name a row of which nothing but its content is known."""
    if isinstance(id_, (str, int)) and id_ != "":
        return f"id {id_!a}" if isinstance(id_, str) and not id_.isprintable() else f"id {id_!r}"
    return f"row with text {text[:_SHOWN]!r}" if isinstance(text, str) else "row without id"
