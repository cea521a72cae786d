"""Embeddings with F2LLM-v2: correct by default, from a list of texts to unit vectors.

Importing this package imports neither torch nor numpy; both come with the first encoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f2llm_core.auditing import audit
    from f2llm_core.chroma import open_chroma
    from f2llm_core.encoder import F2LLM
    from f2llm_core.errors import (
        CacheError,
        CacheWarning,
        ClosedError,
        ConfigurationError,
        ContractWarning,
        DataError,
        EndpointError,
        EndpointModelError,
        EndpointRefusedError,
        EndpointResponseError,
        EndpointTimeoutError,
        EndpointUnavailableError,
        F2LLMError,
        F2LLMWarning,
        FingerprintError,
        FingerprintWarning,
        InputError,
        MissingExtraError,
        ModelError,
        ModelLoadError,
        ModelNotFoundError,
        NonFiniteError,
        StoreError,
        TruncationWarning,
        UntrainedDimensionWarning,
        WorkerError,
    )
    from f2llm_core.fingerprint import Fingerprint
    from f2llm_core.indexing import index
    from f2llm_core.instructions import TASKS, Task
    from f2llm_core.matryoshka import truncate
    from f2llm_core.models import DEFAULT_MODEL, MODELS, ModelSpec
    from f2llm_core.stores import open_store
    from f2llm_core.stores.guarding import guard
    from f2llm_core.two_stage import TwoStageStore

__version__ = "0.1.0"

_HOME = {
    "F2LLM": "encoder",
    "Fingerprint": "fingerprint",
    "TASKS": "instructions",
    "Task": "instructions",
    "TwoStageStore": "two_stage",
    "audit": "auditing",
    "index": "indexing",
    "truncate": "matryoshka",
    "DEFAULT_MODEL": "models",
    "MODELS": "models",
    "ModelSpec": "models",
    "guard": "stores.guarding",
    "open_chroma": "chroma",
    "open_store": "stores",
}

__all__ = [
    "DEFAULT_MODEL",
    "F2LLM",
    "MODELS",
    "TASKS",
    "CacheError",
    "CacheWarning",
    "ClosedError",
    "ConfigurationError",
    "ContractWarning",
    "DataError",
    "EndpointError",
    "EndpointModelError",
    "EndpointRefusedError",
    "EndpointResponseError",
    "EndpointTimeoutError",
    "EndpointUnavailableError",
    "F2LLMError",
    "F2LLMWarning",
    "Fingerprint",
    "FingerprintError",
    "FingerprintWarning",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "ModelLoadError",
    "ModelNotFoundError",
    "ModelSpec",
    "NonFiniteError",
    "StoreError",
    "Task",
    "TruncationWarning",
    "TwoStageStore",
    "UntrainedDimensionWarning",
    "WorkerError",
    "audit",
    "guard",
    "index",
    "open_chroma",
    "open_store",
    "truncate",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (module attributes are of any type)
    """Import a public name with its first use (PEP 562)."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
