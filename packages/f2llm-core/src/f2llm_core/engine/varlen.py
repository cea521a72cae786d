"""Causal attention over a whole block at once, by a GPU's kernel that knows where sequences end.

Such kernels come in half precision only. Shapes are those of `attention.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from f2llm_core.engine.attention import Prefix, RunAttention

#: `(query, key, value, ends of queries, ends of keys, longest query, longest key)`: packed tensors,
#: int32 `(N + 1,)` positions, and integers. The last query of a sequence sees its last key.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


class VarlenAttention:
    """One call of a kernel for sequences of any lengths, packed end to end; see `Attention`.

    Nothing may fill a block up: on a GPU nothing does.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        prefixes: Sequence[Prefix | None],
        device: torch.device,
        dtype: torch.dtype,
        kernel: Kernel | None = None,
    ) -> None:
        """Find where queries and keys end.

        Args:
            lengths: Tokens of each sequence, without its prefix.
            prefixes: What stands before each sequence.
            device: Where the tensors are.
            dtype: Their precision, float16 or bfloat16.
            kernel: The kernel to call; by default the best one installed.
        """
        del dtype  # kernels take what comes
        self._kernel = kernel or _installed_kernel()
        before = [len(prefix) if prefix else 0 for prefix in prefixes]
        totals = [b + length for b, length in zip(before, lengths, strict=True)]

        def ends(sizes: Sequence[int]) -> Tensor:
            return torch.tensor([0, *accumulate(sizes)], dtype=torch.int32, device=device)

        self._query_ends, self._key_ends = ends(lengths), ends(totals)
        self._last_ends = ends([1] * len(lengths))
        self._longest_query, self._longest_key = max(lengths), max(totals)

        self._prefixes = list(dict.fromkeys(p for p in prefixes if p))
        self._places: Tensor | None = None  # of every key, in the tokens followed by the prefixes
        if self._prefixes:
            starts, start = {}, sum(lengths)
            for prefix in self._prefixes:
                starts[prefix] = start
                start += len(prefix)
            token, places = 0, list[int]()
            for length, before_it in zip(lengths, prefixes, strict=True):
                if before_it:
                    places += range(starts[before_it], starts[before_it] + len(before_it))
                places += range(token, token + length)
                token += length
            self._places = torch.tensor(places, device=device)

    def causal(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from every token; see `Attention.causal`."""
        return self._attend(query, keys_values, layer, self._query_ends, self._longest_query)

    def last(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from last tokens; see `Attention.last`."""
        return self._attend(query, keys_values, layer, self._last_ends, 1)

    def _attend(
        self, query: Tensor, keys_values: Tensor, layer: int, ends: Tensor, longest: int
    ) -> Tensor:
        if self._places is not None:
            before = [prefix.keys_values[layer] for prefix in self._prefixes]
            keys_values = torch.cat([keys_values, *before])[self._places]
        keys, values = keys_values.chunk(2, dim=1)
        return self._kernel(
            query, keys, values, ends, self._key_ends, longest, self._longest_key
        ).flatten(1)


@cache
def _installed_kernel() -> Kernel:
    """Return flash-attn's kernel if that is installed, else torch's own.

    Raises:
        ImportError: Neither is there.
    """
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        from torch.nn.attention.varlen import varlen_attn

        def kernel(*args: Any) -> Tensor:  # noqa: ANN401  (a `Kernel`)
            result = varlen_attn(*args, window_size=(-1, 0), enable_gqa=True)
            assert isinstance(result, Tensor)  # noqa: S101  (for the type checker)
            return result
    else:

        def kernel(*args: Any) -> Tensor:  # noqa: ANN401
            result: Tensor = flash_attn_varlen_func(*args, causal=True)
            return result

    return kernel


@cache
def varlen_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether `VarlenAttention` is there and right on a device in a precision."""
    try:
        return agrees_with_runs(_installed_kernel(), device, dtype)
    except Exception:  # absent, or for other hardware, or called otherwise: each says it its way
        return False


def agrees_with_runs(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a kernel gives what `RunAttention` gives, prefixes included."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    prefix = Prefix((0, 0, 0), (random(3, 4, 128),))
    lengths, prefixes = [5, 2, 2], [None, prefix, prefix]
    queries, keys_values = random(9, 4, 128), random(9, 4, 128)
    one = VarlenAttention(lengths, prefixes, device, dtype, kernel)
    other = RunAttention(lengths, prefixes, device, dtype)
    pairs = [
        (one.causal(queries, keys_values, 0), other.causal(queries, keys_values, 0)),
        (one.last(queries[:3], keys_values, 0), other.last(queries[:3], keys_values, 0)),
    ]
    return all(torch.allclose(a.float(), b.float(), rtol=0.02, atol=0.02) for a, b in pairs)
