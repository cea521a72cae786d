"""How a batch is cut into blocks, and how blocks are filled up, for a processor to be quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch

# About how many tokens go through a layer together: so few that activations stay in cache and the
# allocator hands the same pages out again, and more where fast products wait for the weights.
_TOKENS = {torch.float32: 512, torch.bfloat16: 1024}

# oneDNN compiles kernels for every number of rows, in bfloat16 for tens of milliseconds, and keeps
# them, some MB. So up to how many rows they come in multiples of how many; AMX has tiles of 16.
_FILL = {
    torch.float32: {256: 8, sys.maxsize: 16},
    torch.bfloat16: {256: 16, 512: 32, sys.maxsize: 64},
}


class Blocks:
    """Sizes of blocks for a device and a precision; no limits but on a CPU."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        """Look them up; `dtype` is float32 or bfloat16."""
        self._on_cpu = device.type == "cpu"
        self._dtype = dtype

    def cut(self, lengths: Sequence[int]) -> Iterator[slice]:
        """Yield which consecutive sequences stand in a block together, about equally many tokens.

        Args:
            lengths: Tokens of each sequence; one that is longer than a block may have its own.
        """
        left, first, used = sum(lengths), 0, 0
        share = self._share(left)
        for index, length in enumerate(lengths):
            if index > first and used + length - share > share - used:  # nearer without it
                yield slice(first, index)
                left, first, used = left - used, index, 0
                share = self._share(left)
            used += length
        yield slice(first, len(lengths))

    def _share(self, tokens: int) -> float:
        """Return how many of so many tokens go into the next block."""
        return tokens / max(1, round(tokens / _TOKENS[self._dtype])) if self._on_cpu else tokens

    def missing(self, rows: int) -> int:
        """Return how many rows fill a matrix up; one row alone, a query's last, has its kernel."""
        if rows == 1 or not self._on_cpu:
            return 0
        steps = _FILL[self._dtype]
        return -rows % next(step for most, step in steps.items() if rows <= most)
