"""A small hub on this machine's loopback, for tests of downloading."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """What a hub answers for repositories of the same files.

    Attributes:
        status: Answer everything with this status instead, or None.
        error_code: The hub's own word that goes with the status.
        error_message: The hub's own words; `{authorization}` is replaced by what was sent.
        requests: `(path, authorization)` of all requests so far.
    """

    def __init__(self, folder, commits):
        """Serve a folder under several names.

        Args:
            folder: Holds the files.
            commits: The commit of each repository.
        """
        self.status, self.error_code, self.error_message, self.requests = None, "", "", []
        self._commits = commits
        self._folder = folder
        self._files = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )

    def answer(self, path, authorization):
        """Return status, headers and body for a path."""
        self.requests.append((path, authorization))
        if self.status is not None:
            said = self.error_message.format(authorization=authorization)
            return self.status, {"X-Error-Code": self.error_code, "X-Error-Message": said}, b"{}"
        parts = path.split("?")[0].strip("/").split("/")
        if parts[0] != "api":
            body = (self._folder / "/".join(parts[4:])).read_bytes()
            commit = self._commits["/".join(parts[:2])]
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
        info = {"_id": "1", "id": repo, "sha": self._commits[repo], "siblings": siblings}
        return 200, {}, json.dumps(info).encode()


def _digest(body):
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()  # as git names a file


def serve(hub):
    """Start serving; return the server, whose port is `server_port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = hub.answer(self.path, self.headers.get("authorization"))
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


def use_hub(server, cache, monkeypatch):
    """Send the hub client to a server, with an empty cache of its own."""
    from huggingface_hub import constants

    here = f"http://127.0.0.1:{server.server_port}"
    files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
