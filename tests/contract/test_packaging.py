"""What holds the packages together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import f2llm_core

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("f2llm-core", "langchain-f2llm", "llama-index-f2llm")


def project(folder):
    path = ROOT / folder / "pyproject.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def test_versions_are_in_step_and_adapters_pin_the_core():
    versions = {project(f"packages/{name}")["version"] for name in PACKAGES}
    versions |= {project(".")["version"], f2llm_core.__version__}
    assert len(versions) == 1
    [version] = versions
    for name in PACKAGES[1:]:
        assert f"f2llm-core=={version}" in project(f"packages/{name}")["dependencies"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workspace_installs_every_extra():
    extras = ",".join(sorted(project("packages/f2llm-core")["optional-dependencies"]))
    assert f"f2llm-core[{extras}]" in project(".")["dependencies"]
    assert f"f2llm-core[{extras}]" in (ROOT / "scripts" / "install.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_carries_the_licence(name):
    folder = ROOT / "packages" / name
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert project(f"packages/{name}")["license-files"] == ["LICENSE"]


def test_public_names_come_from_this_package_once():
    assert len(f2llm_core.__all__) == len(set(f2llm_core.__all__))
    for name in f2llm_core.__all__:
        value = getattr(f2llm_core, name)
        assert getattr(value, "__module__", "f2llm_core").startswith("f2llm_core") or name.isupper()
        assert name in dir(f2llm_core)
    with pytest.raises(AttributeError, match="no attribute 'F3LLM'"):
        _ = f2llm_core.F3LLM


@pytest.mark.parametrize(
    "package", ["f2llm_core", "langchain_f2llm", "llama_index/embeddings/f2llm"]
)
def test_each_package_is_typed_and_owns_nothing_above_itself(package):
    [source] = [
        p for name in PACKAGES if (p := ROOT / "packages" / name / "src" / package).is_dir()
    ]
    assert (source / "py.typed").is_file()
    top = source.parents[package.count("/")]
    for parent in source.parents:
        if parent == top:
            break
        assert {child.name for child in parent.iterdir() if child.name != "__pycache__"} == {
            source.relative_to(parent).parts[0]
        }


def test_importing_the_core_brings_no_torch_and_sets_nothing():
    code = (
        "import logging, os, sys, warnings\n"
        "before = dict(os.environ), list(warnings.filters), list(logging.root.handlers)\n"
        "import f2llm_core\n"
        "assert (dict(os.environ), list(warnings.filters), list(logging.root.handlers)) == before\n"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert f2llm_core.MODELS\n"
        "assert f2llm_core.F2LLM('80M').dimensions == 320\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_engine_needs_no_transformers(checkpoint):
    code = (
        "import sys\n"
        "sys.modules['transformers'] = sys.modules['sentence_transformers'] = None\n"
        "from f2llm_core import F2LLM\n"
        f"F2LLM({str(checkpoint)!r}).encode_query('a')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("extra", "module", "options"),
    [
        ("sentence-transformers", "sentence_transformers", "backend='sentence-transformers'"),
        ("endpoint", "httpx", "base_url='http://localhost'"),
    ],
)
def test_a_missing_extra_gives_the_install_line(checkpoint, extra, module, options):
    code = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from f2llm_core import F2LLM, MissingExtraError\n"
        "try:\n"
        f"    F2LLM({str(checkpoint)!r}, {options}).encode_query('a')\n"
        "except MissingExtraError as error:\n"
        f"    assert \"pip install 'f2llm-core[{extra}]'\" in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_tracked_file_names_a_registry_or_a_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert "uv.lock" not in {path.name for path in files}
    registries = [("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs")]
    forbidden = "|".join(r"\.".join(host) for host in registries)
    option = "-".join(("index", "url"))  # in parts, as the hosts: this file must not name them
    hosts = re.compile(rf"{forbidden}|{option}[= ]+\S*:|/work/|/root/".encode())
    mine = Path(__file__).resolve()
    for path in files:
        if path.suffix in {".safetensors", ".jsonl", ".gz", ".png"} or path == mine:
            continue
        if path.is_file() and (found := hosts.search(path.read_bytes())):
            raise AssertionError(f"{path} names {found.group().decode()!r}")
