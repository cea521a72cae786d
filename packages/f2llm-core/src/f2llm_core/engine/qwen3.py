"""The Qwen3 decoder as an encoder, in reading order, in plain torch.

Notable for this family: causal attention, grouped key/value heads, per-head RMS norms on queries
and keys before the rotary embedding, `head_dim` independent of the width, no biases, no padding
(sequences are packed end to end), and the hidden state of the last token, the EOS, as the result.
Residual stream, norms and softmax stay in float32 whatever the precision of the weights.

Shapes: T tokens in the batch, N sequences, W width, H query heads, K key/value heads, D head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from f2llm_core.engine.attention import Attention, Prefix
from f2llm_core.engine.blocks import Blocks
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.engine.device import choose_attention, choose_batch_tokens
from f2llm_core.engine.linear import Linear, choose_linear
from f2llm_core.engine.table import Int8Table, Table
from f2llm_core.errors import ModelLoadError
from f2llm_core.matryoshka import Vectors


def expected_tensors(config: Qwen3Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every tensor a checkpoint must hold, in reading order."""
    width, inner, head = config.width, config.intermediate_size, config.head_dim
    queries, keys = config.heads * head, config.kv_heads * head
    yield "embed_tokens.weight", (config.vocab_size, width)
    for layer in range(config.layers):
        for name, shape in (
            ("input_layernorm.weight", (width,)),
            ("self_attn.q_proj.weight", (queries, width)),
            ("self_attn.k_proj.weight", (keys, width)),
            ("self_attn.v_proj.weight", (keys, width)),
            ("self_attn.q_norm.weight", (head,)),
            ("self_attn.k_norm.weight", (head,)),
            ("self_attn.o_proj.weight", (width, queries)),
            ("post_attention_layernorm.weight", (width,)),
            ("mlp.gate_proj.weight", (inner, width)),
            ("mlp.up_proj.weight", (inner, width)),
            ("mlp.down_proj.weight", (width, inner)),
        ):
            yield f"layers.{layer}.{name}", shape
    yield "norm.weight", (width,)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One decoder layer; projections that read the same input are fused.

    Gains of the norms stand apart from the weights: multiplied into bfloat16 they would be rounded.
    """

    input_norm: Tensor  # (W,) float32
    query: Linear | None  # (H * D, W) in the last layer, where only last tokens ask
    qkv: Linear  # ((H + 2K) * D, W), without the queries in the last layer
    head_norm: Tensor  # (H + K, D) float32, gains of query and key heads in rotary order
    attention_out: Linear  # (W, H * D)
    mlp_norm: Tensor  # (W,) float32
    gate: Linear  # (intermediate, W)
    up: Linear  # (intermediate, W)
    down: Linear  # (W, intermediate)


@dataclass(frozen=True, slots=True)
class _Block:
    """Sequences that go through a layer together; T and N count what fills them up, too."""

    hidden: Tensor  # (T, W) float32, the residual stream; the last layer leaves (N, W)
    rotary: Tensor  # (T, 1, D / 2) complex64, how far each pair of dimensions is turned
    last: Tensor  # (N,) int64, the last token of each sequence
    sequences: int  # of the N, those that do not only fill it up
    attention: Attention


class Qwen3Encoder:
    """A loaded model: packed token ids in, one row per sequence out."""

    def __init__(
        self,
        config: Qwen3Config,
        tensors: Mapping[str, Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype,
        int8: bool = False,
    ) -> None:
        """Arrange the weights for the forward pass.

        Args:
            config: Shape of the model.
            tensors: Every tensor of `expected_tensors`.
            device: Where to compute.
            dtype: Precision of the matrix products, float32 or bfloat16.
            int8: Keep weights in 8 bits between products.
        """
        self.config = config
        self.device = device
        self.dtype = dtype
        self.linear = choose_linear(device, dtype, int8=int8)
        self.attention = choose_attention(device, dtype)
        self.batch_tokens = choose_batch_tokens(device)
        self._blocks = Blocks(device, dtype)
        self._table = (Int8Table if int8 else Table)(tensors["embed_tokens.weight"], device)
        self._layers = [self._layer(tensors, i) for i in range(config.layers)]
        self._final_norm = self._gain(tensors["norm.weight"])
        floors = [math.sqrt(size * config.norm_eps) for size in (config.width, config.head_dim)]
        self._norm_floor, self._head_norm_floor = torch.tensor(
            floors, dtype=torch.float32, device=device
        )
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        self._frequencies = (config.rope_theta**-exponents).to(device)

    def _gain(self, weight: Tensor) -> Tensor:
        """Return the gain of an RMS norm, for vectors scaled to unit length instead."""
        return weight.to(self.device, torch.float32) * math.sqrt(len(weight))

    def _layer(self, tensors: Mapping[str, Tensor], index: int) -> _Layer:
        config, head = self.config, self.config.head_dim

        def gain(name: str) -> Tensor:
            return self._gain(tensors[f"layers.{index}.{name}.weight"])

        def weight(name: str) -> Tensor:
            # Copied, so that a file overwritten in place cannot pull a mapping from under us.
            return tensors[f"layers.{index}.{name}.weight"].to(self.device, self.dtype, copy=True)

        def rotary_order(x: Tensor) -> Tensor:
            # Dimension i turns with i + D / 2. Side by side they are one complex number, and the
            # turn is one multiplication; the order of dimensions is nothing to a dot product.
            return x.view(-1, 2, head // 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)

        def head_gain(name: str, heads: int) -> Tensor:
            return rotary_order(gain(f"self_attn.{name}_norm")).expand(heads, -1)

        query, key = (rotary_order(weight(f"self_attn.{name}_proj")) for name in "qk")
        value = weight("self_attn.v_proj")
        last = index == config.layers - 1
        return _Layer(
            input_norm=gain("input_layernorm"),
            query=self.linear(query) if last else None,
            qkv=self.linear(torch.cat([key, value] if last else [query, key, value])),
            head_norm=torch.cat([head_gain("q", config.heads), head_gain("k", config.kv_heads)]),
            attention_out=self.linear(weight("self_attn.o_proj")),
            mlp_norm=gain("post_attention_layernorm"),
            gate=self.linear(weight("mlp.gate_proj")),
            up=self.linear(weight("mlp.up_proj")),
            down=self.linear(weight("mlp.down_proj")),
        )

    @torch.inference_mode()
    def forward(
        self,
        sequences: Sequence[Sequence[int]],
        prefixes: Sequence[Prefix | None] | None = None,
    ) -> Vectors:
        """Embed token sequences.

        Args:
            sequences: N non-empty sequences of token ids, each ending in the EOS. Equal lengths
                standing together are attended to together.
            prefixes: What was computed before and stands before each sequence, whose ids then lack
                it.

        Returns:
            Shape `(N, W)`, float32: the final-norm hidden state of each last token, not normalised.
        """
        given = list(zip(sequences, prefixes or [None] * len(sequences), strict=True))
        parts = self._blocks.cut([len(sequence) for sequence in sequences])
        blocks = [self._block(given[part]) for part in parts]
        for index, layer in enumerate(self._layers):
            for number, block in enumerate(blocks):
                blocks[number] = self._run(index, layer, block)
        hidden = torch.cat([block.hidden[: block.sequences] for block in blocks])
        rows = _rms_norm(hidden, self._final_norm, self._norm_floor)
        result: Vectors = rows.cpu().numpy()
        return result

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute what a common start of many sequences leaves behind for them.

        Args:
            ids: At least one token.
        """
        block = self._block([(ids, None)])
        kept = []
        for index, layer in enumerate(self._layers):
            _, keys_values = self._heads(layer, block)
            kept.append(keys_values[: len(ids)].clone())
            if layer.query is None:
                block = self._run(index, layer, block)
        return Prefix(tuple(ids), tuple(kept))

    def _block(self, given: list[tuple[Sequence[int], Prefix | None]]) -> _Block:
        lengths = [len(sequence) for sequence, _ in given]
        prefixes = [prefix for _, prefix in given]
        before = [len(prefix) if prefix else 0 for prefix in prefixes]
        missing = self._blocks.missing(sum(lengths))
        # Any token fills up: nobody attends to it or reads it.
        sequences = [*(sequence for sequence, _ in given), [0] * missing]
        ids = np.concatenate([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
        last = np.zeros(len(given) + self._blocks.missing(len(given)), dtype=np.int64)
        last[: len(given)] = np.cumsum(lengths) - 1
        if ids.max() >= self.config.vocab_size:
            msg = (
                f"The tokenizer gave token {ids.max()}, but the model's table has "
                f"{self.config.vocab_size} rows: tokenizer and weights are not of one model."
            )
            raise ModelLoadError(msg)
        return _Block(
            self._table(torch.from_numpy(ids).to(self.device)),
            self._rotary([*lengths, missing], [*before, 0]),
            torch.from_numpy(last).to(self.device),
            len(given),
            self.attention(lengths, prefixes, self.device, self.dtype),
        )

    def _run(self, index: int, layer: _Layer, block: _Block) -> _Block:
        """Take a block through one layer; works in place where it can."""
        query, keys_values = self._heads(layer, block)
        if layer.query is None:
            hidden = block.hidden
            attended = block.attention.causal(query, keys_values, index)
        else:  # nobody reads what the last layer makes of other tokens than the last
            hidden = block.hidden[block.last]
            attended = block.attention.last(query, keys_values, index)
        hidden += layer.attention_out(attended)
        normed = _rms_norm(hidden, layer.mlp_norm, self._norm_floor).to(self.dtype)
        hidden += layer.down(layer.up.times(normed, layer.gate.silu(normed)))
        return replace(block, hidden=hidden)

    def _heads(self, layer: _Layer, block: _Block) -> tuple[Tensor, Tensor]:
        """Return rotated queries `(T, H, D)`, rotated keys and after them values `(T, 2K, D)`.

        Queries are `(N, H, D)` in the last layer, where only last tokens ask.
        """
        asking, keeping = self.config.heads, self.config.kv_heads
        normed = _rms_norm(block.hidden, layer.input_norm, self._norm_floor).to(self.dtype)
        heads = layer.qkv(normed).view(len(normed), -1, self.config.head_dim)
        if layer.query is None:
            self._rotate(heads[:, :-keeping], layer.head_norm, block.rotary)
            return heads[:, :asking], heads[:, asking:]
        query = layer.query(normed[block.last]).view(-1, asking, self.config.head_dim)
        self._rotate(query, layer.head_norm[:asking], block.rotary[block.last])
        self._rotate(heads[:, :keeping], layer.head_norm[asking:], block.rotary)
        return query, heads

    def _rotary(self, lengths: Sequence[int], before: Sequence[int]) -> Tensor:
        ends = zip(before, lengths, strict=True)
        positions = np.concatenate([np.arange(b, b + n, dtype=np.float32) for b, n in ends])
        angles = torch.outer(torch.from_numpy(positions).to(self.device), self._frequencies)
        return torch.polar(torch.ones_like(angles), angles).unsqueeze(1)

    def _rotate(self, heads: Tensor, gain: Tensor, rotary: Tensor) -> None:
        """Normalise each head of `(T, heads, D)` and turn it by its position, in place."""
        exact = heads.float()
        exact.mul_(_inverse_norm(exact, self._head_norm_floor)).mul_(gain)
        torch.view_as_complex(exact.view(*exact.shape[:-1], -1, 2)).mul_(rotary)
        if exact is not heads:
            heads.copy_(exact)


def _inverse_norm(x: Tensor, floor: Tensor) -> Tensor:
    """Return one over the length of the last axis of float32 `x`, kept; `floor` is its least."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.hypot_(floor).reciprocal_()


def _rms_norm(x: Tensor, gain: Tensor, floor: Tensor) -> Tensor:
    """Scale the last axis of float32 `x` to unit length, then by `gain`."""
    return x.mul(_inverse_norm(x, floor)).mul_(gain)
