"""F2LLM-v2 embeddings for LlamaIndex."""

from importlib.metadata import version

from llama_index.embeddings.f2llm.base import F2LLMEmbedding
from llama_index.embeddings.f2llm.retriever import MatryoshkaRetriever

__version__ = version("llama-index-embeddings-f2llm")
__all__ = ["F2LLMEmbedding", "MatryoshkaRetriever", "__version__"]
