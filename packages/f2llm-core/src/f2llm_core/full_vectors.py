"""A file of whole vectors beside a collection of cut ones: read by id, nothing kept in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from f2llm_core.errors import StoreError
from f2llm_core.matryoshka import Vectors

_APPLICATION = 0xF211B  # tells our files from other programs' databases
_VERSION = 1  # of the layout
_BUSY = 30.0  # seconds to wait for another process's write
_AT_ONCE = 500  # ids in one statement; older SQLites take 999

_SETUP = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS rows (id TEXT NOT NULL PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class FullVectors:
    """Unit vectors by id, in float16: half the disk, and cosines right to four digits.

    An SQLite database, since rows are read by id without holding the ids, and what is written is
    there after a crash or not at all. It is opened for each call: no connection outlives a fork.

    Attributes:
        path: Of the file, which the first write makes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    @property
    def width(self) -> int | None:
        """Dimensions of the vectors; None as long as there are none."""
        width = self._fact("width")
        return None if width is None else int(width)

    def read_stamp(self) -> dict[str, Any] | None:
        """Return what `write_stamp` left here; None if nothing."""
        stamp = self._fact("stamp")
        return None if stamp is None else dict(stamp)

    @property
    def collection(self) -> str | None:
        """Name of the collection that `write_stamp` was told; None as long as it was not."""
        name: str | None = self._fact("collection")
        return name

    def write_stamp(self, stamp: Mapping[str, Any], collection: str) -> None:
        """Keep a JSON object with the vectors, and the name of the collection that has the rows."""
        with self._writing() as connection:
            _keep(connection, "stamp", dict(stamp))
            _keep(connection, "collection", collection)

    def read(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """Return the vectors of those ids that have one, `(width,)` float32 each."""
        found: dict[str, Vectors] = {}
        if not self._is_there():
            return found
        with self._reading() as connection:
            for some in _pieces(ids):
                marks = ", ".join("?" * len(some))
                query = f"SELECT id, vector FROM rows WHERE id IN ({marks})"  # noqa: S608
                for id_, vector in connection.execute(query, some):
                    found[id_] = np.frombuffer(vector, dtype="<f2").astype(np.float32)
        return found

    def write(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Write vectors, all or none, replacing those of the same id.

        Args:
            ids: n of them.
            vectors: `(n, width)`, unit length.

        Raises:
            StoreError: They are not as wide as those that are there, or the file cannot be written.
        """
        width = vectors.shape[1]
        rows = (row.tobytes() for row in vectors.astype("<f2"))
        with self._writing() as connection:
            there = _look_up(connection, "width")
            if there is None:
                _keep(connection, "width", width)
            elif there != width:
                msg = f"{self.path} holds vectors of {there} dimensions, not {width}."
                raise StoreError(msg)
            connection.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?)", zip(ids, rows, strict=True)
            )

    def delete(self, ids: Iterable[str]) -> None:
        """Remove vectors; those that are not there are passed over."""
        if self._is_there():
            with self._writing() as connection:
                connection.executemany("DELETE FROM rows WHERE id = ?", ((id_,) for id_ in ids))

    def clear(self) -> None:
        """Forget everything, the width included."""
        if self._is_there():
            with self._writing() as connection:
                connection.execute("DELETE FROM rows")
                connection.execute("DELETE FROM facts")

    def _fact(self, name: str) -> Any:  # noqa: ANN401  (any JSON value)
        if not self._is_there():
            return None
        with self._reading() as connection:
            return _look_up(connection, name)

    def _is_there(self) -> bool:
        """Tell whether anything was written; a process killed at once leaves an empty file."""
        with self._errors("read"):
            return self.path.exists() and self.path.stat().st_size > 0

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._errors("read"), closing(self._connect()) as connection:
            self._check_ours(connection)
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._errors("written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._is_there()
            with closing(self._connect()) as connection:
                if is_new:
                    connection.executescript(_SETUP)
                self._check_ours(connection)
                connection.execute("BEGIN IMMEDIATE")
                with connection:  # commits, or rolls back
                    yield connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (_APPLICATION, _VERSION):
            msg = (
                f"{self.path} is no file of full vectors, or another version's. Choose another "
                "path, and index the documents again."
            )
            raise StoreError(msg)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            msg = f"{self.path}, which holds the full vectors, cannot be {done}: {error}"
            raise StoreError(msg) from error


def _pieces(ids: Sequence[str]) -> Iterator[list[str]]:
    return (list(ids[start : start + _AT_ONCE]) for start in range(0, len(ids), _AT_ONCE))


def _look_up(connection: sqlite3.Connection, name: str) -> Any:  # noqa: ANN401  (any JSON value)
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row[0])


def _keep(connection: sqlite3.Connection, name: str, value: object) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))
