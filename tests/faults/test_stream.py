"""A stream of any length takes the memory of its blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faults.figures import Tally
from faults.processes import lines_of, printed_by
from faults.stream import BLOCK

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


def measured(lines, texts):
    """Return what a stream of so many texts, a multiple of `BLOCK`, printed of its memory."""
    start, *blocks, peak = map(float, lines)
    assert len(blocks) * BLOCK == texts
    tally = Tally("stream", tried=texts)
    tally.measure("peak MB above the start", peak - start)
    late = np.array(blocks[len(blocks) // 5 :])
    slope = np.polyfit(np.arange(len(late)) * BLOCK / 10_000, late, 1)[0]
    tally.measure("growth in MB per 10,000 texts", float(slope))
    return tally


def broken_stream(folder, leak):
    """Measure a short stream that keeps so many bytes of every text."""
    return measured(lines_of("faults.stream", folder, 20_000, leak, timeout=380), 20_000)


def test_a_million_texts(long_stream, full, prove):
    texts, process = long_stream
    tally = measured(printed_by(process, timeout=380), texts)
    if not full:  # a short stream has not settled
        del tally.found["growth in MB per 10,000 texts"]
    prove(tally)


def test_a_leak_is_found(smallest):
    tally = broken_stream(smallest, leak=1_000)
    assert tally.found["growth in MB per 10,000 texts"] > 5
    assert tally.missed()


def test_a_stream_that_is_kept_is_found(smallest):
    tally = broken_stream(smallest, leak=50_000)
    assert tally.found["peak MB above the start"] > 512
