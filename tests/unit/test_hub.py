"""Finding models without network: pytest-socket forbids it, so whatever passes here needs none."""

import hashlib
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from f2llm_core import F2LLM, MODELS, ConfigurationError, ModelLoadError, ModelNotFoundError
from f2llm_core.engine.hub import FILES, fetch, identify
from f2llm_core.testing import tiny_checkpoint
from support import copy_model

SPEC = MODELS["80M"]


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache, repo_id, commit, *, branch=None):
    """Lay a snapshot out as the hub client does; return its folder."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    if branch is not None:
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / branch).write_text(commit)
    return snapshot


def fetched(source, **options):
    return fetch(source, **{"local_files_only": False, "token": None} | options)


def test_released_sizes_are_pinned():
    for name in ("0.6B", "codefuse-ai/F2LLM-v2-0.6B", "codefuse-ai/f2llm-v2-0.6b"):
        source = identify(name)
        assert source.name == "codefuse-ai/F2LLM-v2-0.6B"
        assert source.revision == MODELS["0.6B"].revision
    assert identify("0.6B", "main").revision == "main"


def test_other_repositories_are_not_pinned():
    source = identify("codefuse-ai/F2LLM-v2-4B-Preview")
    assert (source.spec, source.revision, source.folder) == (None, None, None)


def test_a_folder_is_a_model(checkpoint):
    assert identify(checkpoint).folder == checkpoint
    assert identify(str(checkpoint)).folder == checkpoint


@pytest.mark.parametrize("model", ["7B", "no-such-folder", "./no/such/folder", "/no/such", "a/b/c"])
def test_what_can_be_no_model_is_refused_at_once(model):
    with pytest.raises(ModelNotFoundError, match=r"80M, 160M.*owner/name.*folder /"):
        F2LLM(model)


@pytest.mark.parametrize("model", [None, 3, b"80M", ""])
def test_what_names_nothing_is_refused(model):
    with pytest.raises(ConfigurationError, match="model="):
        F2LLM(model)


@pytest.mark.parametrize("model", ["a" * 5000, "~nobody-of-that-name/model"])
def test_what_cannot_even_be_looked_for_is_refused(model):
    with pytest.raises(ModelNotFoundError, match="cannot be looked for as a folder"):
        F2LLM(model)


def test_a_path_is_a_folder_and_no_short_name():
    with pytest.raises(ModelNotFoundError, match=r"no folder .*80M\. .* as a str"):
        F2LLM(Path("80M"))


def test_a_folder_that_may_not_be_read_is_refused(checkpoint, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(ModelLoadError, match=r"cannot be read .*Permission denied"):
        F2LLM(checkpoint)


def test_a_folder_has_no_revision(checkpoint):
    with pytest.raises(ConfigurationError, match="local folder"):
        F2LLM(checkpoint, revision="main")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_no_model(tmp_path, name):
    folder = copy_model(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=name):
        F2LLM(folder)


@pytest.mark.parametrize(
    ("sign", "way_out"),
    [
        ("adapter_config.json", "merge it into its model"),
        ("snapshots", "pass the hub id"),
        ("0_Transformer", "save it again"),
    ],
)
def test_what_is_often_taken_for_a_model_has_a_way_out(tmp_path, sign, way_out):
    (tmp_path / sign).mkdir()
    with pytest.raises(ModelLoadError, match=rf"config\.json is missing\. .*{way_out}"):
        F2LLM(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelLoadError, match=r"config\.json is missing\.$"):
        F2LLM(tmp_path)


def test_an_unreachable_hub_and_an_empty_cache_are_one_error_with_the_way_out(hub_cache):
    expected = (
        rf"{SPEC.repo_id} is not in the local cache and it could not be downloaded.*"
        rf"hf download {SPEC.repo_id} --revision {SPEC.revision}.*pass that folder"
    )
    with pytest.raises(ModelNotFoundError, match=expected):
        F2LLM("80M").encode_query("a")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_mode_says_so(hub_cache, monkeypatch, how):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "environment")
    encoder = F2LLM("80M", local_files_only=how == "argument")
    with pytest.raises(ModelNotFoundError, match="offline mode"):
        encoder.encode_query("a")


def test_a_pinned_snapshot_in_the_cache_needs_no_network(hub_cache):
    snapshot = put_in_cache(hub_cache, SPEC.repo_id, SPEC.revision)
    tiny_checkpoint(snapshot, width=SPEC.width, layers=SPEC.layers)
    assert fetched(identify("80M")) == snapshot
    encoder = F2LLM("80M")
    assert encoder.dimensions == 320
    assert encoder.encode_query("a").shape == (320,)


def test_another_revision_is_not_taken_for_the_pinned_one(hub_cache):
    snapshot = put_in_cache(hub_cache, SPEC.repo_id, "0" * 40, branch="main")
    tiny_checkpoint(snapshot, width=SPEC.width, layers=SPEC.layers)
    with pytest.raises(ModelNotFoundError):
        fetched(identify("80M"))
    assert fetched(identify("80M", "main")) == snapshot


def test_an_unpinned_repository_is_taken_from_the_cache_when_the_hub_is_silent(hub_cache):
    snapshot = put_in_cache(hub_cache, "someone/their-model", "1" * 40, branch="main")
    tiny_checkpoint(snapshot)
    assert fetched(identify("someone/their-model")) == snapshot
    assert fetched(identify("someone/their-model"), local_files_only=True) == snapshot
    assert F2LLM("someone/their-model").dimensions == 64


def test_an_incomplete_snapshot_is_not_used(hub_cache):
    snapshot = put_in_cache(hub_cache, SPEC.repo_id, SPEC.revision)
    tiny_checkpoint(snapshot, width=SPEC.width, layers=SPEC.layers)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="not in the local cache"):
        fetched(identify("80M"))


def test_cached_files_of_another_model_are_refused(hub_cache):
    snapshot = put_in_cache(hub_cache, SPEC.repo_id, SPEC.revision)
    tiny_checkpoint(snapshot, width=64)
    with pytest.raises(ModelLoadError, match=r"2 layers of width 64; .* has 8 of 320"):
        F2LLM("80M").encode_query("a")


def test_pickled_weights_are_never_asked_for():
    assert not any(name.endswith((".bin", ".pt", "*")) for name in FILES)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "model.pkl"])
def test_a_folder_with_pickled_weights_only_is_refused_with_the_reason(tmp_path, name):
    folder = copy_model(tmp_path / "m")
    shutil.move(folder / "model.safetensors", folder / name)
    with pytest.raises(ModelLoadError, match=rf"pickled weights only \({name}\).*refused"):
        F2LLM(folder)


def name_by(checksum):
    """Return how the hub's cache names a file of this content."""
    return {
        "sha256": lambda data: hashlib.sha256(data).hexdigest(),
        "git": lambda data: hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
        "sha1": lambda data: hashlib.sha1(data).hexdigest(),
    }[checksum]


