"""Causal attention over packed sequences, without padding and without copying keys per head.

`RunAttention` takes sequences of equal length together through torch's own attention, in any
precision and on any device. `blocked.py` and `varlen.py` have other ways, for some.

Shapes: T tokens in the block, N sequences, H query heads, K key/value heads, D head_dim, P tokens
of a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """What tokens at the start of a sequence leave behind for those after them.

    Attributes:
        ids: The tokens.
        keys_values: For each layer the rotated keys and, after them, the values: `(P, 2K, D)`.
    """

    ids: tuple[int, ...]
    keys_values: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Attention(Protocol):
    """Attention within the sequences of one block, for every layer of the model."""

    def causal(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from every token to itself and those before it in its sequence.

        Args:
            query: `(T, H, D)`; tokens after the last sequence only fill the block up.
            keys_values: `(T, 2K, D)`, the heads of the keys before those of the values; each
                serves H / K query heads.
            layer: Index of the layer, for what prefixes left behind there.

        Returns:
            `(T, H * D)` in the dtype of `query`; anything for tokens that only fill up.
        """

    def last(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from the last token of each sequence to all its tokens.

        Arguments as in `causal`, but for `query`, which is `(N, H, D)`; rows after those of the
        sequences only fill the block up.

        Returns:
            `(N, H * D)` in the dtype of `query`; anything for rows that only fill up.
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
        self._tokens, self._sequences = token, first

    def causal(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        parts = []
        for run in self._runs:
            asking = query[run.tokens].view(-1, run.length, *query.shape[1:])
            parts.append(_attend(asking, _seen(run, keys_values, layer), run).flatten(0, 1))
        return _joined(parts, query[self._tokens :])

    def last(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        parts = []
        for run in self._runs:
            asking = query[run.sequences].unsqueeze(1)
            parts.append(_attend(asking, _seen(run, keys_values, layer), None).squeeze(1))
        return _joined(parts, query[self._sequences :])


def _joined(parts: list[Tensor], filler: Tensor) -> Tensor:
    """Return `(rows, H, D)` of all runs, and as much of anything as fills up, as one matrix."""
    if len(filler):
        parts.append(filler)
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).flatten(1)


def _attend(query: Tensor, keys_values: Tensor, run: _Run | None) -> Tensor:
    """Attend from `(n, L, H, D)` to `(n, M, 2K, D)`, causally within a run; gives the former."""
    keys, values = keys_values.transpose(1, 2).chunk(2, dim=1)
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        keys,
        values,
        attn_mask=run.mask if run else None,
        is_causal=run is not None and run.prefix is None and run.length > 1,
        enable_gqa=True,
    )
    return attended.transpose(1, 2)


def _mask(length: int, before: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return what to add to scores; torch's own mask would align first tokens, not last ones."""
    mask = torch.full((length, before + length), -torch.inf, device=device, dtype=dtype)
    return mask.triu_(diagonal=before + 1)


def _seen(run: _Run, keys_values: Tensor, layer: int) -> Tensor:
    """Return keys and values of a run, after those of its prefix: `(n, P + length, 2K, D)`."""
    own = keys_values[run.tokens].view(-1, run.length, *keys_values.shape[1:])
    if run.prefix is None:
        return own
    before = run.prefix.keys_values[layer].expand(len(own), -1, -1, -1)
    return torch.cat([before, own], dim=1)
