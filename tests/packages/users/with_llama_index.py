"""A user's own program: LlamaIndex."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding

from f2llm_core.testing import tiny_checkpoint
from llama_index.embeddings.f2llm import F2LLMEmbedding


def found_in(texts: list[str], embed_model: BaseEmbedding) -> str:
    documents = [Document(text=text) for text in texts]
    index = VectorStoreIndex.from_documents(documents, embed_model=embed_model)
    [node] = index.as_retriever(similarity_top_k=1).retrieve("Which?")
    return node.get_content()


with tempfile.TemporaryDirectory() as folder:
    path = str(tiny_checkpoint(Path(folder) / "model"))
    model = F2LLMEmbedding(model_name=path, dimensions=32)
    assert found_in(["a", "b"], model) in {"a", "b"}
    again = F2LLMEmbedding.from_dict(model.to_dict())
    vector: list[float] = model.get_query_embedding("a")
    assert again.get_query_embedding("a") == vector
print("ok")
