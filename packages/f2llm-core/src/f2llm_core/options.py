"""The options of an encoder, checked where they are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from f2llm_core.errors import ConfigurationError, InputError
from f2llm_core.inputs import OnTruncate, check_text
from f2llm_core.instructions import find_task
from f2llm_core.matryoshka import check_dimensions

#: `"auto"` is bfloat16 where the hardware multiplies it natively, else float32. float16 overflows
#: in this family and is not offered.
DTypeName = Literal["auto", "float32", "bfloat16"]

#: `"local"` is the package's own engine; `"sentence-transformers"` the reference (an extra).
BackendName = Literal["local", "sentence-transformers"]

#: Tokens kept of a text, EOS included: the length the models are evaluated at (mteb metadata).
DEFAULT_MAX_LENGTH = 8192

#: Tokens per forward pass; measured to be near the best on CPUs, and small enough for memory.
DEFAULT_MAX_BATCH_TOKENS = 2048


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
    max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_choice("backend", self.backend, get_args(BackendName))
        _check_choice("dtype", self.dtype, get_args(DTypeName))
        check_positive("max_batch_tokens", self.max_batch_tokens)
        if self.token is not None and not _is_token(self.token):
            msg = "token: expected a str of printable ASCII, without spaces or line ends, or None."
            raise ConfigurationError(msg)  # its value is shown nowhere
        _check_type("revision", self.revision, str, None)
        _check_type("device", self.device, str, None)
        _check_type("local_files_only", self.local_files_only, bool)


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
        _check_choice("on_truncate", self.on_truncate, get_args(OnTruncate))


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
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
