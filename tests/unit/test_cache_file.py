"""One file under many processes and threads: nothing lost, nothing mixed, nothing carried over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from f2llm_core import cache_file
from f2llm_core.cache import EmbeddingCache, Row

WIDTH = 16
PLENTY = 10**9


def key(number):
    return number.to_bytes(32, "big")


def vector(number):
    return np.random.default_rng(number).normal(size=WIDTH).astype(np.float32)


def put(cache, numbers):
    cache.put("m", "id", {key(n): Row(n, vector(n)) for n in numbers})


def present(cache, numbers):
    found = cache.get([key(n) for n in numbers], WIDTH)
    for number in numbers:
        if key(number) in found:
            assert found[key(number)].vector.tobytes() == vector(number).tobytes()
    return len(found)


def check_integrity(path):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def write_many(folder, start, count, go):
    go.wait(30)
    cache = EmbeddingCache(Path(folder), PLENTY)
    for number in range(start, start + count, 5):
        put(cache, range(number, number + 5))
    os._exit(0 if present(cache, range(start, start + count)) == count else 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_make_and_fill_a_file_at_once(tmp_path, method):
    context = multiprocessing.get_context(method)
    go = context.Event()
    arguments = [(str(tmp_path), 1000 * i, 100, go) for i in range(6)]
    processes = [context.Process(target=write_many, args=a) for a in arguments]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    cache = EmbeddingCache(tmp_path, PLENTY)
    assert [present(cache, range(a[1], a[1] + 100)) for a in arguments] == [100] * 6
    assert cache.summary().models[0].rows == 600
    check_integrity(cache.path)


def test_a_second_connection_leaves_the_first_its_locks(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)
    put(cache, range(10))
    with cache._file.connection() as first, cache._file.connection() as second:
        assert first is not second
        # What another process that believes itself alone does: it takes the log away.
        code = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "print(connection.execute('PRAGMA journal_mode = DELETE').fetchone()[0])"
        )
        alone = subprocess.run(
            [sys.executable, "-c", code, str(cache.path)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "database is locked" in alone.stderr
    assert present(cache, range(10)) == 10


def test_threads_share_an_object(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)

    def work(start):
        for number in range(start, start + 100, 4):
            put(cache, range(number, number + 4))
            assert present(cache, range(start, number + 4)) == number + 4 - start

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(0, 8000, 1000)))
    assert cache.summary().models[0].rows == 800


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_no_connection_crosses_a_fork(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)
    stop = threading.Event()

    def work(start):
        number = start
        while not stop.is_set():
            put(cache, [number])
            present(cache, range(start, number + 1))
            number += 1

    threads = [threading.Thread(target=work, args=(10**6 * (i + 1),)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(20):
            put(cache, [round_])
            child = os.fork()
            if child == 0:
                os._exit(in_child(cache, round_))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert present(cache, range(20)) == 20
    assert present(cache, range(100, 120)) == 20
    check_integrity(cache.path)


def in_child(cache, round_):
    files = [os.readlink(p) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
    if any(file.startswith(str(cache.path)) for file in files):
        return 2
    try:
        put(cache, [100 + round_])
        return 0 if present(cache, [round_, 100 + round_]) == 2 else 3
    except BaseException:
        return 4


def test_who_comes_while_a_process_forks_waits(tmp_path, monkeypatch):
    cache, gate = EmbeddingCache(tmp_path, PLENTY), cache_file._gate
    wait_for, waiting = gate.wait_for, threading.Event()
    gate.before_fork()
    monkeypatch.setattr(gate, "wait_for", lambda true: waiting.set() or wait_for(true))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(put, cache, [1])
        try:
            assert waiting.wait(10)
            with gate:
                assert gate.users == 0
            assert not call.done()
        finally:
            gate.after_fork()
        call.result(10)
    assert present(cache, [1]) == 1


def test_a_killed_writer_leaves_a_sound_file(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "import test_cache_file as t\n"
        "cache = t.EmbeddingCache(Path(sys.argv[1]), t.PLENTY)\n"
        "for number in range(0, 10**6, 10):\n"
        "    t.put(cache, range(number, number + 10)); print(number, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    for attempt in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        written = [process.stdout.readline() for _ in range(10 * (attempt + 1))]
        time.sleep(0.001 * attempt)  # somewhere within a write
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process.stdout.close()
        cache = EmbeddingCache(tmp_path, PLENTY)
        kept = present(cache, range(5000))
        assert kept % 10 == 0  # writes are whole or not at all
        assert kept >= 10 * len(written)  # what was acknowledged survives the process
        assert cache.summary().models[0].rows >= kept
        cache.close()
        check_integrity(cache.path)


def test_only_the_owner_may_read(tmp_path):
    before = os.umask(0)
    try:
        cache = EmbeddingCache(tmp_path / "cache", PLENTY)
        put(cache, [1])
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "cache").iterdir()}
    assert len(modes) == 3  # with the log and its index
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_connections_are_kept_and_closed(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)
    put(cache, [1])
    idle = cache._file._idle
    [connection] = idle
    assert present(cache, [1]) == 1
    assert idle == [connection]
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    assert present(cache, [1]) == 1  # opened again
    [connection] = idle
    del cache
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_failure_is_not_carried_into_the_next_use(tmp_path):
    cache = EmbeddingCache(tmp_path, PLENTY)
    put(cache, [1])

    def interrupted():
        with cache._file.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM rows")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert present(cache, [1]) == 1
