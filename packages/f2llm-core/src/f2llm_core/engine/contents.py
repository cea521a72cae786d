"""What the files of a model hold, as far as it decides the row of a given prompt."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from f2llm_core.engine.hub import ModelSource, weight_files

COMMIT = re.compile(r"[0-9a-f]{40}")
# What decides the row of a given prompt. Prompts themselves are no part of a model's identity.
_DECISIVE = ("config.json", "tokenizer.json", "tokenizer_config.json")
_BLOCK = 1 << 20  # bytes


class FileVersion(NamedTuple):
    """A file as it was at some time.

    Attributes:
        path: Where it is.
        inode: The file system's number of it.
        size: In bytes.
        changed: Time of its last change, in nanoseconds.
    """

    path: Path
    inode: int
    size: int
    changed: int


def file_versions(source: ModelSource) -> tuple[FileVersion, ...]:
    """Return what changes when the files of a local folder do; empty for a hub repository.

    Raises:
        ModelLoadError: The folder's index of weights is damaged.
        OSError: A file cannot be found.
    """
    return () if source.folder is None else _versions(source.folder)


def _versions(folder: Path) -> tuple[FileVersion, ...]:
    names = [name for name in _DECISIVE if (folder / name).exists()]
    return tuple(_version(folder / name) for name in (*names, *weight_files(folder)))


def _version(path: Path) -> FileVersion:
    stat = path.stat()
    return FileVersion(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def content_of(source: ModelSource, folder: Path) -> str:
    """Return `ModelIdentity.model` for the files in a folder; raises as `file_versions`."""
    if source.folder is None and COMMIT.fullmatch(folder.name):
        return f"{source.name}@{folder.name}"  # the hub's cache names a snapshot by its commit
    whole = hashlib.sha256()
    with _hashing:  # callers that come together share the work
        for version in _versions(folder):
            whole.update(f"{version.path.name}\0{_digest(version)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


@lru_cache(maxsize=1024)
def _digest(version: FileVersion) -> str:
    """Hash a file, once per process as long as it is the same."""
    found = hashlib.sha256()
    with version.path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


_hashing = threading.Lock()

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork

    def _after_in_child() -> None:
        global _hashing  # another thread of the parent may have held it
        _hashing = threading.Lock()

    os.register_at_fork(after_in_child=_after_in_child)
