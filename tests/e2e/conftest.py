"""Real servers; skipped where none is installed, run by `make e2e`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.server import PYTHON, Served, serve
from f2llm_core import F2LLM
from f2llm_core.testing import sized_checkpoint
from tools.llama_cpp.write import write_gguf


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.enable_socket)
            if not PYTHON:
                item.add_marker(pytest.mark.skip(reason="LLAMA_CPP_PYTHON is not set: `make e2e`"))


@pytest.fixture(scope="session")
def demo(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The trained demo model."""
    yield from _served(demo_model, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def size_80m(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Random weights in the shape of the 80M model."""
    scratch = tmp_path_factory.mktemp("80M")
    yield from _served(sized_checkpoint(scratch / "80M", "80M"), scratch)


def _served(folder: Path, scratch: Path) -> Iterator[Served]:
    gguf = write_gguf(folder, scratch / f"{folder.name}.gguf")
    with serve(gguf) as url:
        yield Served(folder, gguf, url, F2LLM(folder, dtype="float32"))
