"""Qwen3 as small as it goes, started as exactly the bag of stage 1.

RMSNorm erases a vector's length, so a token's weight can't be the length of its embedding: it has
to live in a direction. Two reserved numbers of each embedding hold (cos φ, sin φ), and the token's
log-weight is proportional to cos φ. In the last layer two heads, one of each key/value group,
look at these two numbers alone, through the pair of head dimensions that RoPE turns least: the
softmax of the EOS over its text is then the bag's weights. Values and output carry the
content through unchanged. All other blocks start near zero, so that the first forward
pass gives the bag's vectors, and training starts from its score. The layers below the last are
free to put context into the tokens before they are summed.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 128  # texts of similar length that run together
ROUND = 16  # lengths are padded to a multiple: few shapes, so few compilations
CONTENT_SHARE = 0.9  # of an embedding's squared length; the rest is its reserved pair's
QUIET = 0.05  # scale of the blocks that are to start near zero
LOOSE = 0.01  # scale of the bag heads' other dimensions: not zero, or they would never learn


@dataclass(frozen=True)
class Shape:
    """The numbers of `config.json` that the model code needs."""

    vocab_size: int = 16384
    hidden_size: int = 256
    intermediate_size: int = 512
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 128  # 4 x 128 = 512 is not the hidden size, as in the released models
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0

    def as_dict(self) -> dict[str, float]:
        """For `Qwen3Config`."""
        return asdict(self)

    def weights(self) -> int:
        """How many weights a model of this shape has."""
        width, size = self.hidden_size, self.head_dim
        attention = 2 * width * size * (self.num_attention_heads + self.num_key_value_heads)
        layer = attention + 3 * width * self.intermediate_size + 2 * width + 2 * size
        return self.vocab_size * width + self.num_hidden_layers * layer + width


class Norm(nn.Module):
    """RMSNorm over the last axis."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Any leading shape; computed in float32."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on (batch, heads, length, head_dim)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys; names as in the checkpoints."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, size = shape.hidden_size, shape.head_dim
        self.heads, self.groups, self.size = (
            shape.num_attention_heads,
            shape.num_key_value_heads,
            size,
        )
        self.q_proj = nn.Linear(width, self.heads * size, bias=False)
        self.k_proj = nn.Linear(width, self.groups * size, bias=False)
        self.v_proj = nn.Linear(width, self.groups * size, bias=False)
        self.o_proj = nn.Linear(self.heads * size, width, bias=False)
        self.q_norm = Norm(size, shape.rms_norm_eps)
        self.k_norm = Norm(size, shape.rms_norm_eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], last: Tensor | None) -> Tensor:
        """Attends over (batch, length, width); with ``last`` (batch,) only from those rows."""
        batch, length, _ = x.shape
        cos, sin = rope
        rows = torch.arange(length)[None, :] if last is None else last[:, None]
        asked = x if last is None else x[torch.arange(batch), last][:, None]
        q = self.q_norm(self.q_proj(asked).view(batch, -1, self.heads, self.size)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, length, -1, self.size)).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, self.size).transpose(1, 2)
        q, k = rotate(q, cos[rows][:, None], sin[rows][:, None]), rotate(k, cos, sin)
        unseen = torch.arange(length) > rows[:, :, None]  # (batch or 1, rows, length)
        mixed = self.attend(q.to(v.dtype), k.to(v.dtype), v, unseen)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, rows.shape[1], -1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, unseen: Tensor) -> Tensor:
        """Mixes the values; plain products are, with gradients, faster here than the kernel.

        Args:
            q: (batch, heads, rows, head_dim).
            k: (batch, groups, length, head_dim).
            v: (batch, groups, length, head_dim).
            unseen: (batch or 1, rows, length) bool.
        """
        batch, heads, rows, size = q.shape
        together = q.reshape(batch, self.groups, -1, size)  # the heads of a group share its keys
        scores = (together @ k.transpose(-1, -2)).view(batch, heads, rows, -1) * size**-0.5
        weights = scores.float().masked_fill(unseen[:, None], -math.inf).softmax(-1).to(v.dtype)
        return (weights.view(batch, self.groups, -1, k.shape[2]) @ v).view(q.shape)


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inner = shape.hidden_size, shape.intermediate_size
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Any leading shape."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = Mlp(shape)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], last: Tensor | None) -> Tensor:
        """(batch, length, width) to the same, or to (batch, 1, width) with ``last``."""
        own = x if last is None else x[torch.arange(len(x)), last][:, None]
        own = own + self.self_attn(self.input_layernorm(x), rope, last)
        return own + self.mlp(self.post_attention_layernorm(own))


