"""The options of an encoder, checked where they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from f2llm_core.errors import ConfigurationError, InputError
from f2llm_core.inputs import OnTruncate, check_text
from f2llm_core.instructions import find_task
from f2llm_core.matryoshka import check_dimensions
from f2llm_core.secret import Hidden

#: `"auto"` is bfloat16 where the hardware multiplies it natively, else float32. `"int8"` keeps
#: weights in 8 bits and multiplies as `"auto"` does. float16 overflows in this family and is not
#: offered.
DTypeName = Literal["auto", "float32", "bfloat16", "int8"]

#: `"local"` is the package's own engine; `"sentence-transformers"` the reference (an extra).
BackendName = Literal["local", "sentence-transformers"]

#: Tokens kept of a text, EOS included: the length the models are evaluated at (mteb metadata).
DEFAULT_MAX_LENGTH = 8192

#: Bound of the embedding cache: 1.5 million rows of the 80M model, 100,000 of the 14B.
DEFAULT_CACHE_MAX_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What decides which weights are loaded and how; siblings of one encoder share it.

    Attributes are those of `F2LLM` of the same name. `token` is kept out of `repr`, comparison and
    pickles.
    """

    model: str | Path
    revision: str | None = None
    backend: BackendName = "local"
    device: str | None = None
    dtype: DTypeName = "auto"
    max_batch_tokens: int | None = None
    local_files_only: bool = False
    cache: bool | str | Path | None = None
    cache_max_bytes: int = DEFAULT_CACHE_MAX_BYTES
    token: Hidden | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, get_args(BackendName))
        check_choice("dtype", self.dtype, get_args(DTypeName))
        if self.dtype == "int8" and self.backend != "local":
            msg = f"dtype='int8' is for backend='local'; backend={self.backend!r} cannot do it."
            raise ConfigurationError(msg)
        if self.max_batch_tokens is not None:
            check_positive("max_batch_tokens", self.max_batch_tokens)
        if self.token is not None and not _is_token(self.token.get_secret_value()):
            msg = "token: expected a str of printable ASCII, without spaces or line ends, or None."
            raise ConfigurationError(msg)  # its value is shown nowhere
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
            object.__setattr__(self, "cache", str(Path(self.cache).expanduser().absolute()))


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
        if self.dimensions is not None:
            # A frozen dataclass; numpy's integers become Python's, so that the options stay JSON.
            object.__setattr__(self, "dimensions", check_dimensions(self.dimensions))
        if self.task is not None:
            find_task(self.task)
        _check_instruction("instruction", self.instruction)
        _check_instruction("document_instruction", self.document_instruction)
        if self.max_length is not None:
            check_positive("max_length", self.max_length)
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
    if value not in allowed:
        msg = f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}."
        raise ConfigurationError(msg)


def check_positive(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless an option is an integer above zero (a bool is none)."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{name}={value!r}: expected a positive integer."
        raise ConfigurationError(msg)


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
        msg = f"{name}={value!a}: {error}"
        raise ConfigurationError(msg) from None


def _is_token(value: object) -> bool:
    """Tell what can stand in an HTTP header; errors about the rest would quote it."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
