"""Grouping sequences into batches by tokens rather than by count."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], max_batch_tokens: int) -> list[list[int]]:
    """Split sequences into batches of at most `max_batch_tokens` tokens.

    Sequences are packed end to end, so a batch costs the sum of its lengths. Longest first: equal
    lengths meet in one batch, and memory peaks at the start rather than after an hour.

    Args:
        lengths: Tokens of each sequence.
        max_batch_tokens: Budget per batch; a longer sequence gets a batch of its own.

    Returns:
        Batches of positions in `lengths`; every position occurs exactly once.
    """
    batches: list[list[int]] = []
    used = max_batch_tokens
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if used + lengths[index] > max_batch_tokens:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += lengths[index]
    return batches
