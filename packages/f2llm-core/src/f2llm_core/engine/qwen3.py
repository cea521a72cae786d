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
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody reads)
from torch import Tensor

from f2llm_core.engine.config import Qwen3Config
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
    """Weights of one decoder layer; projections that read the same input are fused."""

    input_norm: Tensor  # (W,) float32
    qkv: Tensor  # ((H + 2K) * D, W)
    q_norm: Tensor  # (D,) float32
    k_norm: Tensor  # (D,) float32
    attention_out: Tensor  # (W, H * D)
    mlp_norm: Tensor  # (W,) float32
    gate_up: Tensor  # (2 * intermediate, W)
    down: Tensor  # (W, intermediate)


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
        self._embeddings = tensors["embed_tokens.weight"].to(device)  # gathered, so kept as stored
        self._layers = [self._layer(tensors, i) for i in range(config.layers)]
        self._final_norm = tensors["norm.weight"].to(device, torch.float32)
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        self._inverse_frequencies = (config.rope_theta**-exponents).to(device)

    def _layer(self, tensors: Mapping[str, Tensor], index: int) -> _Layer:
        def gain(name: str) -> Tensor:
            return tensors[f"layers.{index}.{name}.weight"].to(self.device, torch.float32)

        def matrix(*names: str) -> Tensor:
            parts = [tensors[f"layers.{index}.{name}.weight"] for name in names]
            return torch.cat(parts).to(self.device, self.dtype)

        return _Layer(
            input_norm=gain("input_layernorm"),
            qkv=matrix("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            q_norm=gain("self_attn.q_norm"),
            k_norm=gain("self_attn.k_norm"),
            attention_out=matrix("self_attn.o_proj"),
            mlp_norm=gain("post_attention_layernorm"),
            gate_up=matrix("mlp.gate_proj", "mlp.up_proj"),
            down=matrix("mlp.down_proj"),
        )

    @torch.inference_mode()
    def forward(self, sequences: Sequence[Sequence[int]]) -> Vectors:
        """Embed token sequences.

        Args:
            sequences: N non-empty sequences of token ids, each ending in the EOS. Equal lengths
                standing together are attended to together.

        Returns:
            Shape `(N, W)`, float32: the final-norm hidden state of each last token, not normalised.
        """
        lengths = [len(sequence) for sequence in sequences]
        ids = torch.tensor(np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]))
        rotary = self._rotary(lengths)

        hidden = F.embedding(ids.to(self.device), self._embeddings).float()  # (T, W)
        for layer in self._layers:
            hidden = hidden + self._attention(layer, hidden, lengths, rotary)
            hidden = hidden + self._mlp(layer, hidden)

        last = torch.tensor(np.cumsum(lengths) - 1, device=self.device)
        rows = _rms_norm(hidden[last], self._final_norm, self.config.norm_eps)
        result: Vectors = rows.cpu().numpy()
        return result

    def _attention(
        self, layer: _Layer, hidden: Tensor, lengths: list[int], rotary: tuple[Tensor, Tensor]
    ) -> Tensor:
        config = self.config
        normed = _rms_norm(hidden, layer.input_norm, config.norm_eps).to(self.dtype)
        heads = F.linear(normed, layer.qkv).float().view(len(hidden), -1, config.head_dim)
        query, key, value = torch.split(
            heads, [config.heads, config.kv_heads, config.kv_heads], dim=1
        )
        query = _rotate(_rms_norm(query, layer.q_norm, config.norm_eps), *rotary)
        key = _rotate(_rms_norm(key, layer.k_norm, config.norm_eps), *rotary)
        attended = _causal_attention(query, key, value, lengths)  # (T, H * D)
        return F.linear(attended.to(self.dtype), layer.attention_out).float()

    def _mlp(self, layer: _Layer, hidden: Tensor) -> Tensor:
        normed = _rms_norm(hidden, layer.mlp_norm, self.config.norm_eps).to(self.dtype)
        gate, up = F.linear(normed, layer.gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, layer.down).float()

    def _rotary(self, lengths: list[int]) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of every token's rotary angles, each `(T, 1, D / 2)`."""
        longest = torch.arange(max(lengths), dtype=torch.float32, device=self.device)
        angles = torch.outer(longest, self._inverse_frequencies)
        per_token = torch.cat([angles[:length] for length in lengths]).unsqueeze(1)
        return per_token.cos(), per_token.sin()


def _rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Normalise the last axis of float32 `x` to unit mean square, then scale by `gain`."""
    return F.rms_norm(x, gain.shape, gain, eps)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding to `(T, heads, D)`: dimension i turns with i + D / 2."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """Attend within each packed sequence, to the token itself and those before it.

    Args:
        query: `(T, H, D)` float32.
        key: `(T, K, D)` float32; each serves H / K query heads.
        value: `(T, K, D)` float32.
        lengths: Tokens of each sequence; runs of equal lengths are computed together.

    Returns:
        `(T, H * D)` float32.
    """
    out = torch.empty_like(query)
    repeat = query.shape[1] // key.shape[1]
    start = 0
    for length, run in groupby(lengths):
        stop = start + length * sum(1 for _ in run)
        q, k, v = (
            x[start:stop].view(-1, length, *x.shape[1:]).transpose(1, 2)
            for x in (query, key, value)
        )
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out[start:stop] = attended.transpose(1, 2).flatten(0, 1)
        start = stop
    return out.flatten(1)
