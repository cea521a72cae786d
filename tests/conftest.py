"""Fixtures shared by all tests: nothing here touches the network."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before torch is imported: these models are too small to gain from a second thread, and on a busy
# machine the threads would mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything reads them: what somebody has set or downloaded must not decide what is tested.
_OURS = {"F2LLM_RAY_ROWS"}  # `make ray` says with it how much is tested
for _name in os.environ.keys() - _OURS:
    if _name.startswith(("F2LLM_", "HF_", "HUGGING_FACE_", "HUGGINGFACE_")):
        del os.environ[_name]
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="f2llm-hub-")
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

import pytest  # noqa: E402

from f2llm_core import F2LLM  # noqa: E402
from support import tiny_model  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """A tiny random model folder, 64 wide. Read only: copy it to damage it."""
    return Path(tiny_model())


@pytest.fixture(scope="session")
def encoder(checkpoint: Path) -> F2LLM:
    """The tiny model in float32."""
    return F2LLM(checkpoint, dtype="float32")


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The trained demo model, 256 wide."""
    return ROOT / "models" / "f2llm-demo"
