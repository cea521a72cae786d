"""What Python itself reports of files, imports and code while a model is loaded (PEP 578)."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_RUNS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
_SYSTEM = ("/proc", "/sys", "/dev", sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
_SOURCES = Path(__file__).resolve().parents[2] / "packages"  # and what is installed editable

_events: list[tuple[str, tuple]] | None = None
_hooked = False


@dataclass
class Seen:
    """What happened that must not.

    Attributes:
        outside: Files opened that are neither in the folder nor the interpreter's.
        executed: Code of the folder, or another program.
        pickles: Pickles opened, or classes looked up by one.
    """

    outside: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)


@contextmanager
def watching(*allowed: Path) -> Iterator[Seen]:
    """Collect what happens inside the block.

    Args:
        *allowed: Folders whose files may be opened. Code in them may not run.
    """
    global _events, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    seen = Seen()
    _events = events = []
    try:
        yield seen
    finally:
        _events = None
        ours = [os.path.realpath(path) for path in allowed]
        for event, args in events:
            _judge(event, args, ours, seen)


def _hook(event: str, args: tuple) -> None:
    if _events is not None:
        _events.append((event, args))


def _judge(event: str, args: tuple, ours: list[str], seen: Seen) -> None:
    if event == "open" and isinstance(args[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(args[0]))
        if path.endswith(_PICKLES):
            seen.pickles.append(path)
        if not _inside(path, ours) and not _inside(path, [*_SYSTEM, str(_SOURCES)]):
            seen.outside.append(path)
    elif event == "exec" and _inside(os.path.realpath(args[0].co_filename), ours):
        seen.executed.append(args[0].co_filename)
    elif event == "pickle.find_class":
        seen.pickles.append(".".join(map(str, args)))
    elif event in _RUNS:
        seen.executed.append(f"{event} {args}")


def _inside(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
