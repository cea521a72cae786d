"""The options of an encoder, checked where they are given."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np

from f2llm_core.errors import ConfigurationError, InputError
from f2llm_core.inputs import OnTruncate, check_text
from f2llm_core.instructions import find_task
from f2llm_core.matryoshka import check_dimensions
from f2llm_core.secret import Hidden, hide

#: `"auto"` is bfloat16 where the hardware multiplies it natively, else float32. `"int8"` keeps
#: weights in 8 bits and multiplies as `"auto"` does. float16 overflows in this family and is not
#: offered.
DTypeName = Literal["auto", "float32", "bfloat16", "int8"]

#: `"local"` is the package's own engine; `"sentence-transformers"` the reference (an extra);
#: `"endpoint"` a server at `base_url` (an extra).
BackendName = Literal["local", "sentence-transformers", "endpoint"]

#: Tokens kept of a text, EOS included: the length the models are evaluated at (mteb metadata).
DEFAULT_MAX_LENGTH = 8192

#: Bound of the embedding cache: 1.5 million rows of the 80M model, 100,000 of the 14B.
DEFAULT_CACHE_MAX_BYTES = 2 * 2**30

#: Seconds to wait for a server, whose queue may be long.
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_RETRIES = 4

_OF_SERVERS = ("base_url", "server_model", "api_key")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What decides which weights are loaded and how; siblings of one encoder share it.

    Attributes are those of `F2LLM` of the same name. `token` and `api_key` are kept out of `repr`,
    comparison and pickles. Once made, `backend` is never None, and what the environment says of a
    server is filled in.
    """

    model: str | Path
    revision: str | None = None
    backend: BackendName | None = None
    device: str | None = None
    dtype: DTypeName = "auto"
    max_batch_tokens: int | None = None
    local_files_only: bool = False
    cache: bool | str | Path | None = None
    cache_max_bytes: int = DEFAULT_CACHE_MAX_BYTES
    token: Hidden | None = field(default=None, repr=False, compare=False)
    base_url: str | None = None
    server_model: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    api_key: Hidden | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _use_python_numbers(self, "max_batch_tokens", "cache_max_bytes", "max_retries", "timeout")
        check_choice("backend", self.backend, (*get_args(BackendName), None))
        check_choice("dtype", self.dtype, get_args(DTypeName))
        self._complete()
        if self.backend == "endpoint":
            self._check_endpoint()
        elif wrong := [name for name in _OF_SERVERS if getattr(self, name) is not None]:
            msg = f"{wrong[0]} is for a server; backend={self.backend!r} runs in this process."
            raise ConfigurationError(msg)
        if self.dtype == "int8" and self.backend != "local":
            msg = f"dtype='int8' is for backend='local'; backend={self.backend!r} cannot do it."
            raise ConfigurationError(msg)
        if self.max_batch_tokens is not None:
            check_positive("max_batch_tokens", self.max_batch_tokens)
        for name in ("token", "api_key"):
            secret: Hidden | None = getattr(self, name)
            if secret is not None and not is_token(secret.get_secret_value()):
                msg = f"{name}: expected a str of printable ASCII without spaces, or None."
                raise ConfigurationError(msg)  # its value is shown nowhere
        check_seconds("timeout", self.timeout)
        if self.max_retries != 0:
            check_positive("max_retries", self.max_retries)
        _check_type("revision", self.revision, str, None)
        _check_type("device", self.device, str, None)
        _check_type("local_files_only", self.local_files_only, bool)
        check_positive("cache_max_bytes", self.cache_max_bytes)
        _check_type("cache", self.cache, bool, str, Path, None)
        if not isinstance(self.cache, bool) and self.cache is not None:
            if not str(self.cache):
                msg = "cache='': expected True, or a folder."
                raise ConfigurationError(msg)
            # Absolute, since it is opened later, perhaps elsewhere; a str, so that it stays JSON.
            object.__setattr__(self, "cache", _absolute(self.cache))

    def _complete(self) -> None:
        """Fill in what follows from other options and from the environment."""
        put = partial(object.__setattr__, self)  # a frozen dataclass
        if self.base_url is None and self.backend in {"endpoint", None}:
            put("base_url", os.environ.get("F2LLM_BASE_URL") or None)
        if self.backend is None:
            put("backend", "local" if self.base_url is None else "endpoint")
        if self.backend == "endpoint" and self.api_key is None:
            put("api_key", hide(os.environ.get("F2LLM_API_KEY") or None))

    def _check_endpoint(self) -> None:
        if self.base_url is None:
            msg = "backend='endpoint' needs base_url, or the environment's F2LLM_BASE_URL."
            raise ConfigurationError(msg)
        object.__setattr__(self, "base_url", check_base_url(self.base_url))
        _check_type("server_model", self.server_model, str, None)
        for name in ("device", "dtype", "max_batch_tokens"):
            if getattr(self, name) not in (None, "auto"):
                msg = (
                    f"{name}={getattr(self, name)!r}: with a server ({self.base_url}), that is the "
                    "server's choice. Leave it out, or pass backend='local' to compute in this "
                    "process: without one, the environment's F2LLM_BASE_URL names a server."
                )
                raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What decides how texts are embedded with the loaded weights.

    Attributes are those of `F2LLM` of the same name.
    """

    dimensions: int | None = None
    task: str | None = None
    instruction: str | None = None
    document_instruction: str | None = None
    max_length: int | None = None
    on_truncate: OnTruncate = "warn"

    def __post_init__(self) -> None:
        _use_python_numbers(self, "max_length")
        if self.dimensions is not None:
            object.__setattr__(self, "dimensions", check_dimensions(self.dimensions))
        if self.task is not None:
            find_task(self.task)
        _check_instruction("instruction", self.instruction)
        _check_instruction("document_instruction", self.document_instruction)
        if self.max_length is not None:
            check_positive("max_length", self.max_length)
            if self.max_length == 1:
                msg = "max_length=1 leaves no room for text: the EOS takes one token."
                raise ConfigurationError(msg)
        check_choice("on_truncate", self.on_truncate, get_args(OnTruncate))

    def changed(self, changes: Mapping[str, Any]) -> EncodeOptions:
        """Return these options with some replaced; a task brings its own instructions.

        Raises:
            ConfigurationError: An unknown option or a wrong value.
        """
        unknown = changes.keys() - self.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(self.__dataclass_fields__)
            msg = f"with_options cannot change {', '.join(sorted(unknown))}. Allowed: {known}."
            raise ConfigurationError(msg)
        if "task" in changes:
            changes = {"instruction": None, "document_instruction": None} | dict(changes)
        return replace(self, **changes)


def check_choice(name: str, value: object, allowed: tuple[str | None, ...]) -> None:
    """Raise `ConfigurationError` unless an option is one of those allowed."""
    if not isinstance(value, str | None) or value not in allowed:
        msg = f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}."
        raise ConfigurationError(msg)


def check_positive(name: str, value: object) -> int:
    """Return an option as Python's integer.

    Raises:
        ConfigurationError: Not an integer above zero, of Python or numpy (a bool is none).
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        msg = f"{name}={value!r}: expected a positive integer."
        raise ConfigurationError(msg)
    return int(value)


