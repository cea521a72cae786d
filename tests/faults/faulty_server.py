"""A server of embeddings on this machine's loopback that does what a script says."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from f2llm_core import F2LLM

#: What a script may answer with besides bytes and seconds to wait.
RESET, CLOSE = object(), object()

WIDTH = 64  # of the tiny model


@dataclass(frozen=True)
class Request:
    """What a client sent.

    Attributes:
        number: How many came before it.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int

    @property
    def texts(self) -> list[str]:
        return json.loads(self.body)["input"]


Script = Callable[[Request], Iterable[object]]


@dataclass
class Server:
    """A server while it runs.

    Attributes:
        script: Answers `POST /v1/embeddings`: yields bytes to send, seconds to wait, or how to end.
        models: What `GET /v1/models` lists; None for a server without that path.
        list_status: What it answers then.
        requests: All requests so far.
        most_at_once: Of requests for embeddings.
    """

    script: Script
    models: list[str] | None = None
    list_status: int = 200
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._at_once = 0
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> Iterator[object]:
        with self._lock:
            request = Request(method, path, headers, body, len(self.posts))
            self.requests.append(request)
        if method == "GET":
            listed = {"data": [{"id": name} for name in self.models or []]}
            status = 404 if self.models is None else self.list_status
            yield from reply(listed if status == 200 else {}, status)
            return
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield from self.script(request)
        finally:
            with self._lock:
                self._at_once -= 1


@contextlib.contextmanager
def running(script: Script, models: list[str] | None = None) -> Iterator[Server]:
    """Serve a script; `url` is where."""
    server = Server(script, models)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client may leave
                while self._one():
                    pass

        def _one(self) -> bool:
            words = self.rfile.readline().split()
            if len(words) != 3:
                return False
            headers = {}
            while line := self.rfile.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.strip().lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            for step in server.answer(words[0].decode(), words[1].decode(), headers, body):
                if step is RESET:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return False
                if step is CLOSE or server.stopping.is_set():
                    return False
                if isinstance(step, (int, float)):
                    server.stopping.wait(step)
                else:
                    self.wfile.write(step)
            return True

    class Sockets(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Sockets(("127.0.0.1", 0), Handler) as sockets:
        server.url = f"http://127.0.0.1:{sockets.server_address[1]}"
        thread = threading.Thread(target=sockets.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            sockets.shutdown()


def reply(document: object, status: int = 200, **headers: str) -> list[bytes]:
    """Return a whole answer; bytes are sent as they are, anything else as JSON."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return [f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body]


def vector_of(text: str, width: int = WIDTH) -> np.ndarray:
    """Return the vector that a right server gives for a text."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return rng.standard_normal(width).astype(np.float32)


def items(texts: list[str], width: int = WIDTH) -> list[dict[str, object]]:
    """Return the embeddings of a right answer, one object for each text."""
    return [
        {"object": "embedding", "index": index, "embedding": vector_of(text, width).tolist()}
        for index, text in enumerate(texts)
    ]


def answer(request: Request, **changes: object) -> list[bytes]:
    """Return a right answer, with some of its fields replaced."""
    model = json.loads(request.body)["model"]
    right = {"object": "list", "model": model, "data": items(request.texts)}
    return reply(right | changes)


def serving(encoder: F2LLM) -> Script:
    """Return the script of a server that runs a model as it should: whole prompts, no more."""
    plain = encoder.with_options(task=None, instruction="", document_instruction="")

    def script(request: Request) -> list[bytes]:
        rows = plain.encode_document(request.texts)
        data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
        return reply({"model": json.loads(request.body)["model"], "data": data})

    return script
