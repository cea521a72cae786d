"""The Qwen3 decoder as an encoder, in reading order, in plain torch.

Notable for this family: causal attention, grouped key/value heads, per-head RMS norms on queries
and keys before the rotary embedding, `head_dim` independent of the width, no biases, no padding
(sequences are packed end to end), and the hidden state of the last token, the EOS, as the result.
Residual stream, norms and softmax stay in float32 whatever the precision of the weights.

Shapes: T tokens in the batch, N sequences, W width, H query heads, K key/value heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor

from f2llm_core.engine.attention import causal_attention, last_token_attention
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.engine.linear import Linear, choose_linear
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
class Prefix:
    """What tokens at the start of a sequence leave behind for those after them.

    Attributes:
        ids: The tokens.
        keys_values: For each layer the rotated keys and the values, `(P, K, D)` each.
    """

    ids: tuple[int, ...]
    keys_values: tuple[tuple[Tensor, Tensor], ...]


class Qwen3Encoder:
    """A loaded model: packed token ids in, one row per sequence out."""

    def __init__(
        self,
        config: Qwen3Config,
        tensors: Mapping[str, Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Arrange the weights for the forward pass.

        Args:
            config: Shape of the model.
            tensors: Every tensor of `expected_tensors`.
            device: Where to compute.
            dtype: Precision of the matrix products, float32 or bfloat16.
        """
        self.config = config
        self.device = device
        self.dtype = dtype
        self.linear = choose_linear(device, dtype)
        # Rows are gathered from it, so it keeps the precision it is stored in.
        self._embeddings = tensors["embed_tokens.weight"].to(device, copy=True)
        self._layers = [self._layer(tensors, i) for i in range(config.layers)]
        self._final_norm = tensors["norm.weight"].to(device, torch.float32, copy=True)
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        self._frequencies = (config.rope_theta**-exponents).to(device)

    def _layer(self, tensors: Mapping[str, Tensor], index: int) -> _Layer:
        config, head = self.config, self.config.head_dim

        def own(name: str, dtype: torch.dtype) -> Tensor:
            # Copied, so that a file overwritten in place cannot pull a mapping from under us.
            return tensors[name].to(self.device, dtype, copy=True)

        def gain(name: str) -> Tensor:
            return own(f"layers.{index}.{name}.weight", torch.float32)

        def weight(name: str) -> Tensor:
            return own(f"layers.{index}.{name}.weight", self.dtype)

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
    def forward(self, sequences: Sequence[Sequence[int]], prefix: Prefix | None = None) -> Vectors:
        """Embed token sequences.

        Args:
            sequences: N non-empty sequences of token ids, each ending in the EOS. Equal lengths
                standing together are attended to together.
            prefix: Tokens, computed before, that stand before every sequence.

        Returns:
            Shape `(N, W)`, float32: the final-norm hidden state of each last token, not normalised.
        """
        lengths = [len(sequence) for sequence in sequences]
        hidden = self._embed(sequences)
        rotary = self._rotary(lengths, len(prefix.ids) if prefix else 0)
        last = torch.tensor(np.cumsum(lengths) - 1, device=self.device)
        for index, layer in enumerate(self._layers):
            before = prefix.keys_values[index] if prefix else None
            if layer.query is None:
                query, key, value = self._heads(layer, hidden, rotary)
                attended = causal_attention(query, key, value, lengths, before)
            else:  # nobody reads what the last layer makes of other tokens than the last
                query, key, value = self._last_heads(layer, hidden, rotary, last)
                attended = last_token_attention(query, key, value, lengths, before)
                hidden = hidden[last]
            self._finish(layer, hidden, attended)
        rows = _rms_norm(hidden, self._final_norm, self.config.norm_eps)
        result: Vectors = rows.cpu().numpy()
        return result

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute what a common start of many sequences leaves behind for them.

        Args:
            ids: At least one token.
        """
        lengths = [len(ids)]
        hidden = self._embed([ids])
        rotary = self._rotary(lengths, 0)
        kept = []
        for layer in self._layers:
            if layer.query is not None:
                last = torch.tensor([len(ids) - 1], device=self.device)
                _, key, value = self._last_heads(layer, hidden, rotary, last)
                kept.append((key.clone(), value.clone()))
                break
            query, key, value = self._heads(layer, hidden, rotary)
            kept.append((key.clone(), value.clone()))
            self._finish(layer, hidden, causal_attention(query, key, value, lengths))
        return Prefix(tuple(ids), tuple(kept))

    def _embed(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return the residual stream of packed sequences before the first layer, `(T, W)`."""
        ids = torch.tensor(np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]))
        if ids.max() >= self.config.vocab_size:
            msg = (
                f"The tokenizer gave token {int(ids.max())}, but the model's table has "
                f"{self.config.vocab_size} rows: tokenizer and weights are not of one model."
            )
            raise ModelLoadError(msg)
        return F.embedding(ids.to(self.device), self._embeddings).float()

    def _heads(
        self, layer: _Layer, hidden: Tensor, rotary: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries `(T, H, D)`, rotated keys and values `(T, K, D)`."""
        asking, keeping = self.config.heads, self.config.kv_heads
        normed = _rms_norm(hidden, layer.input_norm, self.config.norm_eps).to(self.dtype)
        heads = layer.qkv(normed).view(len(hidden), -1, self.config.head_dim)
        turned = self._rotate(heads[:, : asking + keeping], layer.head_norm, rotary)
        return turned[:, :asking], turned[:, asking:], heads[:, asking + keeping :]

    def _last_heads(
        self, layer: _Layer, hidden: Tensor, rotary: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Like `_heads`, with queries of the last tokens only, `(N, H, D)`."""
        assert layer.query is not None  # noqa: S101  (for the type checker)
        asking, keeping = self.config.heads, self.config.kv_heads
        normed = _rms_norm(hidden, layer.input_norm, self.config.norm_eps).to(self.dtype)
        query = layer.query(normed[last]).view(len(last), asking, -1)
        heads = layer.qkv(normed).view(len(hidden), 2 * keeping, -1)
        return (
            self._rotate(query, layer.head_norm[:asking], rotary[last]),
            self._rotate(heads[:, :keeping], layer.head_norm[asking:], rotary),
            heads[:, keeping:],
        )

    def _finish(self, layer: _Layer, hidden: Tensor, attended: Tensor) -> None:
        """Add what attention and feed-forward layer make of the residual stream to it."""
        hidden += layer.attention_out(attended)
        normed = _rms_norm(hidden, layer.mlp_norm, self.config.norm_eps).to(self.dtype)
        hidden += layer.down(layer.up.times(normed, layer.gate.silu(normed)))

    def _rotary(self, lengths: Sequence[int], offset: int) -> Tensor:
        """Return the turn of every token's dimension pairs, complex `(T, 1, D / 2)`."""
        positions = torch.arange(max(lengths), dtype=torch.float32, device=self.device) + offset
        angles = torch.outer(positions, self._frequencies)
        turns = torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turns[:length] for length in lengths]).unsqueeze(1)

    def _rotate(self, heads: Tensor, gain: Tensor, rotary: Tensor) -> Tensor:
        """Normalise each head of `(T, heads, D)` and turn it by its position; may work in place."""
        exact = heads.float()
        exact.mul_(_inverse_rms(exact, self.config.norm_eps)).mul_(gain)
        torch.view_as_complex(exact.view(*exact.shape[:-1], -1, 2)).mul_(rotary)
        return exact.to(self.dtype)


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    """Return one over the root of the mean square of the last axis of float32 `x`, kept."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Scale the last axis of float32 `x` to unit mean square, then by `gain`."""
    return x.mul(_inverse_rms(x, eps)).mul_(gain)
