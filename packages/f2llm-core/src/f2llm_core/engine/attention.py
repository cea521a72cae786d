"""Causal attention over packed sequences, without padding and without copying keys per head.

Two ways with one interface. `RunAttention` takes sequences of equal length together through torch's
own attention, on any device and in any precision. `VarlenAttention` gives a whole block to one
kernel that knows where sequences end; GPUs have such kernels, in half precision.

Shapes: T tokens in the block, N sequences, H query heads, K key/value heads, D head_dim, P tokens
of a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """What tokens at the start of a sequence leave behind for those after them.

    Attributes:
        ids: The tokens.
        keys_values: For each layer the rotated keys and the values, `(P, K, D)` each.
    """

    ids: tuple[int, ...]
    keys_values: tuple[tuple[Tensor, Tensor], ...]

    def __len__(self) -> int:
        return len(self.ids)


class Attention(Protocol):
    """Attention within the sequences of one block, for every layer of the model."""

    def causal(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Attend from every token to itself and those before it in its sequence.

        Args:
            query: `(T, H, D)`; tokens after the last sequence only fill the block up.
            key: `(T, K, D)`; each key/value head serves H / K query heads.
            value: `(T, K, D)`.
            layer: Index of the layer, for what prefixes left behind there.

        Returns:
            `(T, H * D)` in the dtype of `query`; anything for tokens that only fill up.
        """

    def last(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Attend from the last token of each sequence to all its tokens.

        Arguments as in `causal`, but for `query`, which is `(N, H, D)`.

        Returns:
            `(N, H * D)` in the dtype of `query`.
        """


@dataclass(frozen=True, slots=True)
class _Run:
    """Sequences of equal length and prefix that stand together."""

    tokens: slice
    sequences: slice
    length: int
    prefix: Prefix | None
    mask: Tensor | None  # (length, P + length), where torch's own causal mask would not do


class RunAttention:
    """One call of torch's attention for each run of equally long sequences; see `Attention`."""

    def __init__(
        self,
        lengths: Sequence[int],
        prefixes: Sequence[Prefix | None],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Find the runs.

        Args:
            lengths: Tokens of each sequence, without its prefix.
            prefixes: What stands before each sequence.
            device: Where the tensors are.
            dtype: Their precision.
        """
        self._runs: list[_Run] = []
        first = token = 0
        for (length, prefix), run in groupby(zip(lengths, prefixes, strict=True)):
            count = sum(1 for _ in run)
            self._runs.append(
                _Run(
                    slice(token, token + count * length),
                    slice(first, first + count),
                    length,
                    prefix,
                    _mask(length, len(prefix), device, dtype) if prefix and length > 1 else None,
                )
            )
            first, token = first + count, token + count * length
        self._tokens = token

    def causal(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        parts = []
        for run in self._runs:
            q = query[run.tokens].view(-1, run.length, *query.shape[1:])
            k, v = _with_prefix(run, key, value, layer)
            parts.append(_attend(q, k, v, run).flatten(0, 1))
        if len(query) > self._tokens:
            parts.append(query[self._tokens :])
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).flatten(1)

    def last(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        parts = []
        for run in self._runs:
            q = query[run.sequences].unsqueeze(1)
            k, v = _with_prefix(run, key, value, layer)
            parts.append(_attend(q, k, v, None).squeeze(1))
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).flatten(1)


def _mask(length: int, before: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return what to add to scores; torch's own mask would align first tokens, not last ones."""
    mask = torch.full((length, before + length), -torch.inf, device=device, dtype=dtype)
    return mask.triu_(diagonal=before + 1)


def _with_prefix(run: _Run, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Return keys and values of a run, `(n, P + length, K, D)`."""
    k, v = (x[run.tokens].view(-1, run.length, *x.shape[1:]) for x in (key, value))
    if run.prefix is None:
        return k, v
    before = [x.expand(len(k), -1, -1, -1) for x in run.prefix.keys_values[layer]]
    return torch.cat([before[0], k], dim=1), torch.cat([before[1], v], dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, run: _Run | None) -> Tensor:
    """Attend from `(n, L, H, D)` to `(n, M, K, D)`, causally within a run; gives the former."""
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=run.mask if run else None,
        is_causal=run is not None and run.prefix is None and run.length > 1,
        enable_gqa=True,
    )
    return attended.transpose(1, 2)


#: `(query, key, value, ends of queries, ends of keys, longest query, longest key)`: packed tensors,
#: int32 `(N + 1,)` positions, and integers. The last query of a sequence sees its last key.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


class VarlenAttention:
    """One call of a kernel for sequences of any lengths, packed end to end; see `Attention`."""

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

    def causal(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        return self._attend(query, key, value, layer, self._query_ends, self._longest_query)

    def last(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        return self._attend(query, key, value, layer, self._last_ends, 1)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, layer: int, ends: Tensor, longest: int
    ) -> Tensor:
        if self._places is not None:
            before = [prefix.keys_values[layer] for prefix in self._prefixes]
            key = torch.cat([key, *(keys for keys, _ in before)])[self._places]
            value = torch.cat([value, *(values for _, values in before)])[self._places]
        return self._kernel(
            query, key, value, ends, self._key_ends, longest, self._longest_key
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


def choose_attention(
    device: torch.device, dtype: torch.dtype
) -> type[RunAttention | VarlenAttention]:
    """Return the fastest kind of attention that works on a device in a precision."""
    half = dtype in {torch.float16, torch.bfloat16}
    return (
        VarlenAttention
        if device.type == "cuda" and half and _varlen_works(device, dtype)
        else RunAttention
    )


@cache
def _varlen_works(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        return agrees_with_runs(_installed_kernel(), device, dtype)
    except (ImportError, RuntimeError, TypeError):  # absent, or other hardware or signature
        return False


def agrees_with_runs(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a kernel gives what `RunAttention` gives, prefixes included."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    prefix = Prefix((0, 0, 0), ((random(3, 2, 128), random(3, 2, 128)),))
    lengths, prefixes = [5, 2, 2], [None, prefix, prefix]
    queries, key, value = random(9, 4, 128), random(9, 2, 128), random(9, 2, 128)
    one = VarlenAttention(lengths, prefixes, device, dtype, kernel)
    other = RunAttention(lengths, prefixes, device, dtype)
    pairs = [
        (one.causal(queries, key, value, 0), other.causal(queries, key, value, 0)),
        (one.last(queries[:3], key, value, 0), other.last(queries[:3], key, value, 0)),
    ]
    return all(torch.allclose(a.float(), b.float(), rtol=0.02, atol=0.02) for a, b in pairs)
