"""The file behind `cache.py`: its tables, and connections that survive threads and forks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from f2llm_core.errors import CacheError

#: Layout of the file and of the keys, and what rows mean: raised when any of them changes.
SCHEMA = 1

#: Bytes of a row beside its vector, indices included.
OVERHEAD = 120

_APPLICATION = 0xF211A  # tells our files from other programs' databases
_BUSY = 5.0  # seconds to wait for another process's write

_SETUP = f"""
CREATE TABLE models (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, model INTEGER NOT NULL,
    length INTEGER NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX rows_by_use ON rows (used);
CREATE TRIGGER row_added AFTER INSERT ON rows BEGIN
    UPDATE models SET rows = rows + 1, bytes = bytes + length(NEW.vector) + {OVERHEAD}
    WHERE id = NEW.model;
END;
CREATE TRIGGER row_gone AFTER DELETE ON rows BEGIN
    UPDATE models SET rows = rows - 1, bytes = bytes - length(OLD.vector) - {OVERHEAD}
    WHERE id = OLD.model;
END;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {SCHEMA};
"""  # noqa: S608  (constants)


class CacheFile:
    """An SQLite database, opened when it is needed and made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        _opened.add(self)
        weakref.finalize(self, _close_all, self._idle)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, and what SQLite keeps beside it."""
        return tuple(self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm"))

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to one thread at a time; one that failed is not used again.

        Raises:
            CacheError: The file is another program's, or another version's.
            OSError: It cannot be made.
            sqlite3.Error: It cannot be opened.
        """
        with _gate:
            _gate.wait_for(lambda: not _gate.forks)
            _gate.users += 1
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._open()
            yield connection
        except BaseException:
            if connection is not None:
                connection.close()  # rolls back, too
            raise
        else:
            self._idle.append(connection)
        finally:
            with _gate:
                _gate.users -= 1
                _gate.notify_all()

    def close(self) -> None:
        """Close the connections that nobody uses; the next use opens one again."""
        _close_all(self._idle)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the same mode. A file that is there is not opened: by
        # closing it this process would lose the locks of all connections that it has to it.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            with connection:
                connection.execute("BEGIN")  # or another process could set it up in the midst
                is_ours = _is_ours(connection)
            if not is_ours:
                _set_up(connection)
            connection.execute("PRAGMA synchronous = NORMAL")  # a crash may lose rows, not harm
            connection.execute("PRAGMA recursive_triggers = ON")  # or REPLACE would not count
        except BaseException:
            connection.close()
            raise
        return connection


class _Gate(threading.Condition):
    """Keeps forks and open connections apart.

    SQLite must not find its own locks of another process in its memory: no connection may be open
    across a fork, not even an unused one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.users = 0
        self.forks = 0

    def before_fork(self) -> None:
        with self:
            self.forks += 1
            self.wait_for(lambda: not self.users, timeout=2 * _BUSY)
            for file in list(_opened):
                file.close()

    def after_fork(self) -> None:
        with self:
            self.forks -= 1
            self.notify_all()


_gate = _Gate()
_opened: weakref.WeakSet[CacheFile] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork

    def _after_in_child() -> None:
        global _gate  # other threads of the parent may have held it
        _gate = _Gate()

    os.register_at_fork(
        before=lambda: _gate.before_fork(),
        after_in_parent=lambda: _gate.after_fork(),
        after_in_child=_after_in_child,
    )


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Tell our file from a new one.

    Raises:
        CacheError: It is another program's, or another version's.
    """
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return False
    if (application, version) != (_APPLICATION, SCHEMA):
        msg = "it was made by another program or version; choose another folder"
        raise CacheError(msg)
    return True


def _set_up(connection: sqlite3.Connection) -> None:
    _use_write_ahead_log(connection)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_ours(connection):  # another process may have been first
            for statement in _statements(_SETUP):
                connection.execute(statement)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer not wait for each other; SQLite does not wait for this change."""
    end = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit first."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
