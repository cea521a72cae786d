import platform
import sys

import pytest
import torch

from f2llm_core.engine import linear
from f2llm_core.engine.linear import (
    Int8Linear,
    OneDNNLinear,
    PlainLinear,
    WidenedLinear,
    choose_linear,
    quantize,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _fresh_probe():
    linear._onednn_works.cache_clear()
    yield
    linear._onednn_works.cache_clear()


def has_onednn(dtype):
    if not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def random_operands(dtype):
    """`x`, the weight and what the product is multiplied with."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((7, 48), (80, 48), (7, 80))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("kind", [PlainLinear, OneDNNLinear, WidenedLinear])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_are_right(kind, dtype):
    if kind is OneDNNLinear and not has_onednn(dtype):
        pytest.skip("this torch has no such operators")
    x, weight, other = random_operands(dtype)
    product = x.double() @ weight.double().T
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    ours = kind(weight)
    for result, expected in (
        (ours(x), product),
        (ours.silu(x), torch.nn.functional.silu(product)),
        (ours.times(x, other.clone()), product * other.double()),
    ):
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_eight_bits_change_nothing_but_the_weight(dtype):
    x, weight, other = random_operands(dtype)
    rows, scales = quantize(weight)
    assert rows.dtype == torch.int8
    near = rows * scales.unsqueeze(1)
    assert ((near - weight.float()).abs() <= scales.unsqueeze(1) * 0.501).all()
    product = x.double() @ near.double().T
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    ours = Int8Linear(weight)
    for result, expected in (
        (ours(x), product),
        (ours.silu(x), torch.nn.functional.silu(product)),
        (ours.times(x, other.clone()), product * other.double()),
    ):
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_eight_bits_are_kept_on_any_device(device):
    assert choose_linear(torch.device(device), torch.bfloat16, int8=True) is Int8Linear


def test_a_gpu_gets_the_plain_product():
    assert choose_linear(torch.device("cuda"), torch.float32) is PlainLinear


def test_a_processor_without_bfloat16_multiplies_in_float32(monkeypatch):
    monkeypatch.setattr(linear, "_onednn_works", lambda dtype: False)
    assert choose_linear(CPU, torch.float32) is PlainLinear
    assert choose_linear(CPU, torch.bfloat16) is WidenedLinear


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or not has_onednn(torch.float32),
    reason="torch may do without oneDNN here",
)
def test_a_processor_that_has_the_fused_operators_uses_them():
    assert choose_linear(CPU, torch.float32) is OneDNNLinear


@pytest.mark.skipif(not has_onednn(torch.float32), reason="this torch has no such operators")
@pytest.mark.parametrize("operator", ["__call__", "silu", "times"])
def test_operators_of_which_one_is_wrong_are_not_used(monkeypatch, operator):
    right = getattr(OneDNNLinear, operator)
    monkeypatch.setattr(OneDNNLinear, operator, lambda *args: right(*args) * 1.01)
    assert choose_linear(CPU, torch.float32) is PlainLinear


@pytest.mark.parametrize("broken", ["absent", "wrong"])
def test_operators_that_are_absent_or_wrong_are_not_used(monkeypatch, broken):
    def pointwise(self, x, activation):
        if broken == "absent":
            raise AttributeError("no such operator")
        return torch.zeros(len(x), 96)

    monkeypatch.setattr(OneDNNLinear, "_pointwise", pointwise)
    assert choose_linear(CPU, torch.float32) is PlainLinear
