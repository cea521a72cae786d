"""LangChain's own standard suites for embeddings; one class per suite, nothing overridden."""

from __future__ import annotations

from typing import Any

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_f2llm import F2LLMEmbeddings
from support import tiny_model


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[F2LLMEmbeddings]:
        return F2LLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": tiny_model()}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        url = "http://localhost:8080"
        return {"F2LLM_BASE_URL": url}, {}, {"base_url": url}


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[F2LLMEmbeddings]:
        return F2LLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": tiny_model(), "dimensions": 32}
