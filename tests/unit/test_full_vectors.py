"""The file of whole vectors: what it holds, refuses and survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from f2llm_core import StoreError
from f2llm_core.full_vectors import FullVectors
from f2llm_core.matryoshka import truncate

ROWS = truncate(np.random.default_rng(0).normal(size=(700, 32)))
IDS = [f"id {i}'\"" for i in range(len(ROWS))]


@pytest.fixture
def file(tmp_path: Path) -> FullVectors:
    return FullVectors(tmp_path / "a folder" / "papers.full")


def test_reading_and_deleting_makes_no_file(file: FullVectors):
    assert file.read(IDS) == {}
    assert (file.width, file.read_stamp()) == (None, None)
    file.delete(IDS)
    file.clear()
    assert not file.path.parent.exists()


def test_vectors_come_back_to_half_precision(file: FullVectors):
    file.write(IDS, ROWS)
    found = FullVectors(file.path).read([*IDS[::-1], "absent"])
    assert found.keys() == set(IDS)
    kept = np.stack([found[id_] for id_ in IDS])
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, ROWS, atol=2**-12)
    assert file.width == 32
    assert file.path.stat().st_size < len(ROWS) * (32 * 2 + 100)


def test_vectors_are_replaced_and_deleted(file: FullVectors):
    file.write(IDS[:3], ROWS[:3])
    file.write(IDS[1:2], ROWS[9:10])
    file.delete([IDS[0], "absent"])
    found = file.read(IDS)
    assert found.keys() == {IDS[1], IDS[2]}
    np.testing.assert_allclose(found[IDS[1]], ROWS[9], atol=2**-12)


def test_another_width_is_refused_and_nothing_written(file: FullVectors):
    file.write(IDS[:1], ROWS[:1])
    with pytest.raises(StoreError, match="holds vectors of 32 dimensions, not 16"):
        file.write(IDS[1:2], ROWS[1:2, :16])
    assert file.read(IDS).keys() == {IDS[0]}
    file.clear()
    file.write(IDS[1:2], ROWS[1:2, :16])
    assert (file.width, list(file.read(IDS))) == (16, [IDS[1]])


def test_a_batch_is_written_whole_or_not_at_all(file: FullVectors):
    file.write(IDS[:1], ROWS[:1])
    with pytest.raises(StoreError, match="cannot be written"):
        file.write([IDS[1], None], ROWS[1:3])  # type: ignore[list-item]
    assert file.read(IDS[:2]).keys() == {IDS[0]}


def test_a_path_that_no_file_can_have_is_said(tmp_path: Path):
    file = FullVectors(tmp_path / ("x" * 300))
    for use in (lambda: file.width, lambda: file.read(IDS), lambda: file.write(IDS, ROWS)):
        with pytest.raises(StoreError, match=r"xxx, which holds the full vectors, cannot be"):
            use()


def test_stamps_outlive_the_object(file: FullVectors):
    assert file.collection is None
    file.write_stamp({"name": "ü", "dimensions": 32}, "collection 'ü'")
    again = FullVectors(file.path)
    assert again.read_stamp() == {"name": "ü", "dimensions": 32}
    assert again.collection == "collection 'ü'"


@pytest.mark.parametrize("content", [b"no database at all", None])
def test_other_programs_files_are_refused(file: FullVectors, content: bytes | None):
    file.path.parent.mkdir()
    if content is None:
        with sqlite3.connect(file.path) as connection:
            connection.execute("CREATE TABLE rows (mine)")
        connection.close()
    else:
        file.path.write_bytes(content)
    before = file.path.read_bytes()
    for use in (lambda: file.width, lambda: file.write(IDS, ROWS), lambda: file.read(IDS)):
        with pytest.raises(StoreError, match="papers"):
            use()
    assert file.path.read_bytes() == before


def test_files_of_another_version_are_refused(file: FullVectors):
    file.write(IDS, ROWS)
    connection = sqlite3.connect(file.path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for use in (lambda: file.width, lambda: file.write(IDS, ROWS), lambda: file.read(IDS)):
        with pytest.raises(StoreError, match="another version's"):
            use()


def test_an_empty_file_is_one_that_was_begun(file: FullVectors):
    file.path.parent.mkdir()
    file.path.touch()
    assert file.read(IDS) == {}
    file.write(IDS, ROWS)
    assert len(file.read(IDS)) == len(IDS)


def test_threads_write_at_once(file: FullVectors):
    threads = [
        threading.Thread(target=file.write, args=(IDS[i::8], ROWS[i::8]), daemon=True)
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(file.read(IDS)) == len(IDS)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_what_was_written_survives_a_kill_in_the_midst_of_the_next_write(file: FullVectors):
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from f2llm_core.full_vectors import FullVectors\n"
        f"file = FullVectors(Path({str(file.path)!r}))\n"
        "rows = np.ones((1, 32), dtype=np.float32)\n"
        "file.write(['kept'], rows)\n"
        "with file._writing() as connection:\n"
        "    connection.execute(\"INSERT INTO rows VALUES ('lost', x'00')\")\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        os.kill(child.pid, signal.SIGKILL)
    assert file.read(["kept", "lost"]).keys() == {"kept"}
    file.write(["lost"], ROWS[:1])
