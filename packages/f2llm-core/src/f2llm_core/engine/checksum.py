"""The checksums that the hub's cache has at hand: it names every file by its own."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from f2llm_core.errors import ModelLoadError

_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA1_DIGITS = 40
_CHUNK = 2**20  # bytes


def verify(path: Path) -> None:
    """Compare a file with the checksum that the hub's cache names it by.

    The cache keeps a download as `blobs/<checksum>` and links to it: SHA-256 for large files, for
    small ones git's SHA-1, or the plain one where a mirror says so. Against damage, not against
    someone who can write there. A file that has no checksum passes.

    Args:
        path: In a snapshot of the cache or anywhere else; may be missing.

    Raises:
        ModelLoadError: The content is not what was downloaded.
    """
    checksum = _checksum(path)
    try:
        damaged = checksum is not None and checksum not in _digests(path, len(checksum))
    except OSError as error:
        msg = f"{path} cannot be read ({error})."
        raise ModelLoadError(msg) from error
    if damaged:
        msg = (
            f"{path} is not what was downloaded: its content does not have the checksum that the "
            f"cache keeps it under. Delete {path.resolve()} and load again, which downloads it."
        )
        raise ModelLoadError(msg)


def _checksum(path: Path) -> str | None:
    if not path.is_symlink() or not path.is_file():
        return None
    blob = path.parent / path.readlink()
    known = blob.parent.name == "blobs" and _NAME.fullmatch(blob.name)
    return blob.name if known else None


def _digests(path: Path, length: int) -> set[str]:
    """Return what a file could be named by: hexadecimal, of that many digits."""
    hashes = [hashlib.sha256()]
    if length == _SHA1_DIGITS:
        git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        hashes = [git, hashlib.sha1(usedforsecurity=False)]
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for digest in hashes:
                digest.update(chunk)
    return {digest.hexdigest() for digest in hashes}
