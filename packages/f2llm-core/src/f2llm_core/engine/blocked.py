"""Causal attention as matrix products over blocks of tokens, in float32, without a fused kernel.

On a CPU that is faster than torch's own in float32, but for one query alone. On Apple's GPUs it is
the safe way: torch's own attention has there, in some version, ended the process for grouped
heads (pytorch issue 149132), mixed up tensors that are not contiguous (163597, 181133), and let
tokens see later ones in half precision (195910).

Shapes are those of `attention.py`; G = H / K query heads share a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from f2llm_core.engine.attention import Prefix

_CPU_ROWS = 64  # tokens that ask together: few enough to skip most of the keys after them
_GPU_ROWS = 512  # where every product is a kernel to be launched
_SCORES = 2**22  # of a head, held at a time where a sequence is very long: 16 MB


@dataclass(frozen=True, slots=True)
class _Asking:
    """Tokens of a group that ask together."""

    tokens: slice
    seen: int  # keys up to the last of them, those of the prefix included
    mask: Tensor  # (tokens, 1, tokens), added to the scores of their own keys


@dataclass(frozen=True, slots=True)
class _Group:
    """Sequences of one prefix that are attended to together: one of any length, or short ones.

    The short ones ask for each other's keys, too, and the answers are masked: that costs less than
    products of their own.
    """

    tokens: slice
    sequences: slice
    prefix: Prefix | None
    parts: list[_Asking]
    to_last: Tensor | None  # (sequences, 1, tokens), the mask of the last tokens of short ones


class BlockedAttention:
    """Matrix products over blocks of tokens; see `Attention`."""

    def __init__(
        self,
        lengths: Sequence[int],
        prefixes: Sequence[Prefix | None],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Find the groups; arguments as for `RunAttention`."""
        del dtype  # products, scores and their softmax are in float32, whatever comes
        most = _CPU_ROWS if device.type == "cpu" else _GPU_ROWS
        later = _mask_of_later(most, device)
        self._groups: list[_Group] = []
        token = sequence = 0
        for together, prefix in _together(lengths, prefixes, most):
            tokens = slice(token, token + sum(together))
            sequences = slice(sequence, sequence + len(together))
            before = len(prefix) if prefix else 0
            if len(together) > 1:
                strangers, to_last = _masks_of_strangers(tuple(together), device)
                parts = [_Asking(tokens, before + sum(together), strangers)]
            else:
                rows = min(most, max(1, _SCORES // (before + together[0])))
                parts = []
                for start in range(token, tokens.stop, rows):
                    stop = min(start + rows, tokens.stop)
                    mask = later[: stop - start, :, : stop - start]
                    parts.append(_Asking(slice(start, stop), before + stop - token, mask))
                to_last = None
            self._groups.append(_Group(tokens, sequences, prefix, parts, to_last))
            token, sequence = tokens.stop, sequences.stop
        self._tokens, self._sequences = token, sequence

    def causal(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from every token; see `Attention.causal`."""
        keeping = keys_values.shape[1] // 2
        result = _result(query, self._tokens)
        asking, answers = _by_key(query, keeping).contiguous(), _by_key(result, keeping)
        for group in self._groups:
            keys, values = _seen(group, keys_values, layer)
            for part in group.parts:
                answers[:, part.tokens] = _attend(
                    asking[:, part.tokens], keys[:, : part.seen], values[:, : part.seen], part.mask
                )
        return result.flatten(1)

    def last(self, query: Tensor, keys_values: Tensor, layer: int) -> Tensor:
        """Attend from last tokens; see `Attention.last`."""
        keeping = keys_values.shape[1] // 2
        result = _result(query, self._sequences)
        asking, answers = _by_key(query, keeping).contiguous(), _by_key(result, keeping)
        for group in self._groups:
            answers[:, group.sequences] = _attend(
                asking[:, group.sequences], *_seen(group, keys_values, layer), group.to_last
            )
        return result.flatten(1)


@cache
def _mask_of_later(rows: int, device: torch.device) -> Tensor:
    """Return `(rows, 1, rows)`: minus infinity for keys after the token that asks, else zero."""
    mask = torch.full((rows, rows), -torch.inf, device=device).triu_(diagonal=1)
    return mask.unsqueeze(1)


@lru_cache(16)
def _masks_of_strangers(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return masks that keep sequences apart and later keys out: of all tokens, of the last ones.

    By numpy, and kept: for so little torch's operators would take longer than the products do.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(owner))
    seen = (owner[:, None] == owner) & (place[:, None] >= place)
    every = np.where(seen, np.float32(0), np.float32(-np.inf))[:, None]
    last = every[np.cumsum(lengths) - 1]
    return torch.from_numpy(every).to(device), torch.from_numpy(last).to(device)


def _together(
    lengths: Sequence[int], prefixes: Sequence[Prefix | None], rows: int
) -> Iterator[tuple[list[int], Prefix | None]]:
    """Yield the lengths of one sequence, or of several of one prefix with at most `rows` tokens."""
    together: list[int] = []
    of: Prefix | None = None
    for length, prefix in zip(lengths, prefixes, strict=True):
        if together and (prefix is not of or sum(together) + length > rows):
            yield together, of
            together = []
        together.append(length)
        of = prefix
    yield together, of


def _result(query: Tensor, used: int) -> Tensor:
    """Return room for the answers; rows that only fill up are zero, which is quick to compute."""
    result = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    result[used:] = 0
    return result


def _by_key(heads: Tensor, keys: int) -> Tensor:
    """Return `(n, H, D)` as `(K, n, G, D)`."""
    return heads.view(len(heads), keys, -1, heads.shape[2]).transpose(0, 1)


def _seen(group: _Group, keys_values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Return keys and values of a group, after those of its prefix: float32 `(K, m, D)`."""
    parts = [keys_values[group.tokens]]
    if group.prefix is not None:
        parts.insert(0, group.prefix.keys_values[layer])
    seen = torch.cat([part.transpose(0, 1) for part in parts], dim=1).float()
    keys, values = seen.chunk(2)
    return keys, values


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend from `(K, n, G, D)` to `(K, m, D)`; gives float32 in the shape of the former.

    Args:
        query: Contiguous from n on. The heads of one key become the rows of one product.
        keys: The last ones are those of the tokens that ask, if there is a mask.
        values: Like `keys`.
        mask: `(n, 1, x)`, added to the scores of the last x keys.
    """
    kept, count, sharing, size = query.shape
    seen = keys.shape[1]
    if keys.device.type != "cpu":  # the first keys of each head need not lie together
        keys, values = keys.contiguous(), values.contiguous()
    asking = query.view(kept, -1, size).float()
    scores = torch.baddbmm(
        keys.new_empty(1), asking, keys.transpose(1, 2), beta=0, alpha=size**-0.5
    )
    if mask is not None:
        own = mask.shape[2]
        scores.view(kept, count, sharing, seen).narrow(3, seen - own, own).add_(mask)
    return torch.bmm(torch.softmax(scores, -1, out=scores), values).view(query.shape)
