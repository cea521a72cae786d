"""The core's options in LlamaIndex's words, and what is said of those that cannot be."""

from __future__ import annotations

from inspect import signature

from f2llm_core import F2LLM

_WORDS = {"instruction": "query_instruction", "document_instruction": "text_instruction"}
#: The core's options by name, in LlamaIndex's words.
OPTIONS = {o: _WORDS.get(o, o) for o in signature(F2LLM).parameters} | {"model": "model_name"}
#: Fields that the encoder brings, or that belong to one process.
NOT_PICKLED = frozenset({*OPTIONS.values(), "callback_manager", "rate_limiter"})

NO_CACHE = "embeddings_cache gives queries the vectors of equal documents; use cache=True."
NO_MODEL = "{}: the weights stay those of the encoder. Make another F2LLMEmbedding."
