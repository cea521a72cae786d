"""Downloading, against a small hub of our own on this machine's loopback."""

from __future__ import annotations

import pytest

from f2llm_core import F2LLM, MODELS, ModelNotFoundError
from f2llm_core.testing import tiny_checkpoint
from local_hub import Hub, serve, use_hub

SPEC = MODELS["80M"]
PREVIEW = "codefuse-ai/F2LLM-v2-80M-Preview"
TOKEN = "hf_sentinel"


@pytest.fixture
def hub(tmp_path, monkeypatch, socket_enabled):
    folder = tiny_checkpoint(tmp_path / "files", width=SPEC.width, layers=SPEC.layers)
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    hub = Hub(folder, {SPEC.repo_id: SPEC.revision, PREVIEW: "1" * 40})
    server = serve(hub)
    use_hub(server, tmp_path / "cache", monkeypatch)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("model", ["80M", PREVIEW])
def test_what_was_downloaded_once_is_found_again_without_the_hub(hub, model):
    vector = F2LLM(model, dtype="float32").encode_query("a")
    hub.status = 503
    again = F2LLM(model, dtype="float32")
    offline = F2LLM(model, dtype="float32", local_files_only=True)
    for encoder in (again, offline):
        assert (encoder.encode_query("a") == vector).all()


def test_a_pinned_snapshot_asks_the_hub_nothing(hub):
    F2LLM("80M").encode_query("a")
    hub.requests.clear()
    F2LLM("80M").encode_query("a")
    assert hub.requests == []


def test_the_pinned_commit_is_asked_for_and_only_the_files_needed(hub):
    F2LLM("80M").encode_query("a")
    files = [path for path, _ in hub.requests if "/resolve/" in path]
    assert files
    assert all(SPEC.revision in path for path in files)
    assert not any(path.endswith((".bin", ".md")) for path in files)


def test_the_token_is_sent(hub):
    F2LLM("80M", token=TOKEN).encode_query("a")
    assert {authorization for _, authorization in hub.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "RepoNotFound", "knows no .* or keeps it private"),
        (401, "RepoNotFound", "knows no .* or keeps it private"),
        (404, "RevisionNotFound", "has no revision"),
        (403, "GatedRepo", "granted access only: pass `token`"),
        (500, "", "not in the local cache and it could not be downloaded .*500"),
        (429, "", "not in the local cache and it could not be downloaded"),
    ],
)
def test_each_refusal_says_what_it_is_and_shows_no_token(hub, status, code, expected):
    hub.status, hub.error_code = status, code
    with pytest.raises(ModelNotFoundError, match=expected) as caught:
        F2LLM(PREVIEW, token=TOKEN).encode_query("a")
    assert TOKEN not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_a_repository_that_was_withdrawn_is_not_served_from_the_cache(hub):
    F2LLM(PREVIEW).encode_query("a")
    hub.status, hub.error_code = 404, "RepoNotFound"
    with pytest.raises(ModelNotFoundError, match="knows no"):
        F2LLM(PREVIEW).encode_query("a")
