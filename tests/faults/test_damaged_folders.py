"""A damaged model folder is an error that names the file, never a model with other vectors."""

from __future__ import annotations

import json
import random

import pytest
from safetensors.torch import load_file, save_file

from f2llm_core import F2LLM, ModelError
from support import copy_model

FILES = ("config.json", "tokenizer.json", "model.safetensors")


def load_fails_well(folder):
    """Loading raises a `ModelError` that names something in the folder."""
    with pytest.raises(ModelError) as caught:
        F2LLM(folder).encode_document("a")
    assert folder.name in str(caught.value)
    return True


@pytest.mark.parametrize("seed", range(30))
def test_truncated_weights(tmp_path, seed):
    folder = copy_model(tmp_path / "model")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(len(content))])
    assert load_fails_well(folder)


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bit_in_the_header_of_the_weights(tmp_path, seed):
    rng = random.Random(seed)
    folder = copy_model(tmp_path / "model")
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    position = rng.randrange(header)
    content[position] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    before = load_file(copy_model(tmp_path / "whole") / "model.safetensors")
    try:
        after = load_file(path)
    except Exception:
        assert load_fails_well(folder)
        return
    # The flip hit free space or the metadata, or renamed or retyped a tensor: the first is
    # harmless, the rest must be refused.
    if after.keys() == before.keys() and all(after[k].equal(before[k]) for k in before):
        F2LLM(folder).encode_document("a")
    else:
        assert load_fails_well(folder)


@pytest.mark.parametrize("name", FILES)
def test_each_file_missing_in_turn(tmp_path, name):
    folder = copy_model(tmp_path / "model")
    (folder / name).unlink()
    assert load_fails_well(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html>", b"version https://git-lfs"])
@pytest.mark.parametrize("name", FILES)
def test_each_file_replaced_in_turn(tmp_path, name, content):
    folder = copy_model(tmp_path / "model")
    (folder / name).write_bytes(content)
    assert load_fails_well(folder)


def test_each_tensor_misshapen_in_turn(tmp_path, checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    folder = copy_model(tmp_path / "model")
    for name, tensor in tensors.items():
        wrong = tensors | {name: tensor.flatten()[:-1].clone()}
        save_file(wrong, folder / "model.safetensors")
        with pytest.raises(ModelError, match=name):
            F2LLM(folder).encode_document("a")


def test_weights_that_give_no_finite_vector_are_never_returned(tmp_path):
    from f2llm_core import NonFiniteError

    folder = copy_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        tensors | {"norm.weight": tensors["norm.weight"] * float("nan")},
        folder / "model.safetensors",
    )
    with pytest.raises(NonFiniteError) as caught:
        F2LLM(folder).encode_document(["a", "b"])
    assert caught.value.rows == (0, 1)


def test_a_directory_in_place_of_a_file(tmp_path):
    folder = copy_model(tmp_path / "model")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert load_fails_well(folder)


def test_a_tokenizer_of_another_model(tmp_path):
    folder = copy_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["a"] = 10_000_000
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="not of one model"):
        F2LLM(folder).encode_document("a")
