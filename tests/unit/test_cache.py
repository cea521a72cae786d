"""Rows on disk: what comes back, what makes room, and what happens when the file is bad."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pytest

from f2llm_core import CacheError, CacheWarning, cache_file
from f2llm_core import cache as cache_module
from f2llm_core.cache import FILE_NAME, EmbeddingCache, Row, default_folder
from f2llm_core.cache_file import OVERHEAD

WIDTH = 16
PLENTY = 10**9
ROW_BYTES = 4 * WIDTH + OVERHEAD


def key(number):
    return hashlib.sha256(str(number).encode()).digest()


def rows(*numbers):
    made = {}
    for number in numbers:
        vector = np.random.default_rng(number).normal(size=WIDTH).astype(np.float32)
        made[key(number)] = Row(number, vector)
    return made


def fetch(cache, *numbers, width=WIDTH):
    """Return the numbers whose rows are there, each checked bit for bit."""
    found = cache.get([key(n) for n in numbers], width)
    for number in (present := [n for n in numbers if key(n) in found]):
        [expected] = rows(number).values()
        assert found[key(number)].length == number
        assert found[key(number)].vector.tobytes() == expected.vector.tobytes()
    return present


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache", PLENTY)


@pytest.fixture
def clock(monkeypatch):
    """The time that rows are stamped with, in hours."""

    class Clock:
        hours = 1000

        def time(self):
            return self.hours * 3600.0

        def monotonic(self):
            return self.hours * 3600.0

    clock = Clock()
    monkeypatch.setattr(cache_module, "time", clock)
    return clock


def test_rows_come_back_bit_for_bit_in_another_object(cache, tmp_path):
    assert fetch(cache, 1, 2) == []
    cache.put("m", "id", rows(1, 2))
    assert fetch(cache, 1, 2, 3, 1) == [1, 2, 1]
    assert fetch(EmbeddingCache(tmp_path / "cache", PLENTY), 1, 2) == [1, 2]
    assert fetch(cache, 1, width=WIDTH // 2) == []


def test_more_rows_than_a_statement_takes(cache, monkeypatch):
    opening = cache_file.CacheFile._open

    def open_as_older_versions_do(self):
        connection = opening(self)
        if hasattr(connection, "setlimit"):  # Python 3.11
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        return connection

    monkeypatch.setattr(cache_file.CacheFile, "_open", open_as_older_versions_do)
    numbers = range(1234)
    cache.put("m", "id", rows(*numbers))
    assert fetch(cache, *numbers) == list(numbers)
    [model] = cache.summary().models
    assert (model.rows, model.bytes) == (1234, 1234 * ROW_BYTES)


def test_what_no_index_should_hold_is_not_stored(cache):
    bad = rows(1, 2, 3, 4)
    for number, value in ((1, np.nan), (2, np.inf), (3, -np.inf)):
        bad[key(number)].vector[5] = value
    bad[key(4)].vector[:] = 0
    cache.put("m", "id", bad | rows(5))
    assert fetch(cache, 1, 2, 3, 4, 5) == [5]


def test_storing_again_replaces_and_counts_once(cache):
    cache.put("m", "id", rows(1, 2))
    cache.put("m", "id", rows(2, 3))
    [model] = cache.summary().models
    assert (model.rows, model.bytes) == (3, 3 * ROW_BYTES)


def test_rows_not_used_for_longest_make_room(tmp_path, clock):
    cache = EmbeddingCache(tmp_path, 10 * ROW_BYTES)
    for number in range(10):
        clock.hours += 2
        cache.put("m", "id", rows(number))
    clock.hours += 2
    assert fetch(cache, 0) == [0]  # used now, so that 1 is the oldest
    cache.put("m", "id", rows(10))
    assert fetch(cache, *range(11)) == [0, 3, 4, 5, 6, 7, 8, 9, 10]


def test_the_bound_holds_after_every_write(tmp_path):
    bound = 50 * ROW_BYTES
    cache = EmbeddingCache(tmp_path, bound)
    for start in range(0, 2000, 70):
        cache.put("ab"[start % 4 // 2], str(start % 3), rows(*range(start, start + 70)))
        summary = cache.summary()
        assert 0 < sum(m.bytes for m in summary.models) <= bound
        assert all(m.rows > 0 for m in summary.models)
    with sqlite3.connect(cache.path) as connection:
        counted = dict(connection.execute("SELECT model, count(*) FROM rows GROUP BY model"))
        assert counted == dict(connection.execute("SELECT id, rows FROM models"))
    connection.close()


def test_a_bound_below_one_row_keeps_nothing_and_fails_nowhere(tmp_path):
    cache = EmbeddingCache(tmp_path, 1)
    cache.put("m", "id", rows(1, 2))
    assert fetch(cache, 1, 2) == []


def test_reading_writes_nothing_within_the_hour(cache, clock):
    cache.put("m", "id", rows(1))
    clock.hours += 1

    def used():
        with sqlite3.connect(cache.path) as connection:
            [(stamp,)] = connection.execute("SELECT used FROM rows")
        connection.close()
        return stamp // 3600

    assert fetch(cache, 1) == [1]
    assert used() == 1000
    clock.hours += 1
    assert fetch(cache, 1) == [1]
    assert used() == 1002


@pytest.mark.parametrize(
    "change",
    [
        "vector = zeroblob(64)",
        "vector = substr(vector, 1, 60)",
        "vector = 'text'",
        "vector = 1",
        "length = length + 1",
        "length = 'text'",
        "checksum = checksum + 1",
        "checksum = x'00'",
        f"key = x'{key(99).hex()}'",
    ],
)
def test_a_damaged_row_is_missing_until_stored_again(cache, change):
    cache.put("m", "id", rows(1, 2))
    with sqlite3.connect(cache.path) as connection:
        connection.execute(f"UPDATE rows SET {change} WHERE key = ?", (key(1),))
    connection.close()
    assert fetch(cache, 1, 2, 99) == [2]
    cache.put("m", "id", rows(1))
    assert fetch(cache, 1, 2) == [1, 2]


def test_flipped_bytes_never_give_a_wrong_row(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)
    cache.put("m", "id", rows(*range(300)))
    cache.clear("nobody")  # folds the log into the file
    cache.close()
    whole = cache.path.read_bytes()
    lost = 0
    for seed in range(60):
        chance = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(40):
            damaged[chance.randrange(100, len(damaged))] ^= 1 << chance.randrange(8)
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(damaged)
        again = EmbeddingCache(folder, PLENTY)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            lost += 300 - len(fetch(again, *range(300)))  # those found are checked bit for bit
            again.put("m", "id", rows(*range(5)))
    assert lost > 60  # or nothing was tested


def test_a_file_that_is_no_database_is_said_once_and_cleared(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    cache = EmbeddingCache(tmp_path, PLENTY)
    with pytest.warns(CacheWarning, match="f2llm cache clear"):
        assert fetch(cache, 1) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        cache._resume = 0
        cache.put("m", "id", rows(1))
        assert fetch(cache, 1) == []
    with pytest.raises(CacheError, match="not a database"):
        cache.summary()
    with pytest.raises(CacheError, match="not a database"):
        cache.clear("m")
    assert cache.clear() == 0
    fresh = EmbeddingCache(tmp_path, PLENTY)
    fresh.put("m", "id", rows(1))
    assert fetch(fresh, 1) == [1]


def test_of_a_damaged_file_that_others_use_nothing_is_left(cache):
    cache.put("m", "id", rows(1))
    other = EmbeddingCache(cache.path.parent, PLENTY)
    assert fetch(other, 1) == [1]
    cache.close()
    for path in cache._file.paths[:2]:
        path.write_bytes(b"not a database" * 1000)
    assert cache.clear() == 0
    assert list(cache.path.parent.iterdir()) == []
    other.close()


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE theirs (x)",
        f"PRAGMA user_version = {cache_file.SCHEMA}",
        "PRAGMA application_id = 7",
        f"PRAGMA application_id = {cache_file._APPLICATION}",
    ],
)
def test_another_programs_database_is_left_alone(tmp_path, script):
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute(script)
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    cache = EmbeddingCache(tmp_path, PLENTY)
    with pytest.warns(CacheWarning, match="another program"):
        cache.put("m", "id", rows(1))
    for look in (cache.summary, cache.clear):
        with pytest.raises(CacheError, match="another program"):
            look()
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_locked_file_is_said_once_tried_later_and_still_read(cache, clock, monkeypatch):
    monkeypatch.setattr(cache_file, "_BUSY", 0.05)
    cache.put("m", "id", rows(1))
    cache.close()
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert fetch(cache, 1) == [1]
    with pytest.warns(CacheWarning, match="locked"):
        cache.put("m", "id", rows(2))
    with pytest.raises(CacheError, match="locked"):
        cache.clear()
    other.execute("COMMIT")
    other.close()
    assert fetch(cache, 1, 2) == []  # a pause, so that not every call waits for the lock
    clock.hours += 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("m", "id", rows(2))
        assert fetch(cache, 1, 2) == [1, 2]


def test_hits_survive_that_their_use_cannot_be_noted(cache, clock, monkeypatch):
    monkeypatch.setattr(cache_file, "_BUSY", 0.05)
    cache.put("m", "id", rows(1))
    cache.close()
    clock.hours += 10
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(CacheWarning, match="locked"):
        assert fetch(cache, 1) == [1]
    other.close()


def test_a_full_disk_is_said_and_loses_nothing_stored(cache, monkeypatch):
    cache.put("m", "id", rows(*range(100)))
    cache.close()
    opening = cache_file.CacheFile._open

    def full(self):
        connection = opening(self)
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present count
        return connection

    monkeypatch.setattr(cache_file.CacheFile, "_open", full)
    with pytest.warns(CacheWarning, match="full"):
        cache.put("m", "id", rows(*range(1000, 2000)))
    monkeypatch.undo()
    assert fetch(EmbeddingCache(cache.path.parent, PLENTY), *range(100)) == list(range(100))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    cache = EmbeddingCache(tmp_path / "file" / "folder", PLENTY)
    with pytest.warns(CacheWarning, match="cannot be used"):
        cache.put("m", "id", rows(1))
    assert cache.summary().models == ()
    assert cache.clear() == 0


def test_clearing_one_model_leaves_the_others(cache):
    cache.put("a", "a float32", rows(1, 2))
    cache.put("a", "a bfloat16", rows(3))
    cache.put("b", "b float32", rows(4))
    assert [(m.name, m.identity, m.rows) for m in cache.summary().models] == [
        ("a", "a float32", 2),
        ("a", "a bfloat16", 1),
        ("b", "b float32", 1),
    ]
    assert cache.clear("c") == 0
    assert cache.clear("a") == 3
    assert fetch(cache, 1, 2, 3, 4) == [4]
    assert cache.clear() == 1
    assert cache.summary().models == ()


def test_clearing_gives_the_space_back(cache):
    cache.put("m", "id", rows(*range(2000)))
    before = cache.summary().file_bytes
    assert before > 2000 * 4 * WIDTH
    cache.clear()
    assert cache.summary().file_bytes < before / 4


def test_looking_at_nothing_makes_nothing(cache):
    summary = cache.summary()
    assert (summary.path, summary.file_bytes, summary.models) == (str(cache.path), 0, ())
    assert cache.clear() == 0
    assert not cache.path.parent.exists()


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("F2LLM_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.setenv("F2LLM_CACHE", "~/here")
    assert default_folder() == Path.home() / "here"
    monkeypatch.delenv("F2LLM_CACHE")
    assert default_folder().name == "f2llm"
