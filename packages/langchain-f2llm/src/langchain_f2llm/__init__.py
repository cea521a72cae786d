"""F2LLM-v2 embeddings for LangChain."""
