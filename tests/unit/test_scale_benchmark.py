"""The plan of `docs/scale.md`: its tables are those of the formulas."""

from __future__ import annotations

import pytest

from benchmarks.scale import PAGE, hours, index_bytes, parquet_bytes, put_tables


def test_the_page_shows_what_the_formulas_say():
    page = PAGE.read_text(encoding="utf-8")
    assert put_tables(page) == page, "run `python -m benchmarks.scale --write`"


def test_formulas():
    assert parquet_bytes(10, 256, "float32", 16) == 10 * (1024 + 8 + 16 + 4)
    assert parquet_bytes(10, 256, "float16", 16) == 10 * (512 + 8 + 16 + 4)
    assert index_bytes(1, 64) == 4 * 64 + 148
    assert hours(3600, 200, 100) == pytest.approx(2.0)
