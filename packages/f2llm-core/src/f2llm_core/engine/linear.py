"""Matrix products with what follows them: plain torch, or oneDNN with packed weights on a CPU.

torch's own oneDNN operators are private: they are probed and compared once at load, and plain
`F.linear` takes their place where they are absent or wrong.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor


class Linear(Protocol):
    """A weight `(out, in)` without bias, and the products that the model needs of it."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x @ W.T` for `x` of shape `(T, in)`."""

    def silu(self, x: Tensor) -> Tensor:
        """Return `silu(x @ W.T)`."""

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """Return `(x @ W.T) * other`; may overwrite `other`."""


class PlainLinear:
    """`F.linear`, on any device; methods as in `Linear`."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x), inplace=True)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return other.mul_(self(x))


class OneDNNLinear:
    """oneDNN, weights packed for the processor, what follows fused in; methods as in `Linear`."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)

    def __call__(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "none")

    def silu(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "swish")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, other, self._weight, None, "mul"
        )
        return product

    def _pointwise(self, x: Tensor, activation: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, None, activation, [], ""
        )
        return result


class WidenedLinear(PlainLinear):
    """Weights in bfloat16, widened to float32 for each product; methods as in `Linear`.

    For processors that do not multiply bfloat16: torch's emulation takes several times as long.
    """

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.float(), self._weight.float()).to(x.dtype)


class Int8Linear(PlainLinear):
    """Weights of 8 bits with one scale per output, widened for each product; as in `Linear`.

    Half the memory of bfloat16, for the price of a pass over the weights with every product.
    """

    def __init__(self, weight: Tensor) -> None:
        rounded, scales = quantize(weight)
        super().__init__(rounded)
        self._scales = scales.to(weight.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        # Whole numbers up to 127 are exact in bfloat16: only the weights' own rounding is felt.
        return F.linear(x, self._weight.to(x.dtype)).mul_(self._scales)


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight `(out, in)` to 8 bits.

    Returns:
        int8 `(out, in)` and float32 `(out,)`, whose product row by row is near the weight.
    """
    exact = weight.float()
    scales = exact.abs().amax(dim=1).clamp_(min=torch.finfo(torch.float32).tiny) / 127
    return (exact / scales.unsqueeze(1)).round_().to(torch.int8), scales


def choose_linear(
    device: torch.device, dtype: torch.dtype, *, int8: bool = False
) -> type[PlainLinear | OneDNNLinear]:
    """Return the fastest kind of matrix product that works on a device at a precision.

    Args:
        device: Where to compute.
        dtype: Precision of the products.
        int8: Keep weights in 8 bits.
    """
    if int8:
        return Int8Linear
    if device.type != "cpu":
        return PlainLinear
    if _onednn_works(dtype):
        return OneDNNLinear
    return PlainLinear if dtype == torch.float32 else WidenedLinear


@cache
def _onednn_works(dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    x, weight, other = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((5, 64), (96, 64), (5, 96))
    )
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    try:
        packed, plain = OneDNNLinear(weight), PlainLinear(weight)
        pairs = [
            (packed(x), plain(x)),
            (packed.silu(x), plain.silu(x)),
            (packed.times(x, other), plain.times(x, other.clone())),
        ]
    except (AttributeError, RuntimeError, TypeError):  # absent, or with another signature
        return False
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)
