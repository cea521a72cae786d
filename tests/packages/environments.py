"""Environments outside this tree, with our wheels in them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
CORE, LANGCHAIN, LLAMA_INDEX = "f2llm-core", "langchain-f2llm", "llama-index-embeddings-f2llm"
#: The packages, and their folders in `packages/`.
FOLDERS = {CORE: "f2llm-core", LANGCHAIN: "langchain-f2llm", LLAMA_INDEX: "llama-index-f2llm"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment with some of our wheels and nothing of this tree.

    Attributes:
        folder: Where it is.
        packages: Which of ours it has.
        lowest: Whether their direct dependencies are the oldest that are allowed, not the newest.
    """

    folder: Path
    packages: tuple[str, ...]
    lowest: bool

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Make it."""
        uv("venv", "--clear", "--python", sys.executable, self.folder)
        # One build of torch for all: others are gigabytes of GPU libraries.
        constraints = self.folder / "constraints.txt"
        constraints.write_text(f"torch=={torch.__version__}\n", encoding="utf-8")
        # uv counts as direct what a pyproject.toml names, but not what a wheel names.
        projects = [ROOT / "packages" / FOLDERS[name] / "pyproject.toml" for name in self.packages]
        uv(
            *("pip", "install", "--python", self.python, "--no-sources"),
            *("--resolution", "lowest-direct" if self.lowest else "highest"),
            *("--constraint", constraints),
            *(f"--requirements={project}" for project in projects),
            *(wheel(name) for name in self.packages),
        )

    def run(self, program: str, *arguments: object) -> str:
        """Run one of its programs, offline and outside this tree; return what it printed."""
        ours = ("PYTHON", "F2LLM")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return _run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.folder,
            env={**kept, "HF_HUB_OFFLINE": "1"},
        )


def uv(*arguments: object) -> None:
    """Run uv."""
    _run([os.environ.get("UV", "uv"), "--quiet", *arguments])


def wheel(package: str) -> Path:
    """Return what was built; by its path, as uv may still know another one of this version."""
    [path] = DIST.glob(f"{package.replace('-', '_')}-*.whl")
    return path


def _run(command: list[object], cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
