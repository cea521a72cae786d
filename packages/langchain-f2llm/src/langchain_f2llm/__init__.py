"""F2LLM-v2 embeddings for LangChain."""

from importlib.metadata import version

from langchain_f2llm.embeddings import F2LLMEmbeddings
from langchain_f2llm.retriever import MatryoshkaRetriever

__version__ = version("langchain-f2llm")
__all__ = ["F2LLMEmbeddings", "MatryoshkaRetriever", "__version__"]
