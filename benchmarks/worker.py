"""The child process: one engine, loaded with the first job that needs it, jobs over a pipe.

    python -m benchmarks.worker FILE_DESCRIPTOR ENGINE FOLDER

Started by `benchmarks.process`; every answer is `(True, result)` or `(False, message)`.
"""

from __future__ import annotations

import resource
import sys
import time
import traceback
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checking import Call, Rows, call_at_once
from benchmarks.engines import ENGINES, Embedder


class Session:
    """The jobs; each public method is one."""

    def __init__(self, engine: str, folder: Path) -> None:
        """Name an engine and a checkpoint; nothing is loaded yet."""
        self._engine = ENGINES[engine]
        self._folder = folder

    @cached_property
    def _embedder(self) -> Embedder:
        return self._engine.load(self._folder)

    def dtype(self) -> str:
        """Load, and return the precision of the matrix products."""
        return self._embedder.dtype

    def documents(self, texts: list[str], batch_size: int) -> tuple[float, Rows]:
        """Return seconds for all texts in one call, and the vectors."""
        embedder = self._embedder
        start = time.perf_counter()
        rows = embedder.documents(texts, batch_size)
        return time.perf_counter() - start, np.asarray(rows, dtype=np.float32)

    def queries(self, texts: list[str]) -> tuple[list[float], Rows]:
        """Return seconds of each text, asked one after the other, and the vectors."""
        embedder = self._embedder
        seconds, rows = [], []
        for text in texts:
            start = time.perf_counter()
            row = embedder.query(text)
            seconds.append(time.perf_counter() - start)
            rows.append(row)
        return seconds, np.asarray(rows, dtype=np.float32)

    def at_once(self, texts: list[str], threads: int) -> tuple[float, list[Call]]:
        """Return what `call_at_once` makes of the texts as queries."""
        return call_at_once(self._embedder.query, texts, threads)

    def memory(self) -> tuple[int, int]:
        """Return resident memory now and at its peak, in bytes."""
        return _resident()

    def ceiling(self) -> dict[str, dict[str, Any]]:
        """Return the speed of the matrix products alone; loads no model."""
        from benchmarks.flops import measure_ceiling
        from f2llm_core.engine.config import read_config

        return measure_ceiling(read_config(self._folder / "config.json"))


def _resident() -> tuple[int, int]:
    """Return resident memory now and at its peak, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text("utf-8").splitlines())
        now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return now, peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return peak, peak


def main() -> None:
    """Answer jobs until the parent closes the pipe."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    session = Session(sys.argv[2], Path(sys.argv[3]))
    while True:
        try:
            job, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, getattr(session, job)(*arguments)))
        except Exception as error:
            traceback.print_exc()
            connection.send((False, f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
