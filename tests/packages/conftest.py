"""What `make packages` tries: the built wheels, each set in an environment of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from packages.environments import CORE, DIST, LANGCHAIN, LLAMA_INDEX, Environment


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with the built packages."""
    assert DIST.is_dir(), "run `make packages`, which builds them"
    return DIST


# One at a time: pytest removes an environment before it makes the next.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(((CORE, LANGCHAIN, LLAMA_INDEX), False), id="newest"),
        pytest.param(((CORE, LANGCHAIN), True), id="lowest-langchain"),
        pytest.param(((CORE, LLAMA_INDEX), True), id="lowest-llama-index"),
    ],
)
def environment(
    request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """Our wheels with the newest or the oldest dependencies that are allowed."""
    made = Environment(tmp_path_factory.mktemp("environment"), *request.param)
    made.install()
    yield made
    shutil.rmtree(made.folder)
