import math

import numpy as np
import pytest
import torch
from texts import many_texts

from f2llm_core import F2LLM
from f2llm_core.engine import blocked, device, qwen3, varlen
from f2llm_core.engine.attention import Prefix, RunAttention
from f2llm_core.engine.blocked import BlockedAttention
from f2llm_core.engine.device import choose_attention
from f2llm_core.engine.varlen import VarlenAttention, agrees_with_runs

H, K, D = 4, 2, 8
CPU = torch.device("cpu")


def tokens(count, heads, seed):
    return torch.randn(count, heads, D, generator=torch.Generator().manual_seed(seed))


def prefix(size, seed):
    return Prefix(tuple(range(size)), tuple(tokens(size, 2 * K, seed + i) for i in range(2)))


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
            keys, values = before.keys_values[layer].chunk(2, dim=1)
            k, v = torch.cat([keys, k]), torch.cat([values, v])
        rows.append(attend(query[own], k, v))
        start += length
    return torch.cat(rows).flatten(1)


def runs(lengths, prefixes):
    return RunAttention(lengths, prefixes, CPU, torch.float32)


def blocks(lengths, prefixes):
    return BlockedAttention(lengths, prefixes, CPU, torch.float32)


def packed(lengths, prefixes):
    return VarlenAttention(lengths, prefixes, CPU, torch.float32, kernel_by_definition)


ONE, OTHER = prefix(1, 100), prefix(5, 200)


@pytest.mark.parametrize("kind", [runs, blocks, packed])
@pytest.mark.parametrize(
    ("lengths", "prefixes"),
    [
        ([1], [None]),
        ([7], [ONE]),
        ([4, 4, 4], [None, OTHER, OTHER]),
        ([4, 4, 4], [OTHER, ONE, OTHER]),
        ([9, 3, 3, 1, 1], [None, None, ONE, ONE, None]),
        ([40, 1], [OTHER, OTHER]),
        ([30, 20, 14, 1, 1], [None] * 5),  # 64 tokens, then two
        ([150, 64, 65, 3], [None, ONE, ONE, ONE]),
    ],
)
@pytest.mark.parametrize("layer", [0, 1])
def test_equals_the_definition(kind, lengths, prefixes, layer):
    total = sum(lengths)
    query, key, value = tokens(total, H, 0), tokens(total, K, 1), tokens(total, K, 2)
    expected = by_definition(query, key, value, lengths, prefixes, layer)
    ours = kind(lengths, prefixes)
    everyone = ours.causal(query, torch.cat([key, value], dim=1), layer)
    torch.testing.assert_close(everyone, expected, atol=1e-5, rtol=1e-5)
    last = torch.tensor(lengths).cumsum(0) - 1
    only_last = ours.last(query[last], torch.cat([key, value], dim=1), layer)
    torch.testing.assert_close(only_last, expected[last], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [runs, blocks])
def test_what_only_fills_a_block_up_is_nobodys_business(kind, monkeypatch):
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(torch.nan))
    query, keys_values = tokens(9, H, 1), tokens(9, 2 * K, 2)
    keys_values[6:] = torch.nan
    ours = kind([4, 2], [None, None])
    whole, alone = (ours.causal(query[:n], keys_values[:n], 0) for n in (9, 6))
    assert whole.shape == (9, H * D)
    assert torch.isfinite(whole).all()
    assert torch.equal(whole[:6], alone)
    last, alone = (ours.last(query[:n], keys_values, 0) for n in (8, 2))
    assert last.shape == (8, H * D)
    assert torch.isfinite(last).all()
    assert torch.equal(last[:2], alone)


@pytest.mark.parametrize(
    ("units", "in_half"), [({"avx512_bf16": True}, RunAttention), ({}, BlockedAttention)]
)
def test_the_processor_goes_by_runs_in_what_it_multiplies_of_half(monkeypatch, units, in_half):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert choose_attention(CPU, torch.float32) is BlockedAttention
    assert choose_attention(CPU, torch.bfloat16) is in_half


