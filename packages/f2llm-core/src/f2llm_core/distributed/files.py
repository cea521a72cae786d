"""Files of JSON lines and Parquet as tables of Arrow; what is broken is named by file and row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2llm_core.distributed.folder import FINGERPRINT
from f2llm_core.distributed.rows import PLACE, PROBLEM, check_columns, check_id
from f2llm_core.errors import ConfigurationError, F2LLMWarning, InputError, MissingExtraError, warn
from f2llm_core.indexing.jsonl import read_jsonl
from f2llm_core.inputs import check_text

if TYPE_CHECKING:
    import pyarrow as pa

_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_PARQUET = {".parquet", ".pq"}
_KINDS = ", ".join(sorted(_JSON_LINES | _PARQUET))
_NAMED = 5  # of the files that are left out

#: Rows of a table, and so of a part; what a worker embeds again after a crash.
BATCH_SIZE = 1024


def read_tables(
    paths: Iterable[str | Path],
    *,
    id_column: str = "id",
    text_column: str = "text",
    batch_size: int = BATCH_SIZE,
) -> Iterator[pa.Table]:
    """Return the rows of files, for `embed_tables`; they are read as they are asked for.

    Args:
        paths: Files of JSON lines (`.jsonl`, `.ndjson`, `.json`) or Parquet (`.parquet`, `.pq`), or
            folders of such.
        id_column: Column or field of the ids.
        text_column: Of the texts.
        batch_size: Rows of a table.

    Returns:
        Tables with both columns and, of every row, its place. A row that cannot be read, and a file
        that is damaged or lacks a column, is one with a problem, which `embed_tables` reports.

    Raises:
        ConfigurationError: A path is none of that.
        MissingExtraError: Arrow is not installed.
    """
    require_arrow()
    files = find_files(paths)  # now, not with the first table
    return (
        table for path in files for table in read_file(path, id_column, text_column, batch_size)
    )


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files among paths and in folders, in a stable order.

    Of a folder nothing is read that begins with . or _, as with other readers, and no folder of
    vectors. A warning names what else is left out.

    Raises:
        ConfigurationError: A path is no file of a known kind, and no folder that holds one.
    """
    found: list[Path] = []
    left_out: list[Path] = []
    for path in map(Path, paths):
        some = list(_files_in(path)) if path.is_dir() else [path]
        known = [p for p in some if _is_known(p)]
        if not known:
            msg = f"{path} is no file, or folder of files, that ends in one of {_KINDS}."
            raise ConfigurationError(msg)
        found += known
        left_out += [p for p in some if not _is_known(p)]
    if left_out:
        named = ", ".join(map(str, left_out[:_NAMED]))
        rest = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        warn(f"Not read, for it does not end in one of {_KINDS}: {named}{rest}.", F2LLMWarning)
    return found


def read_file(path: Path, id_column: str, text_column: str, batch_size: int) -> Iterator[pa.Table]:
    """Yield the rows of one file; arguments and result as in `read_tables`."""
    import pyarrow as pa

    read = _read_parquet if path.suffix.lower() in _PARQUET else _read_json_lines
    try:
        yield from read(path, id_column, text_column, batch_size)
    except (ConfigurationError, OSError, pa.ArrowException) as error:
        columns = (id_column, text_column, PLACE, PROBLEM)
        values = (None, None, str(path), f"cannot be read from here on: {error}")
        yield pa.table([pa.array([v], pa.string()) for v in values], names=columns)


def require_arrow() -> None:
    """Raise `MissingExtraError` unless Arrow is installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        feature = "Embedding into Parquet files"
        raise MissingExtraError(feature, "parquet") from error


def _is_known(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in _JSON_LINES | _PARQUET


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those that links lead to included, in a stable order."""
    seen: set[Path] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = Path(name)
        if here.resolve() in seen or (here / FINGERPRINT).exists():
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
        yield from sorted(here / file for file in files if not file.startswith((".", "_")))


def _read_parquet(
    path: Path, id_column: str, text_column: str, batch_size: int
) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 1
    wanted = [id_column, text_column]
    with pq.ParquetFile(path) as file:
        check_columns(file.schema_arrow.names, wanted)
        for batch in file.iter_batches(batch_size, columns=wanted):
            places = [f"{path}:{n}" for n in range(row, row + batch.num_rows)]
            row += batch.num_rows
            yield pa.Table.from_batches([batch]).append_column(PLACE, pa.array(places))


def _read_json_lines(
    path: Path, id_column: str, text_column: str, batch_size: int
) -> Iterator[pa.Table]:
    import pyarrow as pa

    schema = pa.schema([(n, pa.string()) for n in (id_column, text_column, PLACE, PROBLEM)])
    records = read_jsonl(path, text_field=text_column, id_field=id_column, metadata_fields=())
    lines = ((place, *_checked(found)) for place, found in records)
    while block := list(islice(lines, batch_size)):
        places, ids, texts, problems = map(list, zip(*block, strict=True))
        yield pa.table([ids, texts, places, problems], schema=schema)


def _checked(found: Any) -> tuple[str | None, str | None, str | None]:  # noqa: ANN401  (any JSON)
    """Return id, text and problem of a line; only what is valid can stand in a table of Arrow."""
    try:
        if isinstance(found, InputError):
            raise found
        id_, text, _ = found
        return check_id(id_), check_text(text), None
    except InputError as error:
        return None, None, str(error)
