"""Tiny models for tests: a folder laid out exactly as a released repository, random weights inside.

So that a pipeline can be tested without a download: everything but the meaning of the vectors is
real (tokenizer, EOS, prompts, pooling, safetensors, the architecture).

    model = F2LLM(tiny_checkpoint(tmp_path / "model"))
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from f2llm_core.engine.config import Qwen3Config, read_config
from f2llm_core.engine.tokenizer import EOS_TOKEN, PAD_TOKEN
from f2llm_core.instructions import DEFAULT_TASK, format_prompt
from f2llm_core.models import find_model

#: Qwen's pre-tokenizer (its tokenizer.json): words, single digits, punctuation, line ends, spaces.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL_TOKENS = (PAD_TOKEN, "<|im_start|>", EOS_TOKEN)

# Enough for merges that cross nothing they should not; any text can be encoded, byte by byte.
_SAMPLE = (
    "Given a question, retrieve passages that can help answer the question.",
    "The quick brown fox jumps over the lazy dog while the search engine reads the passage.",
    "Die Suche findet die Stelle, an der die Antwort auf die Frage steht.",
    "검색 엔진은 질문에 답하는 문서를 찾습니다.",
    "محرك البحث يجد الفقرة التي تجيب عن السؤال",
    "खोज इंजन प्रश्न का उत्तर देने वाला अनुच्छेद ढूँढता है",
)


def tiny_checkpoint(
    path: str | Path,
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 32,
    intermediate_size: int = 96,
    vocab_size: int = 640,
    max_position: int = 4096,
    dtype: str = "bfloat16",
    seed: int = 0,
) -> Path:
    """Write a model folder with random weights.

    Args:
        path: Folder to write; made if need be.
        width: Embedding width; `head_dim` is independent of it, as in the released models.
        layers: Decoder layers.
        heads: Query heads.
        kv_heads: Key/value heads.
        head_dim: Width of one head.
        intermediate_size: Width of the feed-forward layers.
        vocab_size: Rows of the embedding table, at least 512; the tokenizer fills most of them.
        max_position: Longest sequence in tokens.
        dtype: Of the stored weights, `"bfloat16"` as released, or `"float32"`.
        seed: Same seed, same weights.

    Returns:
        `path`, ready for `F2LLM(path)`.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    ids = _write_tokenizer(folder, vocab_size)
    _write_json(
        folder / "config.json",
        {
            "architectures": ["Qwen3Model"],
            "model_type": "qwen3",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": ids[PAD_TOKEN],
            "eos_token_id": ids[EOS_TOKEN],
            "head_dim": head_dim,
            "hidden_act": "silu",
            "hidden_size": width,
            "initializer_range": 0.02,
            "intermediate_size": intermediate_size,
            "max_position_embeddings": max_position,
            "max_window_layers": layers,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "num_key_value_heads": kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": 1_000_000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": dtype,
            "use_cache": False,
            "use_sliding_window": False,
            "vocab_size": vocab_size,
        },
    )
    _write_modules(folder, width)
    _write_weights(folder, read_config(folder / "config.json"), dtype, seed)
    return folder


def sized_checkpoint(path: str | Path, size: str, *, layers: int | None = None) -> Path:
    """Write a model folder in the shape of a released size, with random weights.

    For measuring speed and memory, which do not depend on the values of the weights.

    Args:
        path: Folder to write.
        size: Short name of a released size, for example `"80M"`.
        layers: Fewer layers than the size has, or None for all.

    Returns:
        `path`. The vocabulary's rows are all there, its tokenizer is the tiny one.
    """
    spec = find_model(size)
    if spec is None:
        msg = f"{size!r} is no released size."
        raise ValueError(msg)
    return tiny_checkpoint(
        path,
        width=spec.width,
        layers=layers or spec.layers,
        heads=spec.attention_heads,
        kv_heads=8,
        head_dim=128,
        intermediate_size=spec.intermediate_size,
        vocab_size=151_936,
        max_position=40_960,
    )


def _write_tokenizer(folder: Path, vocab_size: int) -> dict[str, int]:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SAMPLE, trainer)
    tokenizer.add_special_tokens(list(_SPECIAL_TOKENS))
    ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {EOS_TOKEN}",
        pair=f"$A {EOS_TOKEN} $B:1 {EOS_TOKEN}:1",
        special_tokens=[(EOS_TOKEN, ids[EOS_TOKEN])],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "model_max_length": 131_072,
            "eos_token": EOS_TOKEN,
            "pad_token": PAD_TOKEN,
            "bos_token": None,
            "unk_token": None,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": False,
        },
    )
    return ids


def _write_modules(folder: Path, width: int) -> None:
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    _write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, p) in enumerate(zip(kinds, paths, strict=True))
        ],
    )
    modes = (
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": width}
        | {f"pooling_mode_{mode}": False for mode in modes}
        | {"pooling_mode_lasttoken": True, "include_prompt": True},
    )
    _write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": format_prompt(DEFAULT_TASK.instruction), "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


def _write_weights(folder: Path, config: Qwen3Config, dtype: str, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    from f2llm_core.engine.qwen3 import expected_tensors

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_tensors(config):
        noise = torch.randn(shape, generator=generator)
        # Gains near one but not one, and matrices that keep the scale of what passes through:
        # no part of the forward pass can then be left out without changing the vectors.
        scale = 1 + 0.1 * noise if len(shape) == 1 else noise / shape[-1] ** 0.5
        tensors[name] = scale.to(getattr(torch, dtype)).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (any JSON value)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
