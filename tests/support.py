"""What several test modules need without being fixtures."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from f2llm_core.backends.local import LocalBackend
from f2llm_core.testing import tiny_checkpoint

#: A value for every option of the core that is not its default.
OTHER_OPTIONS: dict[str, Any] = {
    "model": "0.6B",
    "revision": "main",
    "dimensions": 128,
    "task": "code",
    "instruction": "Find it.",
    "document_instruction": "Represent it.",
    "max_length": 99,
    "on_truncate": "error",
    "backend": "sentence-transformers",
    "device": "cpu",
    "dtype": "float32",
    "max_batch_tokens": 77,
    "local_files_only": True,
    "cache": "/a/folder",
    "cache_max_bytes": 10**6,
    "token": "hf_secret",
    "base_url": "http://host",
    "server_model": "name",
    "timeout": 7.5,
    "max_retries": 0,
    "api_key": "secret",
}

#: What goes with an option that is for servers only.
NEEDED_OPTIONS: dict[str, dict[str, Any]] = {
    name: {"base_url": "http://host"} for name in ("server_model", "api_key")
}


@cache
def tiny_model() -> str:
    """Return the folder of a tiny random model, written once per test run."""
    folder = tempfile.mkdtemp(prefix="f2llm-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(tiny_checkpoint(Path(folder) / "model"))


def copy_model(target: Path, **config: object) -> Path:
    """Copy the tiny model to `target`, with fields of its `config.json` replaced; return it."""
    shutil.copytree(tiny_model(), target)
    if config:
        edit_json(target / "config.json", **config)
    return target


def edit_json(path: Path, **fields: object) -> None:
    """Replace fields of a JSON object in a file; a field set to `...` is removed."""
    content = json.loads(path.read_text(encoding="utf-8")) | fields
    kept = {key: value for key, value in content.items() if value is not ...}
    path.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")


@contextmanager
def gate(backend: LocalBackend) -> Iterator[Callable[[int], None]]:
    """Stop a model's worker, and yield a function that waits until so many jobs are queued.

    What queues meanwhile stands in as few batches as the budget allows, however fast the machine.
    """
    worker = backend._worker

    def wait_for_queue(jobs: int) -> None:
        until = time.monotonic() + 30  # a guard; a passing test never waits so long
        while len(worker._short) + len(worker._long) < jobs:
            assert time.monotonic() < until, f"{len(worker._short)} of {jobs} jobs came"
            time.sleep(0.001)

    worker.pause()
    try:
        yield wait_for_queue
    finally:
        worker.resume()
