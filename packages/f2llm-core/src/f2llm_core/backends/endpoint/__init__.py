"""A model that runs on a server with OpenAI's `/v1/embeddings`: vLLM, TEI, llama.cpp …."""
