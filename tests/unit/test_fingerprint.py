"""What tells one model's rows from another's."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from f2llm_core import F2LLM, ConfigurationError, FingerprintError
from f2llm_core.engine import contents
from f2llm_core.engine.contents import file_versions
from f2llm_core.engine.hub import ModelSource, identify
from f2llm_core.fingerprint import (
    Comparison,
    Fingerprint,
    ModelIdentity,
    compare,
    model_identity,
)
from f2llm_core.options import LoadOptions
from support import copy_model, edit_json

COMMIT = "0123456789abcdef" * 2 + "01234567"


def identity_of(folder, **options):
    options = LoadOptions(folder, **({"dtype": "float32"} | options))
    return model_identity(identify(folder), Path(folder), options)


def test_a_snapshot_is_named_by_its_commit():
    source = ModelSource("owner/name", None, "main", None)
    options = LoadOptions("owner/name", dtype="bfloat16")
    assert model_identity(source, Path("snapshots") / COMMIT, options) == ModelIdentity(
        f"owner/name@{COMMIT}", "local", "bfloat16", "cpu"
    )
    assert file_versions(source) == ()


def test_a_folder_is_named_by_its_contents(tmp_path):
    first = identity_of(copy_model(tmp_path / "a"))
    assert first.model.startswith("sha256:")
    assert identity_of(copy_model(tmp_path / "b")) == first
    (tmp_path / "b" / "README.md").write_text("not read by the model")
    assert identity_of(tmp_path / "b") == first
    # A folder that looks like a snapshot is a folder still.
    assert identity_of(shutil.copytree(tmp_path / "a", tmp_path / COMMIT)) == first


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_every_decisive_file_counts(tmp_path, name):
    folder = copy_model(tmp_path / "model")
    before = identity_of(folder), file_versions(identify(folder))
    if (folder / name).exists():
        edit_json(folder / name, something=1)
    else:
        (folder / name).write_text("{}")
    assert identity_of(folder) != before[0]
    assert file_versions(identify(folder)) != before[1]


def test_one_bit_of_the_weights_counts(tmp_path):
    folder = copy_model(tmp_path / "model")
    before = identity_of(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert identity_of(folder) != before


def test_a_file_put_in_the_place_of_another_is_noticed(tmp_path):
    folder = copy_model(tmp_path / "model")
    before = identity_of(folder), file_versions(identify(folder))
    path, other = folder / "model.safetensors", tmp_path / "other"
    stat, weights = path.stat(), bytearray(path.read_bytes())
    weights[-1] ^= 1
    other.write_bytes(weights)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(other, path)
    assert file_versions(identify(folder)) != before[1]
    assert identity_of(folder) != before[0]


def test_another_size_is_noticed_at_the_same_time_of_change(tmp_path):
    folder = copy_model(tmp_path / "model")
    before = identity_of(folder), file_versions(identify(folder))
    path = folder / "config.json"
    stat = path.stat()
    edit_json(path, something=1)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_ino == stat.st_ino
    assert file_versions(identify(folder)) != before[1]
    assert identity_of(folder) != before[0]


def test_precision_and_backend_count_and_auto_is_resolved(checkpoint, monkeypatch):
    import torch

    from f2llm_core.engine import device

    full = identity_of(checkpoint)
    assert full != identity_of(checkpoint, dtype="bfloat16")
    assert full != identity_of(checkpoint, backend="sentence-transformers")
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(device, "choose_dtype", lambda *_, dtype=dtype: dtype)
        name = str(dtype).removeprefix("torch.")
        assert identity_of(checkpoint, dtype="auto").dtype == name
        assert identity_of(checkpoint, dtype="int8").dtype == f"int8/{name}"


def test_a_device_that_is_not_there_is_said(checkpoint):
    with pytest.raises(ConfigurationError, match="not available"):
        identity_of(checkpoint, device="nosuch")


def test_files_are_read_once_while_they_are_the_same(tmp_path, monkeypatch):
    folder = copy_model(tmp_path / "model")
    first = identity_of(folder)
    opened = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self.name))
    assert identity_of(folder) == first
    assert opened == []
    monkeypatch.undo()
    os.utime(folder / "config.json", ns=(1, 1))
    read = []
    hashing = contents.hashlib.sha256
    monkeypatch.setattr(contents.hashlib, "sha256", lambda *a: read.append(1) or hashing(*a))
    assert identity_of(folder) == first  # touched, but equal
    assert len(read) == 2  # the file, and the whole


class TestFingerprint:
    def test_it_survives_json(self, encoder):
        mine = encoder.fingerprint
        assert Fingerprint.from_dict(json.loads(json.dumps(mine.to_dict()))) == mine

    def test_it_says_what_is_used(self, checkpoint):
        model = F2LLM(checkpoint, dtype="float32", dimensions=32, task="sts", max_length=99)
        found = model.fingerprint
        assert found.model == identity_of(checkpoint).model
        assert (found.name, found.dimensions, found.max_length) == ("model", 32, 99)
        assert found.document_prompt == found.query_prompt == model.prompts.document
        assert (found.pooling, found.dtype, found.backend) == ("last token", "float32", "local")
        assert found.eos == model._backend.checkpoint.tokenizer.eos_id
        assert model.stats.passes == 0

    def test_it_is_the_same_wherever_the_folder_is_and_behind_a_cache(self, checkpoint, tmp_path):
        mine = F2LLM(checkpoint, dtype="float32").fingerprint
        other = F2LLM(copy_model(tmp_path / "b"), dtype="float32", cache=tmp_path / "c").fingerprint
        assert compare(mine, other).level == "same"
        assert str(tmp_path) not in json.dumps(other.to_dict())

    def test_the_worst_difference_counts_and_all_are_named(self, encoder):
        mine = encoder.fingerprint
        found = compare(mine, replace(mine, query_prompt="x"))
        assert (found.level, found.fields) == ("informational", ("query_prompt",))
        found = compare(mine, replace(mine, query_prompt="x", dtype="int8/float32"))
        assert (found.level, found.fields) == ("warning", ("dtype", "query_prompt"))
        found = compare(mine, replace(mine, query_prompt="x", dimensions=8), "The index")
        assert (found.level, found.fields) == ("refused", ("dimensions", "query_prompt"))
        assert found.message.startswith("The index was made with dimensions 8, this model has 64 (")
        assert "pass dimensions=8" in found.message
        assert compare(mine, mine) == Comparison("same", (), "")

    @pytest.mark.parametrize("damage", [{"eos": None}, {"eos": "2"}, {"eos": True}, {"model": 1}])
    def test_what_cannot_be_read_is_said(self, encoder, damage):
        with pytest.raises(FingerprintError, match=f"not readable: {next(iter(damage))}"):
            Fingerprint.from_dict(encoder.fingerprint.to_dict() | damage)

    @pytest.mark.parametrize("wrong", [[], None, "{}"])
    def test_what_is_no_mapping_is_said_too(self, wrong):
        with pytest.raises(FingerprintError, match="not readable: name, model"):
            Fingerprint.from_dict(wrong)
