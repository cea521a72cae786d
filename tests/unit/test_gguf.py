"""What is written for llama.cpp to read; `make e2e` shows that it reads it so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, LlamaFileType, PoolingType, TokenType
from gguf.quants import dequantize

from f2llm_core import ModelLoadError
from f2llm_core.engine.config import read_config
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.engine.weights import read_weights
from support import copy_model, edit_json
from tools.llama_cpp.write import PRECISIONS, write_gguf


@pytest.fixture(scope="module")
def written(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> GGUFReader:
    return GGUFReader(write_gguf(checkpoint, tmp_path_factory.mktemp("gguf") / "model.gguf"))


def value(reader: GGUFReader, name: str) -> object:
    return reader.fields[name].contents()


def test_the_file_says_last_token_pooling_and_one_eos_at_the_end(written, checkpoint):
    tokenizer = Tokenizer(checkpoint, read_config(checkpoint / "config.json"))
    assert value(written, "qwen3.pooling_type") == PoolingType.LAST
    assert value(written, "tokenizer.ggml.add_eos_token") is True
    assert value(written, "tokenizer.ggml.add_bos_token") is False
    assert value(written, "tokenizer.ggml.eos_token_id") == tokenizer.eos_id
    assert value(written, "tokenizer.ggml.padding_token_id") == tokenizer.pad_id


def test_the_eos_is_told_though_the_tokenizer_lost_it(tmp_path):
    folder = copy_model(tmp_path / "model")
    edit_json(folder / "tokenizer.json", post_processor=None)
    reader = GGUFReader(write_gguf(folder, tmp_path / "model.gguf"))
    eos = json.loads((folder / "config.json").read_text("utf-8"))["eos_token_id"]
    assert value(reader, "tokenizer.ggml.eos_token_id") == eos
    assert value(reader, "tokenizer.ggml.add_eos_token") is True


def test_the_shape_is_the_one_of_the_configuration(written, checkpoint):
    config = read_config(checkpoint / "config.json")
    found = {
        name: value(written, f"qwen3.{name}")
        for name in (
            "context_length",
            "embedding_length",
            "block_count",
            "feed_forward_length",
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.value_length",
            "rope.freq_base",
        )
    }
    assert list(found.values()) == [
        config.max_position,
        config.width,
        config.layers,
        config.intermediate_size,
        config.heads,
        config.kv_heads,
        config.head_dim,
        config.head_dim,
        config.rope_theta,
    ]
    assert value(written, "qwen3.attention.layer_norm_rms_epsilon") == pytest.approx(
        config.norm_eps
    )


def test_every_row_of_the_table_has_its_token(written, checkpoint):
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    tokens = value(written, "tokenizer.ggml.tokens")
    types = value(written, "tokenizer.ggml.token_type")
    rows = read_config(checkpoint / "config.json").vocab_size
    assert len(tokens) == len(types) == len(set(tokens)) == rows
    for token, index in content["model"]["vocab"].items():
        assert tokens[index] == token
    control = {index for index, kind in enumerate(types) if kind == TokenType.CONTROL}
    assert control == {token["id"] for token in content["added_tokens"]}
    assert len(value(written, "tokenizer.ggml.merges")) == len(content["model"]["merges"])


def test_added_tokens_that_are_not_special_stay_vocabulary(tmp_path):
    folder = copy_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"][1]["special"] = False
    edit_json(folder / "tokenizer.json", **content)
    reader = GGUFReader(write_gguf(folder, tmp_path / "model.gguf"))
    types = value(reader, "tokenizer.ggml.token_type")
    assert types[content["added_tokens"][1]["id"]] == TokenType.USER_DEFINED
    assert types[content["added_tokens"][0]["id"]] == TokenType.CONTROL


@pytest.mark.parametrize(
    ("precision", "most"), [("f32", 0.0), ("bf16", 0.0), ("f16", 1e-3), ("q8_0", 1e-2)]
)
def test_the_weights_come_back_within_their_precision(precision, most, checkpoint, tmp_path):
    reader = GGUFReader(write_gguf(checkpoint, tmp_path / "model.gguf", precision))
    config = read_config(checkpoint / "config.json")
    weights = read_weights(checkpoint, config)
    assert value(reader, "general.file_type") == PRECISIONS[precision][1]
    assert len(reader.tensors) == len(weights) == 2 + 11 * config.layers
    stored = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}
    for theirs, ours in (
        ("token_embd.weight", "embed_tokens.weight"),
        ("blk.1.attn_k.weight", "layers.1.self_attn.k_proj.weight"),
        ("blk.1.ffn_down.weight", "layers.1.mlp.down_proj.weight"),
        ("output_norm.weight", "norm.weight"),
    ):
        right = weights[ours].float().numpy()
        assert np.abs(stored[theirs] - right).max() <= most * np.abs(right).max()


def test_the_default_is_f16(written):
    assert value(written, "general.file_type") == LlamaFileType.MOSTLY_F16


@pytest.mark.parametrize("part", ["model", "pre_tokenizer"])
def test_a_tokenizer_that_llama_cpp_has_no_name_for_is_refused(part, tmp_path):
    folder = copy_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    if part == "model":
        vocab = list(content["model"]["vocab"])
        content["model"] = {"type": "WordLevel", "vocab": content["model"]["vocab"]}
        content["model"]["unk_token"] = vocab[0]
    else:
        content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+"
    edit_json(folder / "tokenizer.json", **content)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is not Qwen's byte-level BPE"):
        write_gguf(folder, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()
