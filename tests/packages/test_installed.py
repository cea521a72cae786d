"""The wheels at work, with the newest and with the oldest dependencies that they allow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from packages.environments import FOLDERS, LANGCHAIN, LLAMA_INDEX, ROOT, uv

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

USERS = Path(__file__).parent / "users"
#: One's own program, by the package that it is about.
PROGRAMS = {
    "f2llm-core": "core.py",
    LANGCHAIN: "with_langchain.py",
    LLAMA_INDEX: "with_llama_index.py",
}


def project(package):
    path = ROOT / "packages" / FOLDERS[package] / "pyproject.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def requirements(environment):
    found = [r for p in environment.packages for r in project(p)["dependencies"]]
    return [Requirement(line) for line in found if not line.startswith("f2llm-core")]


def installed(environment, name):
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return Version(environment.run("python", "-c", code).strip())


def test_nothing_of_this_tree_is_imported(environment):
    code = "import f2llm_core; print(f2llm_core.__file__)"
    assert Path(environment.run("python", "-c", code)).is_relative_to(environment.folder)
    with pytest.raises(AssertionError, match="No module named 'pytest'"):
        environment.run("python", "-c", "import pytest")


def test_lowest_bounds_are_those_that_were_tried(environment):
    """A bound below what anybody can install with the others would never have been tested."""
    if not environment.lowest:
        pytest.skip("these are the newest")
    tried = {}
    for requirement in requirements(environment):
        if requirement.name == "torch":  # one build for all, see conftest
            continue
        [lowest] = [s.version for s in requirement.specifier if s.operator == ">="]
        size = len(Version(lowest).release)
        found = installed(environment, requirement.name)
        if found.release[:size] != Version(lowest).release:
            tried[requirement.name] = f"{found}, not {lowest}"
    assert not tried


def test_a_users_program_works(environment):
    for package in environment.packages:
        assert environment.run("python", USERS / PROGRAMS[package]).startswith("ok")


def test_a_users_program_is_typed(environment, tmp_path):
    programs = [str(USERS / PROGRAMS[package]) for package in environment.packages]
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull),
        *("--cache-dir", tmp_path, "--python-executable", environment.python),
    ]
    # Away from this tree, where mypy would find the source rather than the wheels.
    done = subprocess.run(
        [*command, *programs], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from f2llm_core import F2LLM\nF2LLM(model=1.5)\n", encoding="utf-8")
    done = subprocess.run(
        [*command, wrong], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 'incompatible type "float"' in done.stdout


def test_the_command_works(environment):
    assert environment.run("f2llm", "--version").strip().endswith(project("f2llm-core")["version"])
    assert environment.run("f2llm", "info").startswith("Versions")
    assert "Usage: f2llm" in environment.run("f2llm", "--help")


def test_every_extra_is_named_where_it_is_missing(environment):
    said = environment.run("python", USERS / "without_extras.py").splitlines()
    extras = project("f2llm-core")["optional-dependencies"]
    assert said == [f"pip install 'f2llm-core[{extra}]'" for extra in extras]


def test_llama_index_is_whole_without_our_package(environment):
    """`llama_index` and its `embeddings` belong to nobody. Runs last, as it takes ours away."""
    if LLAMA_INDEX not in environment.packages:
        pytest.skip("has no LlamaIndex")
    before = environment.run("python", "-c", "import llama_index.core as c; print(c.__file__)")
    uv("pip", "uninstall", "--python", environment.python, LLAMA_INDEX)
    code = (
        "import llama_index.core as c\n"
        "from llama_index.core import MockEmbedding\n"
        "try:\n    import llama_index.embeddings.f2llm\n"
        "except ModuleNotFoundError:\n    print(c.__file__)"
    )
    assert environment.run("python", "-c", code) == before
    assert not list(environment.folder.rglob("llama_index/embeddings/f2llm/*"))
