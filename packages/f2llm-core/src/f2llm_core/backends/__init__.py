"""Ways to run a model, behind one seam (`base.Backend`)."""

from __future__ import annotations

from pathlib import Path

from f2llm_core.backends.base import Backend
from f2llm_core.engine.hub import ModelSource
from f2llm_core.options import LoadOptions


def make_backend(source: ModelSource, options: LoadOptions) -> Backend:
    """Return the backend that `options` ask for; nothing is loaded yet."""
    backend = _make(source, options)
    if not options.cache:
        return backend
    from f2llm_core.backends.cached import CachedBackend
    from f2llm_core.cache import EmbeddingCache, default_folder

    folder = default_folder() if options.cache is True else Path(options.cache)
    return CachedBackend(backend, EmbeddingCache(folder, options.cache_max_bytes))


def _make(source: ModelSource, options: LoadOptions) -> Backend:
    if options.backend == "endpoint":
        from f2llm_core.backends.endpoint.backend import EndpointBackend

        return EndpointBackend(source, options)
    if options.backend == "sentence-transformers":
        from f2llm_core.backends.sentence_transformers import SentenceTransformersBackend

        return SentenceTransformersBackend(source, options)
    from f2llm_core.backends.local import LocalBackend

    return LocalBackend(source, options)
