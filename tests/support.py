"""What several test modules need without being fixtures."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from f2llm_core.testing import tiny_checkpoint


@cache
def tiny_model() -> str:
    """Return the folder of a tiny random model, written once per test run."""
    folder = tempfile.mkdtemp(prefix="f2llm-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(tiny_checkpoint(Path(folder) / "model"))
