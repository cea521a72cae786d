"""F2LLM-v2 embeddings for LlamaIndex."""

from importlib.metadata import version

from llama_index.embeddings.f2llm.base import F2LLMEmbedding

__version__ = version("llama-index-embeddings-f2llm")
__all__ = ["F2LLMEmbedding", "__version__"]
