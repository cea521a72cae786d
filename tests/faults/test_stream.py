"""A stream of any length takes the memory of its blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from f2llm_core.testing import tiny_checkpoint
from faults.figures import Tally
from faults.processes import lines_of
from faults.stream import BLOCK

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """A model as small as one can be, since it is not the model that is tried."""
    folder = tmp_path_factory.mktemp("smallest") / "model"
    return tiny_checkpoint(
        folder, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, intermediate_size=8
    )


def check_stream(folder, texts, leak=0):
    """Embed so many texts and measure the memory.

    Args:
        folder: The model.
        texts: How many; a multiple of `BLOCK`.
        leak: Bytes kept of every text by a stream that is broken on purpose.
    """
    *resident, last = lines_of("faults.stream", folder, texts, leak, timeout=380)
    start, *blocks = map(float, resident)
    assert len(blocks) * BLOCK == texts
    tally = Tally("stream", tried=texts)
    tally.measure("peak MB above the start", float(last) - start)
    late = np.array(blocks[len(blocks) // 5 :])
    slope = np.polyfit(np.arange(len(late)) * BLOCK / 10_000, late, 1)[0]
    tally.measure("growth in MB per 10,000 texts", float(slope))
    return tally


def test_a_million_texts(smallest, full, prove):
    tally = check_stream(smallest, 1_000_000 if full else 20_000)
    if not full:  # a short stream has not settled
        del tally.found["growth in MB per 10,000 texts"]
    prove(tally)


def test_a_leak_is_found(smallest):
    tally = check_stream(smallest, 20_000, leak=1_000)
    assert tally.found["growth in MB per 10,000 texts"] > 5
    assert tally.missed()


def test_a_stream_that_is_kept_is_found(smallest):
    tally = check_stream(smallest, 20_000, leak=50_000)
    assert tally.found["peak MB above the start"] > 512
