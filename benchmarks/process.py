"""The parent's side of an engine in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_SECONDS_TO_END = 10


class EngineError(Exception):
    """A job failed in the engine's process, or the process died; carries its message."""


def environment(scratch: Path) -> dict[str, str]:
    """Return the environment of every engine's process, the same for all.

    Args:
        scratch: Where compiled modules are kept, so that no cold start compiles Python.
    """
    dropped = {"PYTHONDONTWRITEBYTECODE", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}  # as users run it
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return kept | {
        "PYTHONPYCACHEPREFIX": str(scratch / "pycache"),
        "HF_HUB_OFFLINE": "1",
    }


class EngineProcess:
    """One engine in its own process; a context manager."""

    def __init__(self, engine: str, folder: Path, scratch: Path, python: str = "") -> None:
        """Start the process; the engine is loaded with the first job that needs it.

        Args:
            engine: Name in `benchmarks.engines.ENGINES`.
            folder: Checkpoint.
            scratch: For what the process prints, and for compiled modules.
            python: Interpreter that has the engine installed; this one by default.
        """
        self.engine = engine
        self._log = scratch / f"{engine}.log"
        self._connection, theirs = Pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own module)
                [
                    python or sys.executable,
                    *("-m", "benchmarks.worker", str(theirs.fileno()), engine, str(folder)),
                ],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=environment(scratch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        theirs.close()

    def ask(self, job: str, *arguments: object) -> Any:  # noqa: ANN401  (each job's own)
        """Have a job of `benchmarks.worker.Session` done.

        Raises:
            EngineError: The job failed or the process died.
        """
        try:
            self._connection.send((job, arguments))
            done, result = self._connection.recv()
        except (EOFError, OSError) as error:
            last = self._log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
            msg = f"the process died (exit code {self._process.wait()}): {' '.join(last)}"
            raise EngineError(msg) from error
        if not done:
            raise EngineError(result)
        return result

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def missing_modules(names: tuple[str, ...], python: str = "") -> list[str]:
    """Return which modules an interpreter cannot find, without importing more than it must."""
    script = (
        "import sys\nfrom importlib.util import find_spec\n"
        "for name in sys.argv[1:]:\n"
        "    try: found = find_spec(name)\n"
        "    except ImportError: found = None\n"
        "    if not found: print(name)\n"
    )
    result = subprocess.run(  # noqa: S603  (the script above)
        [python or sys.executable, "-c", script, *names],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return result.stdout.split()