class Model(nn.Module):
    """`Qwen3Model` with last-token pooling; computes nothing in the last layer but the EOS."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = Norm(shape.hidden_size, shape.rms_norm_eps)
        turns = shape.rope_theta ** -(torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = torch.outer(torch.arange(8192), turns).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.run: list[Callable[..., Tensor]] = list(self.layers)

    def compile_layers(self) -> None:
        """Fuses what stands between the matrix products: half the time of a step."""
        self.run = [torch.compile(layer, dynamic=True) for layer in self.layers]

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        """Pooled vectors (batch, width) of right-padded ids (batch, length) with EOS at ``last``.

        Padding stands after the EOS and attention is causal, so no mask is needed.
        """
        rope = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])  # type: ignore[index]
        x = self.embed_tokens(ids)
        for layer in self.run[:-1]:
            x = layer(x, rope, None)
        return self.norm(self.run[-1](x, rope, last)[:, 0])

    def encode(self, texts: list[np.ndarray]) -> Tensor:
        """Vectors (n, width) of n arrays of token ids, in their order; not normalised."""
        order = np.argsort([len(ids) for ids in texts], kind="stable")
        parts = []
        for start in range(0, len(order), CHUNK):
            chunk = [texts[i] for i in order[start : start + CHUNK]]
            length = -(-max(map(len, chunk)) // ROUND) * ROUND
            ids = torch.zeros(len(chunk), length, dtype=torch.long)
            for row, own in enumerate(chunk):
                ids[row, : len(own)] = torch.from_numpy(own)
            parts.append(self(ids, torch.tensor([len(own) - 1 for own in chunk])))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return torch.cat(parts)[torch.from_numpy(back)]


def reserve(weight: np.ndarray, eos: int, spread: float) -> np.ndarray:
    """The reserved pairs (vocabulary, 2): cos φ runs over the log-weights' top ``2 * spread``.

    The EOS gets cos φ = -1: it asks, and must not hear itself.
    """
    logs = np.log(np.maximum(weight, 1e-9))
    top = np.quantile(logs, 0.9999)
    cos = np.clip((logs - top) / spread + 1, -1, 1)
    cos[eos] = -1
    return np.stack([cos, np.sqrt(1 - cos**2)], axis=1)


@torch.no_grad()
def start_as_bag(
    shape: Shape,
    content: np.ndarray,
    weight: np.ndarray,
    eos: int,
    spread: float = 4.0,
    quiet: float = QUIET,
) -> Model:
    """A model whose vectors are the bag's.

    Args:
        shape: Widths; the key/value heads together must hold the content.
        content: (vocabulary, hidden_size - 2) float32.
        weight: (vocabulary,) float32, positive.
        eos: Id of the EOS.
        spread: Half the range of log-weights that the two heads can express.
        quiet: Scale of the other blocks' outputs; at 0 the model is the bag and nothing else.
    """
    model = Model(shape)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in name:
            parameter.normal_(std=parameter.shape[1] ** -0.5)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.mul_(quiet)
    length = np.linalg.norm(content, axis=1)
    pairs = reserve(weight * length, eos, spread)
    directions = content / np.maximum(length, 1e-9)[:, None]
    directions[eos] = 0
    table = np.concatenate(
        [directions * CONTENT_SHARE**0.5, pairs * (1 - CONTENT_SHARE) ** 0.5], axis=1
    )
    model.embed_tokens.weight.copy_(torch.from_numpy(table * shape.hidden_size**0.5))
    _set_bag_heads(model.layers[-1].self_attn, shape, spread)  # type: ignore[arg-type]
    model.norm.weight[-2:] = 0
    return model


def _set_bag_heads(attention: Attention, shape: Shape, spread: float) -> None:
    """Makes the first head of each key/value group weigh by the reserved pair and carry content."""
    size, width = shape.head_dim, shape.hidden_size
    slow = (size // 2 - 1, size - 1)  # the pair of lowest frequency
    per_group = shape.num_attention_heads // shape.num_key_value_heads
    gain = (spread / size**0.5) ** 0.5  # the norms make both lengths sqrt(size); scaled by 1 / that
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[list(slow)] = gain
    for group in range(shape.num_key_value_heads):
        head = group * per_group
        q = attention.q_proj.weight[head * size : (head + 1) * size]
        k = attention.k_proj.weight[group * size : (group + 1) * size]
        v = attention.v_proj.weight[group * size : (group + 1) * size]
        out = attention.o_proj.weight[:, head * size : (head + 1) * size]
        q.mul_(LOOSE), k.mul_(LOOSE), v.zero_(), out.zero_()
        q[slow[0], width - 2] = -1  # the EOS stands at cos φ = -1 and asks for +1
        k[slow[0], width - 2] = k[slow[1], width - 1] = 1
        first = group * size
        carried = torch.arange(first, min(first + size, width - 2))
        v[carried - first, carried] = 1
        out[carried, carried - first] = 1
