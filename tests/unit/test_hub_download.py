"""Downloading, against a small hub of our own on this machine's loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from f2llm_core import F2LLM, MODELS, ModelNotFoundError
from f2llm_core.testing import tiny_checkpoint

SPEC = MODELS["80M"]
PREVIEW = "codefuse-ai/F2LLM-v2-80M-Preview"
TOKEN = "hf_sentinel"


class Hub:
    """What a hub answers for two repositories of the same files.

    Attributes:
        status: Answer everything with this status instead, or None.
        error_code: The hub's own word that goes with the status.
        requests: `(path, authorization)` of all requests so far.
    """

    def __init__(self, folder):
        self.status, self.error_code, self.requests = None, "", []
        self.commits = {SPEC.repo_id: SPEC.revision, PREVIEW: "1" * 40}
        self._folder = folder
        self._files = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )

    def answer(self, path):
        """Return status, headers and body for a path."""
        if self.status is not None:
            return self.status, {"X-Error-Code": self.error_code}, b"{}"
        parts = path.split("?")[0].strip("/").split("/")
        if parts[0] != "api":
            body = (self._folder / "/".join(parts[4:])).read_bytes()
            commit = self.commits["/".join(parts[:2])]
            return 200, {"X-Repo-Commit": commit, "ETag": f'"{_digest(body)}"'}, body
        repo = "/".join(parts[2:4])
        if "tree" in parts:
            listing = [
                {"type": "file", "path": name, "size": len(body), "oid": _digest(body)}
                for name in self._files
                for body in [(self._folder / name).read_bytes()]
            ]
            return 200, {}, json.dumps(listing).encode()
        siblings = [{"rfilename": name} for name in self._files]
        info = {"_id": "1", "id": repo, "sha": self.commits[repo], "siblings": siblings}
        return 200, {}, json.dumps(info).encode()


def _digest(body):
    return hashlib.sha1(body).hexdigest()


def serve(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            hub.requests.append((self.path, self.headers.get("authorization")))
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  (the base class's name)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def hub(tmp_path, monkeypatch, socket_enabled):
    folder = tiny_checkpoint(tmp_path / "files", width=SPEC.width, layers=SPEC.layers)
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    hub = Hub(folder)
    server = serve(hub)
    here = f"http://127.0.0.1:{server.server_port}"
    files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
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
