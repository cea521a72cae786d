"""Fixtures shared by all tests: nothing here touches the network."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: these models are too small to gain from a second thread, and on a busy
# machine the threads would mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from f2llm_core import F2LLM
from support import tiny_model

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
