"""What is in the wheels and sdists."""

from __future__ import annotations

import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from packages.environments import FOLDERS, LANGCHAIN, LLAMA_INDEX, ROOT

packages = pytest.mark.parametrize("package", FOLDERS)


def one(dist: Path, package: str, ending: str) -> Path:
    [path] = dist.glob(f"{package.replace('-', '_')}-*{ending}")
    return path


def sources(package: str) -> set[str]:
    """The package's files in this tree, as a wheel names them."""
    top = ROOT / "packages" / FOLDERS[package] / "src"
    found = (path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(top).as_posix() for path in found}


def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


@packages
def test_a_wheel_holds_the_source_its_licence_and_nothing_else(dist, package):
    with zipfile.ZipFile(one(dist, package, ".whl")) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
        licences = [archive.read(name) for name in files if name.endswith("licenses/LICENSE")]
    assert {name for name in files if ".dist-info/" not in name} == sources(package)
    assert [name for name in files if name.endswith("/py.typed")]
    assert licences == [(ROOT / "LICENSE").read_bytes()]


@packages
def test_an_sdist_builds_the_same_and_holds_no_tests(dist, package):
    with tarfile.open(one(dist, package, ".tar.gz")) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    kept = {name.removeprefix("src/") for name in files if name.startswith("src/")}
    assert kept == sources(package)
    rest = {name for name in files if not name.startswith("src/")}
    assert rest - {"pyproject.toml.orig"} == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


@packages
def test_metadata_is_what_a_registry_shows(dist, package):
    found = metadata(one(dist, package, ".whl"))
    readme = (ROOT / "packages" / FOLDERS[package] / "README.md").read_text(encoding="utf-8")
    assert found["Name"] == package
    assert found["Requires-Python"] == ">=3.10"
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Description-Content-Type"].startswith("text/markdown")
    assert found.get_payload(decode=True).decode().strip() == readme.strip()
    assert found["Summary"]
    assert "Typing :: Typed" in found.get_all("Classifier")


@pytest.mark.parametrize("package", [LANGCHAIN, LLAMA_INDEX])
def test_an_adapter_wants_its_own_core(dist, package):
    found = metadata(one(dist, package, ".whl"))
    assert f"f2llm-core=={found['Version']}" in found.get_all("Requires-Dist")
