"""Causal attention over packed sequences, without padding and without copying keys per head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor


def causal_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Sequence[int],
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Attend within each sequence, to the token itself and those before it.

    Args:
        query: `(T, H, D)`.
        key: `(T, K, D)`; each key/value head serves H / K query heads.
        value: `(T, K, D)`.
        lengths: Tokens of each sequence, summing to T; runs of equal lengths go together.
        prefix: Key and value `(P, K, D)` of tokens that stand before every sequence.

    Returns:
        `(T, H * D)` in the dtype of `query`.
    """
    out = torch.empty_like(query)
    for start, stop, length in _runs(lengths):
        q, k, v = (x[start:stop].view(-1, length, *x.shape[1:]) for x in (query, key, value))
        out[start:stop] = _attend(q, *_behind(prefix, k, v)).flatten(0, 1)
    return out.flatten(1)


def last_token_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Sequence[int],
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Attend from the last token of each sequence to all its tokens.

    Args:
        query: `(N, H, D)`, one row per sequence.
        key: `(T, K, D)`.
        value: `(T, K, D)`.
        lengths: Tokens of each sequence, summing to T.
        prefix: As in `causal_attention`.

    Returns:
        `(N, H * D)` in the dtype of `query`.
    """
    out = torch.empty_like(query)
    done = 0
    for start, stop, length in _runs(lengths):
        k, v = (x[start:stop].view(-1, length, *x.shape[1:]) for x in (key, value))
        q = query[done : done + len(k)].unsqueeze(1)
        out[done : done + len(k)] = _attend(q, *_behind(prefix, k, v)).squeeze(1)
        done += len(k)
    return out.flatten(1)


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield first token, end and length of each run of equally long sequences."""
    start = 0
    for length, run in groupby(lengths):
        stop = start + length * sum(1 for _ in run)
        yield start, stop, length
        start = stop


def _behind(
    prefix: tuple[Tensor, Tensor] | None, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    if prefix is None:
        return key, value
    before = [x.expand(len(key), -1, -1, -1) for x in prefix]
    return torch.cat([before[0], key], dim=1), torch.cat([before[1], value], dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend from the last L of M tokens: `(n, L, H, D)` to `(n, M, K, D)`; gives the former."""
    length, total = query.shape[1], key.shape[1]
    mask = None
    if 1 < length < total:  # torch's own causal mask would align the first tokens, not the last
        mask = torch.ones(length, total, dtype=torch.bool, device=query.device)
        mask = mask.tril(diagonal=total - length)
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=mask,
        is_causal=length == total > 1,
        enable_gqa=True,
    )
    return attended.transpose(1, 2)
