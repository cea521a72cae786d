"""llama.cpp's OpenAI-compatible server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from f2llm_core import F2LLM

PYTHON = os.environ.get("LLAMA_CPP_PYTHON", "")
_CONTEXT = 4096  # tokens; the doctor sends a text of more than 2048
_SECONDS_TO_START = 120
_SECONDS_TO_END = 10


@dataclass(frozen=True)
class Served:
    """A model behind a server.

    Attributes:
        folder: Its checkpoint.
        gguf: The file made of it, float16.
        url: Base URL.
        local: The same model in this process, float32.
    """

    folder: Path
    gguf: Path
    url: str
    local: F2LLM


@contextmanager
def serve(gguf: Path, *overrides: str, context: int = _CONTEXT) -> Iterator[str]:
    """Serve a model file, as `docs/servers.md` says.

    Args:
        gguf: From `write_gguf`.
        overrides: Metadata of the file to replace, for example
            `"tokenizer.ggml.add_eos_token=bool:false"`.
        context: Tokens that fit; a longer text loses its tail, the EOS with it.

    Yields:
        The base URL, without `/v1`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = gguf.with_name(f"server-{port}.log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(PYTHON, "-m", "llama_cpp.server", "--model", gguf, "--model_alias", gguf.stem),
                *("--host", "127.0.0.1", "--port", str(port), "--embedding", "true"),
                *("--n_ctx", str(context), "--n_batch", str(context), "--verbose", "false"),
                *("--n_threads", "1", "--n_threads_batch", "1"),  # those that wait spin
                *(part for override in overrides for part in ("--kv_overrides", override)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            if httpx.get(f"{url}/v1/models").is_success:
                return
        except httpx.TransportError:
            pass
        said = log.read_text("utf-8", errors="replace")
        assert process.poll() is None, f"the server ended: {said}"
        assert time.monotonic() < until, f"the server did not start: {said}"
        time.sleep(0.2)
