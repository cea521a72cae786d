"""Everything this library raises and warns about.

F2LLMError
├── InputError            a text that cannot be embedded (also a ValueError)
├── DataError             evaluation data or results that are broken (also a ValueError)
├── ConfigurationError    an option with a wrong value (also a ValueError)
├── ModelError
│   ├── ModelNotFoundError    no such model, folder or cached download
│   └── ModelLoadError        the files are there but are not a usable model
├── NonFiniteError        the model produced NaN, infinity or a zero vector
├── ClosedError           the model was closed before or while it was asked
├── EndpointError         a server that embeds for us failed
│   ├── EndpointUnavailableError  it cannot be reached, or went on failing
│   ├── EndpointTimeoutError      nothing came in time (also a TimeoutError)
│   ├── EndpointRefusedError      it refused, or sent us elsewhere
│   ├── EndpointResponseError     its answer is not to be believed
│   └── EndpointModelError        it runs another model, or runs it otherwise
├── CacheError            the embedding cache cannot be looked at or cleared
├── StoreError            a vector store failed, or cannot hold what it was given
├── FingerprintError      a collection was made with another model, or otherwise
├── WorkerError           a worker of a Ray cluster failed
└── MissingExtraError     an optional dependency is not installed (also an ImportError)

F2LLMWarning (a UserWarning)
├── TruncationWarning           texts were longer than `max_length`
├── UntrainedDimensionWarning   the model was not trained at this width
├── ContractWarning             the checkpoint departs from F2LLM-v2's text contract
├── FingerprintWarning          a collection was made a little differently
└── CacheWarning                the embedding cache cannot be used; embedding goes on without
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence


class F2LLMError(Exception):
    """Base class of every error raised on purpose by this library."""


class InputError(F2LLMError, ValueError):
    """A text that cannot be embedded; nothing was computed.

    Attributes:
        index: Position of the offending text in the call, or None if the container itself is wrong.
        others: Errors of later texts of the call that were found with this one.
    """

    def __init__(
        self, message: str, *, index: int | None = None, others: Sequence[InputError] = ()
    ) -> None:
        super().__init__(message)
        self.index = index
        self.others = tuple(others)


class DataError(F2LLMError, ValueError):
    """Evaluation data or results that are broken; the message names file and line."""


class ConfigurationError(F2LLMError, ValueError):
    """An option whose value is outside what is allowed; the message says what is."""


class ModelError(F2LLMError):
    """Base class of what can be wrong with a model."""


class ModelNotFoundError(ModelError):
    """No such model, folder or cached download; the message says what to fetch and how."""


class ModelLoadError(ModelError):
    """The files exist but do not form a usable model; the message names the file and the cause."""


class NonFiniteError(F2LLMError):
    """Rows that are NaN, infinite or zero, which no index should ever hold.

    Attributes:
        rows: Positions of the affected texts in the call.
    """

    def __init__(self, message: str, *, rows: Sequence[int]) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class ClosedError(F2LLMError):
    """The model was closed, by `close`, a `with` block or the end of the interpreter."""

    @classmethod
    def of_all(cls, *, shared: str) -> ClosedError:
        """Make one that says what other encoders shared with the model."""
        return cls(
            f"This model was closed, and with it every encoder that shares its {shared}. "
            "Make a new one: F2LLM(**model.config)."
        )


class EndpointError(F2LLMError):
    """A server that embeds for us failed; the message names it and never holds the key.

    Attributes:
        status: What it answered, as an HTTP status; None if it did not.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class EndpointUnavailableError(EndpointError):
    """The server cannot be reached, or went on failing however often it was asked."""


class EndpointTimeoutError(EndpointError, TimeoutError):
    """The server did not answer within `timeout`."""


class EndpointRefusedError(EndpointError):
    """The server refused key, path, model or text, or wanted to send us elsewhere."""


class EndpointResponseError(EndpointError):
    """The answer is malformed, too large, or does not fit the question; no row of it was used."""


class EndpointModelError(EndpointError):
    """The server runs another model than the one asked for, or runs it otherwise."""


class CacheError(F2LLMError):
    """The embedding cache cannot be looked at or cleared; embedding itself never raises this."""


class StoreError(F2LLMError):
    """A vector store failed, or cannot hold what it was given; its own error is the cause."""


class FingerprintError(F2LLMError):
    """A collection's vectors and this model's do not belong together; nothing was embedded."""


class WorkerError(F2LLMError):
    """A worker of a Ray cluster failed, or Ray itself; what was done before stays."""


class MissingExtraError(F2LLMError, ImportError):
    """An optional dependency is not installed; the message holds the install line."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional dependency: pip install 'f2llm-core[{extra}]'"
        )


class F2LLMWarning(UserWarning):
    """Base class of every warning issued by this library."""


class TruncationWarning(F2LLMWarning):
    """Texts were longer than `max_length` tokens; their tails were not embedded."""


class UntrainedDimensionWarning(F2LLMWarning):
    """The requested width is valid but not one that the model was trained at."""


class ContractWarning(F2LLMWarning):
    """The checkpoint departs from F2LLM-v2's text contract; what it declares is used."""


class FingerprintWarning(F2LLMWarning):
    """A collection was made a little differently; its vectors and this model's fit together."""


class CacheWarning(F2LLMWarning):
    """The embedding cache cannot be used; embedding goes on without it, and right."""


# These stand between the layers of these packages, never between them and a user.
_OURS = (
    "f2llm_core.",
    "langchain_f2llm.",
    "llama_index.embeddings.f2llm.",
    "functools.",
    "contextlib.",
    "pydantic.",
)


def warn(message: str, category: type[F2LLMWarning]) -> None:
    """Issue a warning at the line outside these packages that caused it."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
