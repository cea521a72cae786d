"""Full-width rows kept on disk, in SQLite: safe for several processes and threads, bounded in size.

Neither texts nor prompts are stored, only SHA-256 keys, token counts and rows. A row still tells a
good deal about its text, so the file is readable by its owner only.

A cache must never break or change an embedding. Whatever goes wrong in `get` and `put` is a
`CacheWarning`, and what was asked for counts as missing.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from f2llm_core.cache_file import OVERHEAD, CacheFile
from f2llm_core.errors import CacheError, CacheWarning, warn
from f2llm_core.matryoshka import Vectors

#: Folder of the cache instead of the user's own cache folder.
FOLDER_VARIABLE = "F2LLM_CACHE"
FILE_NAME = "f2llm-embeddings.sqlite"

_PAUSE = 60.0  # seconds without cache after a failure, so that not every call waits for it
_TOUCH_AFTER = 3600  # seconds; the order of use need not be finer, and reads stay reads
_CHUNK = 500  # rows per statement and transaction; older SQLite takes 999 variables
_ROOM = 0.9  # of the bound is left after an eviction, so that not every write evicts

Item = TypeVar("Item")


class Row(NamedTuple):
    """What is kept of one prompt.

    Attributes:
        length: Its tokens before truncation, EOS included.
        vector: `(width,)` float32.
    """

    length: int
    vector: Vectors


@dataclass(frozen=True, slots=True)
class CachedModel:
    """What the cache holds of one model.

    Attributes:
        name: Hub id or folder.
        identity: All that its rows depend on beside the prompts.
        rows: Number of rows.
        bytes: Their size.
    """

    name: str
    identity: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class CacheSummary:
    """What the cache holds.

    Attributes:
        path: The file; it need not exist.
        file_bytes: Size of the file, and of what waits to be merged into it.
        models: By model, largest first.
    """

    path: str
    file_bytes: int
    models: tuple[CachedModel, ...]


def default_folder() -> Path:
    """Return the folder of `cache=True`: the environment's `F2LLM_CACHE`, else the user's own."""
    from platformdirs import user_cache_path

    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given).expanduser().absolute() if given else user_cache_path("f2llm")


class EmbeddingCache:
    """Rows by key in one file. Any number of threads and processes may share it, also by fork."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Name a cache; nothing is opened yet.

        Args:
            folder: Of the file; made when it is first needed.
            max_bytes: Bound of the rows' size, kept by evicting those not used for longest; the
                file is about a fifth larger.
        """
        self.path = folder / FILE_NAME
        self._file = CacheFile(self.path)
        self._max_bytes = max_bytes
        self._resume = 0.0
        self._warned = False

    def get(self, keys: Iterable[bytes], width: int) -> dict[bytes, Row]:
        """Return the rows that are there; damaged ones count as missing.

        Args:
            keys: 32 bytes each.
            width: Entries of every row.
        """
        found: dict[bytes, Row] = {}
        stale: list[tuple[int, bytes]] = []
        now = int(time.time())
        with self._forgiving() as usable:
            if not usable:
                return found
            with self._file.connection() as connection:
                for chunk in _chunks(list(dict.fromkeys(keys))):
                    marks = ",".join("?" * len(chunk))
                    for key, length, blob, checksum, is_stale in connection.execute(
                        f"SELECT key, length, vector, checksum, used < {now - _TOUCH_AFTER} "  # noqa: S608  (numbers and marks)
                        f"FROM rows WHERE key IN ({marks})",
                        chunk,
                    ):
                        if _is_sound(key, length, blob, checksum, width):
                            found[key] = Row(length, np.frombuffer(blob, dtype="<f4"))
                            stale += [(now, key)] if is_stale else []
                _touch(connection, stale)
        return found

    def put(self, name: str, identity: str, rows: Mapping[bytes, Row]) -> None:
        """Store rows, save those that no index should hold, and evict what is then too much.

        Args:
            name: Hub id or folder of their model, for people.
            identity: What the rows depend on, for `clear` and `summary`.
            rows: By key.
        """
        now = int(time.time())
        sound = [(k, r) for k, r in rows.items() if np.isfinite(r.vector).all() and r.vector.any()]
        with self._forgiving() as usable:
            if not usable:
                return
            with self._file.connection() as connection:
                for chunk in _chunks(sound):
                    with connection:
                        connection.execute("BEGIN IMMEDIATE")
                        model = _model_id(connection, name, identity)
                        connection.executemany(
                            "INSERT OR REPLACE INTO rows (key, model, length, vector, checksum, "
                            "used) VALUES (?, ?, ?, ?, ?, ?)",
                            [_values(key, model, row, now) for key, row in chunk],
                        )
                        self._evict(connection)

    def summary(self) -> CacheSummary:
        """Say what is there.

        Raises:
            CacheError: The file cannot be read, or is no cache.
        """
        size = sum(path.stat().st_size for path in self._file.paths if path.exists())
        if not self.path.exists():
            return CacheSummary(str(self.path), size, ())
        with self._strict(), self._file.connection() as connection:
            models = connection.execute(
                "SELECT name, identity, rows, bytes FROM models ORDER BY bytes DESC, identity"
            ).fetchall()
        return CacheSummary(str(self.path), size, tuple(CachedModel(*model) for model in models))

    def clear(self, name: str | None = None) -> int:
        """Remove the rows of one model, or all and with them any damage.

        Args:
            name: Hub id or folder of the model; None for all.

        Returns:
            Number of rows removed, as far as it could be known.

        Raises:
            CacheError: The file cannot be written, or is no cache.
        """
        if not self.path.exists():
            return 0
        try:
            with self._strict(), self._file.connection() as connection:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    removed = connection.execute(
                        "DELETE FROM rows WHERE model IN "
                        "(SELECT id FROM models WHERE ?1 IS NULL OR name = ?1)",
                        (name,),
                    ).rowcount
                    connection.execute("DELETE FROM models WHERE rows = 0")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except CacheError as error:
            if name is not None or not _is_damage(error.__cause__):
                raise
            self._remove()
            return 0
        return removed

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()

    def _remove(self) -> None:
        with self._strict():
            for path in self._file.paths:
                path.unlink(missing_ok=True)

    def _evict(self, connection: sqlite3.Connection) -> None:
        [total] = connection.execute("SELECT sum(bytes) FROM models").fetchone()
        if total <= self._max_bytes:
            return
        excess = total - _ROOM * self._max_bytes
        oldest = []
        sizes = f"SELECT id, length(vector) + {OVERHEAD} FROM rows ORDER BY used, id"  # noqa: S608
        for row, size in connection.execute(sizes):
            oldest.append((row,))
            excess -= size
            if excess <= 0:
                break
        connection.executemany("DELETE FROM rows WHERE id = ?", oldest)
        connection.execute("DELETE FROM models WHERE rows = 0")

    @contextmanager
    def _forgiving(self) -> Iterator[bool]:
        """Yield whether to try; turn a failure into a pause and the first into a warning."""
        try:
            yield time.monotonic() >= self._resume
        except Exception as error:  # sqlite3 meets damage with errors of many types
            self._resume = time.monotonic() + _PAUSE
            if not self._warned:
                self._warned = True
                warn(
                    f"The embedding cache {self.path} cannot be used ({error}); embedding goes on "
                    "without it. `f2llm cache clear` removes a damaged file.",
                    CacheWarning,
                )

    @contextmanager
    def _strict(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            msg = (
                f"{self.path} cannot be used: {error}. `f2llm cache clear` removes a damaged file."
            )
            raise CacheError(msg) from error


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _model_id(connection: sqlite3.Connection, name: str, identity: str) -> int:
    connection.execute(
        "INSERT OR IGNORE INTO models (identity, name) VALUES (?, ?)", (identity, name)
    )
    found = connection.execute("SELECT id FROM models WHERE identity = ?", (identity,)).fetchone()
    return int(found[0])


def _touch(connection: sqlite3.Connection, uses: Sequence[tuple[int, bytes]]) -> None:
    for chunk in _chunks(uses):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("UPDATE rows SET used = ? WHERE key = ?", chunk)


def _is_sound(key: bytes, length: object, blob: object, checksum: object, width: int) -> bool:
    """Tell whether a row is as it was written; a damaged file may hold anything."""
    return (
        isinstance(length, int)
        and isinstance(blob, bytes)
        and len(blob) == 4 * width
        and checksum == _checksum(key, length, blob)
    )


def _values(key: bytes, model: int, row: Row, now: int) -> tuple[object, ...]:
    blob = row.vector.astype("<f4").tobytes()
    return key, model, row.length, blob, _checksum(key, row.length, blob), now


def _checksum(key: bytes, length: int, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(b"%d" % length, zlib.crc32(key)))


def _is_damage(error: BaseException | None) -> bool:
    """Tell a damaged file from one that is in use, that cannot be reached, or that is not ours."""
    return not isinstance(error, (OSError, CacheError)) and "locked" not in str(error)
