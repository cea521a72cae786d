import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from f2llm_core.engine.blocks import Blocks

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=60), st.sampled_from([FLOAT32, BFLOAT16])
)
def test_blocks_hold_every_sequence_once_in_order_and_not_much_too_much(lengths, dtype):
    parts = list(Blocks(CPU, dtype).cut(lengths))
    assert [length for part in parts for length in lengths[part]] == lengths
    size = {FLOAT32: 512, BFLOAT16: 1024}[dtype]
    for part in parts:
        assert lengths[part]
        assert len(lengths[part]) == 1 or sum(lengths[part]) <= 1.5 * size + max(lengths[part]) / 2


@pytest.mark.parametrize(
    ("lengths", "blocks"),
    [
        ([500, 500, 500, 500], [[500, 500], [500, 500]]),
        ([400] * 5, [[400, 400, 400], [400, 400]]),  # not 800, 800, 400
        ([1500], [[1500]]),
        ([30] * 40, [[30] * 40]),  # 1,200: nearer to one block than to two
        ([5000, 20, 20], [[5000], [20, 20]]),
    ],
)
def test_blocks_are_about_equally_long(lengths, blocks):
    assert [lengths[part] for part in Blocks(CPU, BFLOAT16).cut(lengths)] == blocks


def test_a_gpu_takes_everything_at_once_and_needs_no_filling():
    sizes = Blocks(GPU, BFLOAT16)
    assert list(sizes.cut([4096] * 100)) == [slice(0, 100)]
    assert sizes.missing(1001) == 0


@pytest.mark.parametrize(("dtype", "most"), [(FLOAT32, 80), (BFLOAT16, 32)])
def test_few_different_numbers_of_rows_come_out(dtype, most):
    sizes = Blocks(CPU, dtype)
    filled = {rows + sizes.missing(rows) for rows in range(2, 1025)}
    assert len(filled) <= most
    assert sizes.missing(1) == 0
    assert all(sizes.missing(rows) <= max(16, rows / 8) for rows in range(1, 1025))
