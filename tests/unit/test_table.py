import pytest
import torch

from f2llm_core.engine.table import Int8Table, Table

CPU = torch.device("cpu")
WEIGHT = torch.randn(9000, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
IDS = torch.tensor([0, 8999, 5, 5, 8192])


def test_rows_are_those_of_the_checkpoint():
    rows = Table(WEIGHT, CPU)(IDS)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, WEIGHT[IDS].float())


def test_the_table_is_a_copy():
    weight = WEIGHT.clone()
    table = Table(weight, CPU)
    weight.zero_()
    assert torch.equal(table(IDS), WEIGHT[IDS].float())


def test_rows_of_eight_bits_are_off_by_half_a_step_at_most():
    rows = Int8Table(WEIGHT, CPU)(IDS)
    exact = WEIGHT[IDS].float()
    step = exact.abs().amax(dim=1, keepdim=True) / 127
    assert rows.dtype == torch.float32
    assert ((rows - exact).abs() <= step * 0.501).all()


@pytest.mark.parametrize("row", [0, 8999])
def test_a_row_of_zeros_stays_zero(row):
    weight = WEIGHT.clone()
    weight[row] = 0
    assert not Int8Table(weight, CPU)(torch.tensor([row])).any()
