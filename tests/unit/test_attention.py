import math

import pytest
import torch

from f2llm_core.engine import attention
from f2llm_core.engine.attention import (
    Prefix,
    RunAttention,
    VarlenAttention,
    agrees_with_runs,
    choose_attention,
)

H, K, D = 4, 2, 8
CPU = torch.device("cpu")


def tokens(count, heads, seed):
    return torch.randn(count, heads, D, generator=torch.Generator().manual_seed(seed))


def prefix(size, seed):
    layers = [(tokens(size, K, seed + i), tokens(size, K, seed + 10 + i)) for i in range(2)]
    return Prefix(tuple(range(size)), tuple(layers))


def attend(query, key, value):
    """Softmax over scores; the last query sees the last key."""
    rows = []
    before = len(key) - len(query)
    for i in range(len(query)):
        heads = []
        for head in range(query.shape[1]):
            own = head // (query.shape[1] // key.shape[1])
            seen = before + i + 1
            scores = key[:seen, own] @ query[i, head] / math.sqrt(query.shape[2])
            heads.append(scores.softmax(0) @ value[:seen, own])
        rows.append(torch.stack(heads))
    return torch.stack(rows)


def kernel_by_definition(query, key, value, query_ends, key_ends, longest_query, longest_key):
    """What a GPU's kernel computes, sequence by sequence."""
    assert query_ends.dtype == key_ends.dtype == torch.int32
    assert longest_query == query_ends.diff().max()
    assert longest_key == key_ends.diff().max()
    spans = zip(query_ends, query_ends[1:], key_ends, key_ends[1:], strict=False)
    return torch.cat([attend(query[a:b], key[c:d], value[c:d]) for a, b, c, d in spans])


def by_definition(query, key, value, lengths, prefixes, layer):
    rows, start = [], 0
    for length, before in zip(lengths, prefixes, strict=True):
        own = slice(start, start + length)
        k, v = key[own], value[own]
        if before is not None:
            k, v = (torch.cat(pair) for pair in zip(before.keys_values[layer], (k, v), strict=True))
        rows.append(attend(query[own], k, v))
        start += length
    return torch.cat(rows).flatten(1)


def runs(lengths, prefixes):
    return RunAttention(lengths, prefixes, CPU, torch.float32)


def varlen(lengths, prefixes):
    return VarlenAttention(lengths, prefixes, CPU, torch.float32, kernel_by_definition)


ONE, OTHER = prefix(1, 100), prefix(5, 200)


@pytest.mark.parametrize("kind", [runs, varlen])
@pytest.mark.parametrize(
    ("lengths", "prefixes"),
    [
        ([1], [None]),
        ([7], [ONE]),
        ([4, 4, 4], [None, OTHER, OTHER]),
        ([4, 4, 4], [OTHER, ONE, OTHER]),
        ([9, 3, 3, 1, 1], [None, None, ONE, ONE, None]),
        ([40, 1], [OTHER, OTHER]),
    ],
)
@pytest.mark.parametrize("layer", [0, 1])
def test_equals_the_definition(kind, lengths, prefixes, layer):
    total = sum(lengths)
    query, key, value = tokens(total, H, 0), tokens(total, K, 1), tokens(total, K, 2)
    expected = by_definition(query, key, value, lengths, prefixes, layer)
    ours = kind(lengths, prefixes)
    everyone = ours.causal(query, key, value, layer)
    torch.testing.assert_close(everyone, expected, atol=1e-5, rtol=1e-5)
    last = torch.tensor(lengths).cumsum(0) - 1
    only_last = ours.last(query[last], key, value, layer)
    torch.testing.assert_close(only_last, expected[last], atol=1e-5, rtol=1e-5)


def test_tokens_that_only_fill_a_block_up_are_nobodys_business():
    query, key, value = tokens(9, H, 1), tokens(9, K, 2), tokens(9, K, 3)
    whole = runs([4, 2], [None, None]).causal(query, key, value, 0)
    alone = runs([4, 2], [None, None]).causal(query[:6], key[:6], value[:6], 0)
    assert whole.shape == (9, H * D)
    assert torch.equal(whole[:6], alone)


def test_the_processor_goes_by_runs():
    assert choose_attention(CPU, torch.bfloat16) is RunAttention


def test_a_gpu_keeps_float32_exact():
    assert choose_attention(torch.device("cuda"), torch.float32) is RunAttention


def aligned_at_the_first_key(query, key, value, query_ends, key_ends, *longest):
    """A kernel with the other convention: the first query sees the first key only."""
    spans = list(zip(query_ends, query_ends[1:], key_ends, strict=False))
    return torch.cat(
        [attend(query[a:b], key[c : c + b - a], value[c : c + b - a]) for a, b, c in spans]
    )


def test_the_probe_tells_a_right_kernel_from_one_that_aligns_otherwise():
    assert agrees_with_runs(kernel_by_definition, CPU, torch.float32)
    assert not agrees_with_runs(aligned_at_the_first_key, CPU, torch.float32)


def not_there(*_):
    raise RuntimeError("no kernel image is available for this device")


@pytest.mark.parametrize("kernel", [aligned_at_the_first_key, not_there])
def test_a_kernel_that_fails_the_probe_is_not_used(monkeypatch, kernel):
    monkeypatch.setattr(attention, "_installed_kernel", lambda: kernel)
    attention._varlen_works.cache_clear()
    assert not attention._varlen_works(CPU, torch.bfloat16)
    attention._varlen_works.cache_clear()
