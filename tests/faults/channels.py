"""Every way in which the hub token could leave an object that was given it."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import logging
import os
import pickle
import pprint
import secrets
import string
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import cloudpickle

#: Looks like a hub token, and is none.
SENTINEL = "hf_" + "".join(secrets.choice(string.ascii_letters) for _ in range(37))
_FORMS = (SENTINEL, SENTINEL[-8:], base64.b64encode(SENTINEL.encode()).decode()[:-4])

Channel = Callable[[object], object]


def leaks(value: object) -> bool:
    """Tell whether the token can be read in what came out of a channel."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return any(form in text for form in _FORMS)


def _logged(value: object) -> str:
    stream = io.StringIO()
    logger = logging.Logger("channel")
    logger.addHandler(logging.StreamHandler(stream))
    logger.info("%s %r", value, value)
    logger.info("%(a)s", {"a": value})
    return stream.getvalue()


def _attributes(value: object) -> list[str]:
    """Show what a debugger shows: every attribute and slot, one level deep."""
    names = {*getattr(value, "__dict__", {}), *getattr(type(value), "__slots__", ())}
    names |= {name for name in dir(value) if not name.startswith("__")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about names that are on their way out
        return [repr(getattr(value, name, None)) for name in sorted(names)]


def _deeper(value: object) -> list[str]:
    """Show the dictionaries and slots of what an object holds, too."""
    held = [*_held(value), *(getattr(value, "__pydantic_private__", None) or {}).values()]
    # A secret's only attribute is what it keeps.
    return [repr(_held(item)) for item in held if "Secret" not in type(item).__name__]


def _held(item: object) -> list[object]:
    slots = [getattr(item, name, None) for name in getattr(type(item), "__slots__", ())]
    return [*getattr(item, "__dict__", {}).values(), *slots]


#: What anything can be put through.
GENERAL: dict[str, Channel] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": format,
    "f-string": lambda x: f"{x} {x!r} {x!s} {x!a}",
    "in a container": lambda x: repr([{"embeddings": (x,)}]),
    "pprint": pprint.pformat,
    "logging": _logged,
    "attributes": _attributes,
    "attributes of attributes": _deeper,
    "json with a default": lambda x: json.dumps({"model": x}, default=repr),
    **{
        f"pickle {protocol}": lambda x, protocol=protocol: pickle.dumps(x, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "cloudpickle": cloudpickle.dumps,
    "copy": lambda x: pickle.dumps(copy.copy(x)) + repr(copy.copy(x)).encode(),
    "deepcopy": lambda x: pickle.dumps(copy.deepcopy(x)) + repr(copy.deepcopy(x)).encode(),
    "an error's arguments": lambda x: traceback.format_exception(ValueError(x)),
}


def frames(error: BaseException, own: str, *, variables: bool = True) -> Iterator[str]:
    """Yield an error's message and, with their variables, its frames; the same for its causes.

    Args:
        error: As it reached the caller.
        own: File whose frames are the caller's, who knows the token.
        variables: Whether to show those of the frames, rather than the messages only.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield f"{one} {one!r} {one.args} {vars(one)}"
        if variables:
            yield from _variables(one.__traceback__, own)
        waiting += [one.__cause__, one.__context__]


def _variables(trace: TracebackType | None, own: str) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(trace):
        if frame.f_code.co_filename != own:
            for name, value in frame.f_locals.items():
                with contextlib.suppress(Exception):  # an object that is not finished yet
                    yield f"{frame.f_code.co_name} {name}={value!r}"


@contextlib.contextmanager
def everything_said() -> Iterator[io.StringIO]:
    """Collect all logs at their most talkative, warnings, standard output and standard error."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(n) for n in ("huggingface_hub", "httpx", "httpcore"))]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            yield said
        said.writelines(f"{w.message} {w.source}\n" for w in warned)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
            logger.removeHandler(handler)


def files_below(folder: Path) -> Iterator[bytes]:
    """Yield names and contents of all files."""
    for path in folder.rglob("*"):
        yield str(path).encode() + (os.readlink(path).encode() if path.is_symlink() else b"")
        if path.is_file():
            yield path.read_bytes()