@pytest.mark.parametrize("scores", [1, 100, 5000])
@pytest.mark.parametrize("rows", [4, 64])
def test_blocks_hold_a_bounded_number_of_scores(monkeypatch, scores, rows):
    lengths, prefixes = [19, 40, 4], [OTHER, None, ONE]
    query, keys_values = tokens(63, H, 0), tokens(63, 2 * K, 1)
    whole = blocks(lengths, prefixes).causal(query, keys_values, 0)
    sizes = []
    softmax = torch.softmax
    monkeypatch.setattr(
        torch, "softmax", lambda x, *a, **k: sizes.append(x.numel()) or softmax(x, *a, **k)
    )
    monkeypatch.setattr(blocked, "_SCORES", scores)
    monkeypatch.setattr(blocked, "_CPU_ROWS", rows)
    pieces = blocks(lengths, prefixes).causal(query, keys_values, 0)
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=1e-6)
    assert max(sizes) <= H * max(scores, 40)  # one row at least


def test_blocks_give_the_precision_they_got():
    query, keys_values = (tokens(6, heads, 0).bfloat16() for heads in (H, 2 * K))
    ours = blocks([3, 3], [None, None]).causal(query, keys_values, 0)
    exact = blocks([3, 3], [None, None]).causal(query.float(), keys_values.float(), 0)
    assert torch.equal(ours, exact.bfloat16())


def test_apples_gpus_get_no_fused_attention():
    for dtype in (torch.float32, torch.bfloat16):
        assert choose_attention(torch.device("mps"), dtype) is BlockedAttention


@pytest.mark.parametrize(
    ("dtype", "works", "expected"),
    [
        (torch.float32, True, RunAttention),
        (torch.bfloat16, True, VarlenAttention),
        (torch.float16, True, VarlenAttention),
        (torch.bfloat16, False, RunAttention),
    ],
)
def test_a_gpu_keeps_float32_exact(monkeypatch, dtype, works, expected):
    monkeypatch.setattr(device, "varlen_works", lambda *_: works)
    assert choose_attention(torch.device("cuda"), dtype) is expected


def aligned_at_the_first_key(query, key, value, query_ends, key_ends, *longest):
    """A kernel with the other convention: the first query sees the first key only."""
    spans = list(zip(query_ends, query_ends[1:], key_ends, strict=False))
    return torch.cat(
        [attend(query[a:b], key[c : c + b - a], value[c : c + b - a]) for a, b, c in spans]
    )


def test_the_probe_tells_a_right_kernel_from_one_that_aligns_otherwise():
    assert agrees_with_runs(kernel_by_definition, CPU, torch.float32)
    assert not agrees_with_runs(aligned_at_the_first_key, CPU, torch.float32)


@pytest.mark.parametrize("wrong", ["always", "causal", "last"])
def test_the_probe_sees_a_kernel_that_is_five_percent_off(wrong):
    def kernel(*args):
        here = "last" if args[5] == 1 else "causal"
        return kernel_by_definition(*args) * (1.05 if wrong in {here, "always"} else 1)

    assert not agrees_with_runs(kernel, CPU, torch.float32)


def not_there(*_):
    raise RuntimeError("no kernel image is available for this device")


def of_another_torch(*_):
    raise ValueError("query and key must have as many heads")


@pytest.mark.parametrize("kernel", [aligned_at_the_first_key, not_there, of_another_torch])
def test_a_kernel_that_fails_the_probe_is_not_used(monkeypatch, kernel):
    monkeypatch.setattr(varlen, "_installed_kernel", lambda: kernel)
    varlen.varlen_works.cache_clear()
    assert not varlen.varlen_works(CPU, torch.bfloat16)
    varlen.varlen_works.cache_clear()


@pytest.mark.parametrize("kind", [RunAttention, BlockedAttention])
def test_a_model_gives_the_same_vectors_with_either(checkpoint, encoder, monkeypatch, kind):
    texts = many_texts()
    queries, documents = encoder.encode_query(texts), encoder.encode_document(texts)
    monkeypatch.setattr(qwen3, "choose_attention", lambda *_: kind)
    ours = F2LLM(checkpoint, dtype="float32")
    np.testing.assert_allclose(ours.encode_query(texts), queries, atol=1e-5)
    np.testing.assert_allclose(ours.encode_document(texts), documents, atol=1e-5)
