"""A small server of embeddings with OpenAI's `/v1/embeddings`, and usual mistakes in starting one.

    python examples/cookbook/server.py models/f2llm-demo right no-eos mean-pooling

serves the model in each of these ways at an address of its own, on free ports of this machine, and
prints the addresses when it is ready. It is for the notebook `06_local_and_remote.ipynb`; for
servers to be used in earnest see `docs/servers.md`. transformers runs the model, one text at a
time, so nothing of f2llm is on this side.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

WAYS = ("right", "no-eos", "mean-pooling")


class Model:
    """Makes vectors of whole texts, rightly or not; prompts are the client's part."""

    def __init__(self, folder: Path) -> None:
        """Load a checkpoint in float32."""
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._network = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._one_at_a_time = threading.Lock()

    def embed(self, way: str, text: str) -> list[float]:
        """Return the vector of a text, at full width and not normalised.

        Args:
            way: Of `WAYS`. The models were trained with an EOS at the end of each text and take
                the last token's state, which is then the EOS's.
            text: With whatever prompt it needs.
        """
        ids = self._tokenizer.encode(text, add_special_tokens=way != "no-eos").ids
        with self._one_at_a_time, torch.inference_mode():
            states = self._network(torch.tensor([ids])).last_hidden_state[0]
        row: list[float] = (states.mean(dim=0) if way == "mean-pooling" else states[-1]).tolist()
        return row


class Handler(BaseHTTPRequestHandler):
    """Answers `POST /v1/embeddings` with a vector for each text."""

    protocol_version = "HTTP/1.1"

    def __init__(self, embed: Callable[[str], list[float]], *connection: Any) -> None:  # noqa: ANN401
        """Answer what comes from a connection."""
        self._embed = embed
        super().__init__(*connection)

    def do_POST(self) -> None:
        """Embed the texts of the request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/embeddings":
            self._say(404, {"error": {"message": f"there is no {self.path} here"}})
            return
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        rows = [
            {"object": "embedding", "index": index, "embedding": self._embed(text)}
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
    parser.add_argument("ways", nargs="+", choices=WAYS, help="each gets an address")
    given = parser.parse_args()
    model = Model(given.folder)
    for way in given.ways:
        handler = partial(Handler, partial(model.embed, way))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)


if __name__ == "__main__":
    main()