def link_to_blob(folder, file_name, name, *, blobs="blobs"):
    """Move a file of a snapshot to the blobs, as the hub client keeps it."""
    path = folder / file_name
    blob = folder.parent / blobs / name
    blob.parent.mkdir(exist_ok=True)
    path.rename(blob)
    path.symlink_to(f"../{blobs}/{name}")
    return blob


@pytest.mark.parametrize("file_name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("checksum", ["sha256", "git", "sha1"])
def test_a_cached_file_is_what_its_checksum_says(tmp_path, checksum, file_name):
    folder = copy_model(tmp_path / "snapshot")
    data = (folder / file_name).read_bytes()
    blob = link_to_blob(folder, file_name, name_by(checksum)(data))
    vector = F2LLM(folder).encode_document("a")
    blob.write_bytes(bytes([*data[:-3], data[-3] ^ 1, *data[-2:]]))
    with pytest.raises(ModelLoadError, match=rf"{file_name} is not what was .* Delete {blob}"):
        F2LLM(folder).encode_document("a")
    blob.write_bytes(data)
    assert (F2LLM(folder).encode_document("a") == vector).all()


@pytest.mark.parametrize("name", ["0" * 39, "weights", "0" * 64 + "-gzip", "G" * 40])
def test_a_blob_whose_name_is_no_checksum_is_taken(tmp_path, name):
    folder = copy_model(tmp_path / "snapshot")
    link_to_blob(folder, "model.safetensors", name)
    assert F2LLM(folder).encode_document("a").shape == (64,)


def test_a_link_out_of_the_cache_is_taken_whatever_its_name(tmp_path):
    folder = copy_model(tmp_path / "snapshot")
    link_to_blob(folder, "model.safetensors", "0" * 64, blobs="weights")
    assert F2LLM(folder).encode_document("a").shape == (64,)