def check_seconds(name: str, value: Any) -> None:  # noqa: ANN401
    """Raise `ConfigurationError` unless an option is a finite number above zero."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        msg = f"{name}={value!r}: expected seconds above zero."
        raise ConfigurationError(msg)


def check_base_url(url: object) -> str:
    """Return a server's address, with or without the `/v1` at its end, always without.

    Raises:
        ConfigurationError: Not an http or https URL of a host and perhaps a path. The message does
            not quote it, since it may hold a password.
    """
    problem = problem_of_url(url) if isinstance(url, str) else "it is not a str"
    if not problem and str(url).rstrip("/").endswith("/embeddings"):
        problem = "it ends in /embeddings, which is added here"
    if problem:
        msg = (
            f"base_url: {problem}. Expected the address of a server, for example "
            "'http://localhost:8080'; a key is passed as api_key or F2LLM_API_KEY."
        )
        raise ConfigurationError(msg)
    return str(url).rstrip("/").removesuffix("/v1").rstrip("/")


def problem_of_url(url: str) -> str | None:
    """Say what is wrong with a server's address, without quoting it; None if nothing is."""
    if not url.isascii() or not url.isprintable() or any(c in url for c in ' \\<>"{}|^`'):
        return "it holds characters that no URL has"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"it is no URL ({type(error).__name__}: host or port)"
    if parts.scheme not in {"http", "https"}:
        return "its scheme is neither http nor https"
    if "@" in parts.netloc:
        return "it holds credentials, which end up in logs"
    if not parts.hostname or parts.hostname.startswith("."):
        return "it names no host"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "it has a query or a fragment"
    return None


def _check_type(name: str, value: object, *allowed: type | None) -> None:
    if not any(value is None if kind is None else isinstance(value, kind) for kind in allowed):
        names = " or ".join("None" if kind is None else kind.__name__ for kind in allowed)
        msg = f"{name}={value!r}: expected {names}."
        raise ConfigurationError(msg)


def _check_instruction(name: str, value: str | None) -> None:
    _check_type(name, value, str, None)
    try:
        check_text(value or "")
    except InputError as error:
        msg = f"{name}={value!a:.200}: {error}"
        raise ConfigurationError(msg) from None


def _use_python_numbers(options: object, *names: str) -> None:
    """Replace numpy's numbers in a frozen dataclass by Python's, so that it stays JSON."""
    for name in names:
        object.__setattr__(options, name, python_number(getattr(options, name)))


def python_number(value: object) -> object:
    """Return one of numpy's numbers as Python's, and anything else as it is."""
    return value.item() if isinstance(value, np.number) else value


def _absolute(cache: str | Path) -> str:
    try:
        return str(Path(cache).expanduser().absolute())
    except (OSError, RuntimeError) as error:  # an unknown ~user, for one
        msg = f"cache={str(cache)!r} cannot be a folder ({error})."
        raise ConfigurationError(msg) from error


def is_token(value: object) -> bool:
    """Tell what can stand in an HTTP header; errors about the rest would quote it."""
    if not isinstance(value, str) or not value:
        return False
    return value.isascii() and value.isprintable() and " " not in value
