"""Records from files of JSON lines; what is broken is named by file and line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from f2llm_core.errors import InputError
from f2llm_core.indexing.records import Placed


def read_jsonl(
    path: Path,
    *,
    text_field: str = "text",
    id_field: str | None = None,
    metadata_fields: Collection[str] | None = None,
) -> Iterator[Placed]:
    """Yield the records of a file for `index`, one a line; blank lines are passed over.

    Args:
        path: In UTF-8, with or without a byte order mark.
        text_field: Name of the field that holds the text.
        id_field: Of the field that holds the id, which every record must then have; by default
            `"id"`, which it need not.
        metadata_fields: Of those to be kept as metadata; by default all others.

    Yields:
        `(id, text, metadata)` by the place `"path:line"`, or the `InputError` of a broken line.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                found = _record(line, text_field, id_field, metadata_fields)
                yield Placed(f"{path}:{number}", found)


def _record(
    line: bytes, text_field: str, id_field: str | None, metadata_fields: Collection[str] | None
) -> tuple[Any, Any, dict[str, Any]] | InputError:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return InputError(f"not UTF-8 (byte 0x{line[error.start]:02x})")
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(": line")[0]  # the parser counts lines from this one
        return InputError(f"not valid JSON ({reason})")
    if not isinstance(record, dict):
        return InputError(f"expected a JSON object, not a {type(record).__name__}")
    for field in (text_field, *filter(None, [id_field])):
        if record.get(field) is None:
            if field in record:
                return InputError(f"its field {field!r} is null")
            fields = ", ".join(map(repr, record)) or "none"
            return InputError(f"no field {field!r}; it has {fields}")
    text, id_ = record.pop(text_field), record.pop(id_field or "id", None)
    wanted = record.keys() if metadata_fields is None else metadata_fields
    metadata = {k: v for k, v in record.items() if k in wanted and v is not None}
    return str(id_) if type(id_) is int else id_, text, metadata
