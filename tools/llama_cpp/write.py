"""Write a checkpoint as a GGUF file, which llama.cpp, its servers and Ollama read.

    python -m tools.llama_cpp.write models/f2llm-demo f2llm-demo.gguf [--precision f16]

llama.cpp's own `convert_hf_to_gguf.py` does the same for released models; it knows tokenizers by
their checksum, so it refuses the demo model and tiny checkpoints.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    PoolingType,
    TokenType,
    get_tensor_name_map,
)
from gguf.quants import quantize

from f2llm_core.engine.config import Qwen3Config, read_config, read_json
from f2llm_core.engine.hub import fetch, identify
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.engine.weights import read_weights
from f2llm_core.errors import ModelLoadError
from tools.demo_model.tokenizer import SPLIT

#: How the matrices are stored, by name; the gains of the norms are always float32.
PRECISIONS = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),  # as released, so exact
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_PRE_TOKENIZER = "qwen2"  # llama.cpp's name for Qwen's split pattern


def write_gguf(folder: Path, target: Path, precision: str = "f16") -> Path:
    """Write a checkpoint as one GGUF file, with the pooling and the EOS that the model needs.

    Texts that are not in Unicode's normal form C get other ids in llama.cpp than here: the
    checkpoint's tokenizer composes them first, and the format has no word for that.

    Args:
        folder: Checkpoint.
        target: File to write; replaced if it exists.
        precision: One of `PRECISIONS`.

    Returns:
        `target`.

    Raises:
        ModelLoadError: A damaged checkpoint, or a tokenizer that llama.cpp has no name for.
    """
    config = read_config(folder / "config.json")
    quantization, file_type = PRECISIONS[precision]
    writer = GGUFWriter(None, MODEL_ARCH_NAMES[MODEL_ARCH.QWEN3])
    writer.add_name(folder.resolve().name)
    writer.add_file_type(file_type)
    _add_shape(writer, config)
    _add_tokenizer(writer, folder, config)
    _add_tensors(writer, folder, config, quantization)
    writer.write_header_to_file(target)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_shape(writer: GGUFWriter, config: Qwen3Config) -> None:
    writer.add_context_length(config.max_position)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_pooling_type(PoolingType.LAST)


def _add_tokenizer(writer: GGUFWriter, folder: Path, config: Qwen3Config) -> None:
    tokenizer = Tokenizer(folder, config)  # refuses one whose EOS is in doubt
    path = folder / "tokenizer.json"
    content = read_json(path)
    _refuse_other_tokenizers(content, path)
    tokens, types = zip(*_tokens(content, config.vocab_size), strict=True)
    merges = content["model"]["merges"]  # strings in old files, pairs in new ones
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_add_eos_token(True)
    writer.add_add_bos_token(False)
    if tokenizer.pad_id is not None:
        writer.add_pad_token_id(tokenizer.pad_id)


def _refuse_other_tokenizers(content: dict[str, Any], path: Path) -> None:
    """Refuse a tokenizer whose splitting llama.cpp would not repeat."""
    steps = (content.get("pre_tokenizer") or {}).get("pretokenizers", [])
    patterns = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    if content["model"].get("type") != "BPE" or patterns != [SPLIT]:
        msg = (
            f"{path} is not Qwen's byte-level BPE, the only tokenizer that is written here: "
            "llama.cpp would cut texts into other tokens. Serve this checkpoint by another server."
        )
        raise ModelLoadError(msg)


def _tokens(content: dict[str, Any], rows: int) -> Iterator[tuple[str, TokenType]]:
    """Yield one token and its kind for each row of the embedding table."""
    named = {index: (token, TokenType.NORMAL) for token, index in content["model"]["vocab"].items()}
    for token in content["added_tokens"]:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        named[token["id"]] = (token["content"], kind)
    for index in range(rows):
        yield named.get(index, (f"[PAD{index}]", TokenType.UNUSED))


def _add_tensors(
    writer: GGUFWriter, folder: Path, config: Qwen3Config, quantization: GGMLQuantizationType
) -> None:
    names = get_tensor_name_map(MODEL_ARCH.QWEN3, config.layers)
    for name, tensor in read_weights(folder, config).items():
        kind = GGMLQuantizationType.F32 if tensor.ndim == 1 else quantization
        values = tensor.float().numpy()
        stored = names.get_name(name, try_suffixes=(".weight",))
        if stored is None:
            msg = f"gguf has no name for {name}; its tensors are not those of Qwen3."
            raise ModelLoadError(msg)
        writer.add_tensor(stored, np.ascontiguousarray(quantize(values, kind)), raw_dtype=kind)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="checkpoint folder, hub id or short name")
    parser.add_argument("target", type=Path, help="file to write")
    parser.add_argument("--precision", choices=PRECISIONS, default="f16")
    args = parser.parse_args()
    folder = fetch(identify(args.model), local_files_only=False, token=None)
    written = write_gguf(folder, args.target, args.precision)
    print(f"{written}: {written.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
