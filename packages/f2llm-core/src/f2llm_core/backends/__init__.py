"""Ways to run a model, behind one seam (`base.Backend`)."""

from __future__ import annotations

from f2llm_core.backends.base import Backend
from f2llm_core.engine.hub import ModelSource
from f2llm_core.options import LoadOptions


def make_backend(source: ModelSource, options: LoadOptions) -> Backend:
    """Return the backend that `options.backend` names; nothing is loaded yet."""
    if options.backend == "sentence-transformers":
        from f2llm_core.backends.sentence_transformers import SentenceTransformersBackend

        return SentenceTransformersBackend(source, options)
    from f2llm_core.backends.local import LocalBackend

    return LocalBackend(source, options)
