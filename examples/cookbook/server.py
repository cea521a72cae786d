"""A small server of embeddings with OpenAI's `/v1/embeddings`, and usual mistakes in starting one.

    python examples/cookbook/server.py models/f2llm-demo [--no-eos] [--pooling mean]

For the notebook `06_local_and_remote.ipynb`. transformers runs the model, one text at a time, so
nothing of f2llm is on this side. It takes any free port of this machine and prints its address
when it is ready. For servers to be used in earnest see `docs/servers.md`.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

POOLING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(dim=0),
}


class Model:
    """Makes vectors of whole texts; prompts are the client's part."""

    def __init__(self, folder: Path, pooling: str, *, eos: bool) -> None:
        """Load a checkpoint in float32.

        Args:
            folder: Where it is.
            pooling: Of `POOLING`.
            eos: Whether the tokenizer ends each text with the EOS, as the models were trained.
        """
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._network = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._pool = POOLING[pooling]
        self._eos = eos
        self._one_at_a_time = threading.Lock()

    def embed(self, text: str) -> list[float]:
        """Return the vector of a text, at full width."""
        ids = self._tokenizer.encode(text, add_special_tokens=self._eos).ids
        with self._one_at_a_time, torch.inference_mode():
            states = self._network(torch.tensor([ids])).last_hidden_state[0]
        row: list[float] = self._pool(states).tolist()
        return row


class Handler(BaseHTTPRequestHandler):
    """Answers `POST /v1/embeddings` with a vector for each text."""

    protocol_version = "HTTP/1.1"
    model: Model

    def do_POST(self) -> None:
        """Embed the texts of the request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/embeddings":
            self._say(404, {"error": {"message": f"there is no {self.path} here"}})
            return
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        rows = [
            {"object": "embedding", "index": index, "embedding": self.model.embed(text)}
            for index, text in enumerate(texts)
        ]
        self._say(200, {"object": "list", "model": asked["model"], "data": rows})

    def do_GET(self) -> None:
        """Refuse: there is nothing to get."""
        self._say(404, {"error": {"message": f"there is no {self.path} here"}})

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _say(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a checkpoint")
    parser.add_argument("--no-eos", action="store_true", help="a mistake: texts without the EOS")
    parser.add_argument("--pooling", choices=POOLING, default="last", help="mean is a mistake")
    given = parser.parse_args()
    Handler.model = Model(given.folder, given.pooling, eos=not given.no_eos)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
