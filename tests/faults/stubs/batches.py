"""Batching that are broken on purpose, each in one way that a check must find."""

from __future__ import annotations

import numpy as np


def embed_with_padding_seen(embed):
    """Pads to the longest text of a batch and attends to the padding."""

    def embed_padded(batch):
        longest = max(map(len, batch.texts))
        return embed(batch.replace(texts=[text.ljust(longest, "\0") for text in batch.texts]))

    return embed_padded


def embed_with_rows_by_length(embed):
    """Sorts by length, as every batching does, and forgets to sort back."""

    def embed_sorted(batch):
        return embed(batch.replace(texts=sorted(batch.texts, key=len)))

    return embed_sorted


def embed_with_equal_lengths_uncausal(embed):
    """Drops a mask when all lengths are equal: here, the texts of such a batch see each other."""

    def embed_unmasked(batch):
        rows = embed(batch)
        if len(set(map(len, batch.texts))) == 1 < len(batch.texts):
            rows = rows + 0.01 * rows[::-1]
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    return embed_unmasked


def embed_with_nan_now_and_then(embed):
    """Has no row for the second of three texts and more."""

    def embed_nan(batch):
        rows = embed(batch)
        if len(rows) > 2:
            rows[1] = np.nan
        return rows

    return embed_nan
