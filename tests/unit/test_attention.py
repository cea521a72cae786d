import math

import pytest
import torch

from f2llm_core.engine.attention import causal_attention, last_token_attention

H, K, D = 4, 2, 8


def tokens(count, heads, seed):
    return torch.randn(count, heads, D, generator=torch.Generator().manual_seed(seed))


def by_definition(query, key, value, lengths, prefix=None):
    """Softmax over scores, one query of one head at a time."""
    rows, start = [], 0
    for length in lengths:
        k, v = key[start : start + length], value[start : start + length]
        if prefix is not None:
            k, v = torch.cat([prefix[0], k]), torch.cat([prefix[1], v])
        seen = len(k) - length
        for i in range(length):
            heads = []
            for head in range(H):
                own = head // (H // K)
                scores = k[: seen + i + 1, own] @ query[start + i, head] / math.sqrt(D)
                heads.append(scores.softmax(0) @ v[: seen + i + 1, own])
            rows.append(torch.cat(heads))
        start += length
    return torch.stack(rows)


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("lengths", [[1], [7], [4, 4, 4], [9, 3, 3, 1, 1], [40]])
def test_equals_the_definition(lengths, before):
    total = sum(lengths)
    query, key, value = tokens(total, H, 0), tokens(total, K, 1), tokens(total, K, 2)
    prefix = (tokens(before, K, 3), tokens(before, K, 4)) if before else None
    expected = by_definition(query, key, value, lengths, prefix)
    everyone = causal_attention(query, key, value, lengths, prefix)
    torch.testing.assert_close(everyone, expected, atol=1e-5, rtol=1e-5)
    last = torch.tensor(lengths).cumsum(0) - 1
    only_last = last_token_attention(query[last], key, value, lengths, prefix)
    torch.testing.assert_close(only_last, expected[last], atol=1e-5, rtol=1e-5)
