import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from f2llm_core import F2LLM, ModelLoadError
from f2llm_core.engine.config import read_config
from f2llm_core.engine.qwen3 import expected_tensors
from f2llm_core.engine.weights import read_weights
from support import copy_model


def read(folder):
    return read_weights(folder, read_config(folder / "config.json"))


def rewrite(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(edit(tensors), path, metadata={"format": "pt"})
    return folder


def shard(folder, parts=3):
    """Split the weights as a large repository does."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = {key: tensors[key] for key in names[part::parts]}
        save_file(mine, folder / name)
        weight_map |= dict.fromkeys(mine, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def point_index_at(folder, shard_name):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["norm.weight"] = shard_name
    path.write_text(json.dumps(index))


def test_tensors_come_in_their_stored_precision(checkpoint):
    tensors = read(checkpoint)
    config = read_config(checkpoint / "config.json")
    assert list(tensors) == [name for name, _ in expected_tensors(config)]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize("prefix", ["", "model."])
def test_keys_with_and_without_prefix_give_the_same_vectors(tmp_path, encoder, prefix):
    def with_prefix(tensors):
        return {prefix + name: tensor for name, tensor in tensors.items()}

    folder = rewrite(copy_model(tmp_path / "m"), with_prefix)
    assert (
        F2LLM(folder, dtype="float32").encode_document("a") == encoder.encode_document("a")
    ).all()


def test_weights_in_float16_give_nearly_the_same_vectors(tmp_path, encoder):
    folder = rewrite(copy_model(tmp_path / "m"), lambda t: {n: x.half() for n, x in t.items()})
    vector = F2LLM(folder, dtype="float32").encode_document("a")
    np.testing.assert_allclose(vector, encoder.encode_document("a"), atol=1e-4)


def test_shards_give_the_same_vectors(tmp_path, encoder):
    folder = shard(copy_model(tmp_path / "m"))
    assert (
        F2LLM(folder, dtype="float32").encode_document("a") == encoder.encode_document("a")
    ).all()


def test_the_single_file_wins_over_a_stale_index(tmp_path, encoder):
    folder = shard(copy_model(tmp_path / "m"))
    wrong = {
        name: -tensor
        for path in folder.glob("model-*.safetensors")
        for name, tensor in load_file(path).items()
    }
    right = {name: -tensor for name, tensor in wrong.items()}
    for path in folder.glob("model-*.safetensors"):
        save_file({name: wrong[name] for name in load_file(path)}, path)
    save_file(right, folder / "model.safetensors")
    vector = F2LLM(folder, dtype="float32").encode_document("a")
    assert (vector == encoder.encode_document("a")).all()


def test_both_styles_of_keys_in_one_file_are_refused(tmp_path):
    def edit(tensors):
        return tensors | {"model.norm.weight": tensors["norm.weight"] * -1}

    folder = rewrite(copy_model(tmp_path / "m"), edit)
    with pytest.raises(ModelLoadError, match=r"there twice: norm\.weight"):
        read(folder)


def test_the_reference_backend_is_as_strict(tmp_path):
    def edit(tensors):
        return {name: tensor for name, tensor in tensors.items() if "layers.1.mlp" not in name}

    folder = rewrite(copy_model(tmp_path / "m"), edit)
    with pytest.raises(ModelLoadError, match=r"missing: layers\.1\.mlp"):
        F2LLM(folder, backend="sentence-transformers").encode_document("a")


def test_an_unused_output_head_is_ignored(tmp_path):
    folder = rewrite(copy_model(tmp_path / "m"), lambda t: t | {"lm_head.weight": torch.zeros(1)})
    assert "lm_head.weight" not in read(folder)


def test_each_missing_tensor_is_named(tmp_path, checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    folder = copy_model(tmp_path / "m")
    for name in tensors:
        kept = {key: tensor for key, tensor in tensors.items() if key != name}
        save_file(kept, folder / "model.safetensors")
        with pytest.raises(ModelLoadError, match=f"missing: {name}"):
            read(folder)


def test_extra_and_misshapen_tensors_are_named_together(tmp_path):
    def edit(tensors):
        return tensors | {"norm.weight": torch.ones(63), "score.weight": torch.ones(2)}

    folder = rewrite(copy_model(tmp_path / "m"), edit)
    expected = (
        r"unexpected: score\.weight; of another shape: norm\.weight \(63,\), expected \(64,\)"
    )
    with pytest.raises(ModelLoadError, match=expected):
        read(folder)


def test_quantised_weights_are_refused(tmp_path):
    folder = rewrite(
        copy_model(tmp_path / "m"), lambda t: {n: x.to(torch.int8) for n, x in t.items()}
    )
    with pytest.raises(ModelLoadError, match=r"unsupported dtype: .* torch\.int8"):
        read(folder)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "HTML page"),
        (b"", "holds 0 bytes"),
        (b"\x80\x04\x95", "truncated or damaged"),
    ],
)
def test_a_file_that_is_no_safetensors_is_named_with_the_likely_cause(tmp_path, content, cause):
    folder = copy_model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadError, match=rf"model\.safetensors.*{cause}"):
        read(folder)


def test_a_missing_shard_is_named(tmp_path):
    folder = shard(copy_model(tmp_path / "m"))
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="model-00002-of-00003"):
        read(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:\\model.safetensors",
        "pytorch_model.bin",
        "",
        "..",
    ],
)
def test_an_index_cannot_reach_outside_its_folder(tmp_path, name):
    folder = shard(copy_model(tmp_path / "m"))
    copy_model(tmp_path / "other")
    point_index_at(folder, name)
    with pytest.raises(ModelLoadError, match=r"only \.safetensors files beside it"):
        read(folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": 3}', "[]", "{"])
def test_a_damaged_index_is_named(tmp_path, content):
    folder = shard(copy_model(tmp_path / "m"))
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"index\.json"):
        read(folder)
