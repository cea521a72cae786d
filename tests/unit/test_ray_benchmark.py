"""The figures of `benchmarks/ray_data.py`."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ray")

from benchmarks.ray_data import _steady, _times, markdown


def test_only_the_time_in_which_all_work_counts(tmp_path):
    output, notes = tmp_path / "vectors", tmp_path / "notes"

    def touch(path, at):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (at, at))

    for pid, begun in {1: (5.0, 10.0, 13.0, 30.0), 2: (4.0, 12.0, 16.0)}.items():
        for at in begun:
            touch(notes / f"{pid}-{at}", at)
    for name, at in {"a": 9.9, "b": 11.9, "c": 12.9, "d": 15.9, "e": 29.9, "f": 33.0}.items():
        touch(output / f"part-{name}.parquet", at)
    seconds, parts = _steady(output, notes)
    assert seconds == pytest.approx(4.0)  # from 12, when both had done one, to 16
    assert {path.stem for path in parts} == {"part-c", "part-d"}


def test_the_page():
    def measured(rate):
        return {
            "tokens_per_second": rate,
            "cores_per_worker": 1.0,
            "worker_mb": [300, 310],
            "objects_mb": [1, 2],
        }

    found = {"1": [measured(100.0), measured(120.0)], "2": [measured(190.0), measured(240.0)]}
    assert _times(found) == [1.9, 2.0]
    page = markdown(
        {
            "machine": {"date": "2026-01-01", "cpu": "CPU", "cores": 2},
            "load_average": [0.1, 2.0],
            "model": "demo",
            "rows": 8000,
            "batch_size": 200,
            "workers": found,
            "times": _times(found),
        }
    )
    assert "| 2 | 215 (190–240) | 1.00 | 300 → 310 | 1 → 2 |" in page
    assert "1.95 times (1.90–2.00) the throughput of one; asked: at least 1.7 ✓." in page
    assert max(map(len, page.splitlines())) <= 120
