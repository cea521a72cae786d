"""What a text costs by formula, and how fast this machine multiplies matrices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from f2llm_core.engine.config import Qwen3Config

_ROWS = (512, 2048)  # tokens in a batch
_REPEATS = 7


def linear_flops(config: Qwen3Config) -> int:
    """Return the FLOPs of all matrix products with weights, for one token."""
    heads = (config.heads + 2 * config.kv_heads) * config.head_dim
    attention = config.width * heads + config.heads * config.head_dim * config.width
    return 2 * config.layers * (attention + 3 * config.width * config.intermediate_size)


def attention_flops(config: Qwen3Config, length: int) -> int:
    """Return the FLOPs of causal attention over one text of `length` tokens."""
    pairs = length * (length + 1) // 2  # a token attends to itself and those before it
    return config.layers * 2 * 2 * config.heads * config.head_dim * pairs


def text_flops(config: Qwen3Config, lengths: Iterable[int]) -> int:
    """Return the FLOPs of the whole model over texts; nominal, whatever an engine leaves out."""
    linear = linear_flops(config)
    return sum(linear * length + attention_flops(config, length) for length in lengths)


def measure_ceiling(config: Qwen3Config) -> dict[str, dict[str, Any]]:
    """Time the model's matrix products alone.

    Returns:
        For each precision the best of all shapes and kernels: `gflops` (GFLOP/s, median of a few
        repeats), `shape` (rows, inputs, outputs) and `kernel`.
    """
    import torch

    from f2llm_core.engine.linear import PlainLinear, choose_linear

    random = torch.Generator().manual_seed(0)
    best: dict[str, dict[str, Any]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        kernels = dict.fromkeys([PlainLinear, choose_linear(torch.device("cpu"), dtype)])
        found = []
        for inputs, outputs in _shapes(config):
            weight = torch.randn(outputs, inputs, generator=random).to(dtype)
            for kernel in kernels:
                product = kernel(weight)
                for rows in _ROWS:
                    x = torch.randn(rows, inputs, generator=random).to(dtype)
                    with torch.inference_mode():
                        speed = 2 * rows * inputs * outputs / _seconds(lambda: product(x)) / 1e9  # noqa: B023
                    shape = [rows, inputs, outputs]
                    found.append({"gflops": speed, "shape": shape, "kernel": kernel.__name__})
        best[str(dtype).removeprefix("torch.")] = max(found, key=lambda f: f["gflops"])
    return best


def _shapes(config: Qwen3Config) -> list[tuple[int, int]]:
    """Return inputs and outputs of the model's products, as an engine may fuse them."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return [
        (config.width, queries + 2 * keys),
        (queries, config.width),
        (config.width, config.intermediate_size),
        (config.intermediate_size, config.width),
    ]


def _seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)
