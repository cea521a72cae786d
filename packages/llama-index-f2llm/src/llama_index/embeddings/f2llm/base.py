"""`F2LLMEmbedding`: LlamaIndex's names and types for `f2llm_core.F2LLM`, which does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, mean_agg
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from f2llm_core import DEFAULT_MODEL, F2LLM, ConfigurationError
from f2llm_core.inputs import OnTruncate, check_text, check_texts, iterate_texts
from f2llm_core.options import DEFAULT_CACHE_MAX_BYTES, BackendName, DTypeName
from f2llm_core.options import DEFAULT_MAX_RETRIES as RETRIES
from f2llm_core.options import DEFAULT_TIMEOUT as TIMEOUT
from f2llm_core.outputs import to_lists
from f2llm_core.secret import HidesSecrets, hide
from llama_index.embeddings.f2llm.hashing import Hashed
from llama_index.embeddings.f2llm.words import NO_CACHE, NO_MODEL, NOT_PICKLED, OPTIONS


class F2LLMEmbedding(HidesSecrets, BaseEmbedding):
    """F2LLM-v2 embedding models in LlamaIndex: queries with their instruction, texts unaltered.

        Settings.embed_model = F2LLMEmbedding(model_name="80M", dimensions=256)
        retriever = VectorStoreIndex.from_documents(documents).as_retriever()

    Options are those of `f2llm_core.F2LLM`, fixed once made. `model_name` (or `model`) is its
    `model`, `query_instruction` its `instruction`, `text_instruction` its `document_instruction`.

    Raises:
        ConfigurationError: An option with a wrong value, or an `embeddings_cache`.
        ModelError: `model_name` names nothing that could be a model.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)  # it could be a token
    # What decides a vector is in to_dict; the rest is excluded.
    model_name: str = Field(default=DEFAULT_MODEL, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    dimensions: int | None = Field(default=None, frozen=True)
    task: str | None = Field(default=None, frozen=True)
    query_instruction: str | None = Field(default=None, frozen=True)
    text_instruction: str | None = Field(default=None, frozen=True)
    max_length: int | None = Field(default=None, frozen=True)
    on_truncate: OnTruncate = Field(default="warn", frozen=True)
    backend: BackendName | None = Field(default=None, frozen=True)
    base_url: str | None = Field(default=None, frozen=True)
    server_model: str | None = Field(default=None, frozen=True)
    dtype: DTypeName = Field(default="auto", frozen=True)
    device: str | None = Field(default=None, frozen=True, exclude=True)
    max_batch_tokens: int | None = Field(default=None, frozen=True, exclude=True)
    local_files_only: bool = Field(default=False, frozen=True, exclude=True)
    cache: bool | str | Path | None = Field(default=None, frozen=True, exclude=True)
    cache_max_bytes: int = Field(default=DEFAULT_CACHE_MAX_BYTES, frozen=True, exclude=True)
    timeout: float = Field(default=TIMEOUT, frozen=True, exclude=True)
    max_retries: int = Field(default=RETRIES, frozen=True, exclude=True)
    token: SecretStr | None = Field(default=None, frozen=True, exclude=True, repr=False)
    api_key: SecretStr | None = Field(default=None, frozen=True, exclude=True, repr=False)
    embed_batch_size: int = Field(default=512, gt=0, le=2048, exclude=True)
    num_workers: int | None = Field(default=None, exclude=True)
    embeddings_cache: Any | None = Field(default=None, frozen=True, exclude=True)
    _encoder: F2LLM = PrivateAttr()
    encoder = property(lambda self: self._encoder, doc="The core encoder behind this object.")
    if not TYPE_CHECKING:  # type checkers derive a better signature from the fields

        def __init__(self, model_name: Any = ..., **options: Any) -> None:  # noqa: ANN401
            model = options.pop("model", DEFAULT_MODEL) if model_name is ... else model_name
            options.pop("class_name", None)  # LlamaIndex writes it beside the fields
            given = {core: options.pop(ours) for core, ours in OPTIONS.items() if ours in options}
            secrets = {k: hide(given.pop(k)) for k in ("token", "api_key") if k in given}
            given |= secrets  # no traceback's variables shall show them
            wraps = isinstance(model, F2LLM)
            encoder = model.with_options(**given) if wraps else F2LLM(model, **given)
            if options.get("embeddings_cache") is not None:
                raise ConfigurationError(NO_CACHE)
            # As resolved: "80M" means other vectors once another revision is pinned.
            config = encoder.config | {"model": encoder.model, "revision": encoder.revision}
            config |= {k: SecretStr(s.get_secret_value()) for k, s in secrets.items() if s}
            super().__init__(**{OPTIONS[k]: v for k, v in config.items()}, **options)
            self._encoder = encoder

    @classmethod
    def from_encoder(cls, encoder: F2LLM, **options: Any) -> F2LLMEmbedding:  # noqa: ANN401
        """Wrap a core encoder, sharing its weights; `options` are any but those of loading."""
        if given := options.keys() & {"model", "model_name"}:
            raise ConfigurationError(NO_MODEL.format(given.pop()))
        return cls(**(options | {"model_name": encoder}))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration only: no weights, which are loaded again, and no token."""
        own = {n: getattr(self, n) for n in type(self).model_fields if n not in NOT_PICKLED}
        return partial(type(self).from_encoder, self._encoder, **own), ()

    @classmethod
    def class_name(cls) -> str:
        """Name of the class in what LlamaIndex serialises."""
        return "F2LLMEmbedding"

    def to_dict(self, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return what makes this again; an `IngestionPipeline` hashes it by its fingerprint."""
        return Hashed(super().to_dict(**options), self._encoder)

    def _get_query_embedding(self, query: str) -> Embedding:
        return list(self._encoder.encode_query(check_text(query)).tolist())

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return list((await self._encoder.aencode_query(check_text(query))).tolist())

    def _get_text_embedding(self, text: str) -> Embedding:
        return list(self._encoder.encode_document(check_text(text)).tolist())

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return list((await self._encoder.aencode_document(check_text(text))).tolist())

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return list(self._encoder.encode_document(iterate_texts(texts)).tolist())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await to_lists(await self._encoder.aencode_document(iterate_texts(texts)))

    def get_text_embedding_batch(self, texts: list[str], *args: Any, **kw: Any) -> list[Embedding]:  # noqa: ANN401
        """Embed texts in windows of `embed_batch_size`; all are checked before the first."""
        return super().get_text_embedding_batch(check_texts(texts), *args, **kw)

    async def aget_text_embedding_batch(self, texts: list[str], *args: Any, **kw: Any) -> list[Any]:  # noqa: ANN401
        """Like `get_text_embedding_batch`, without blocking the event loop."""
        checked = await asyncio.to_thread(check_texts, texts)
        return await super().aget_text_embedding_batch(checked, *args, **kw)

    def get_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., Embedding] | None = None
    ) -> Embedding:
        """Embed queries together and aggregate their vectors, by default to their mean."""
        return (agg_fn or mean_agg)(self._as(_Queries).get_text_embedding_batch(queries))

    async def aget_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., Embedding] | None = None
    ) -> Embedding:
        """Like `get_agg_embedding_from_queries`, without blocking the event loop."""
        return (agg_fn or mean_agg)(await self._as(_Queries).aget_text_embedding_batch(queries))

    def model_copy(self, *, update: Any = None, deep: bool = False) -> F2LLMEmbedding:  # noqa: ANN401
        """Pydantic's copy, with an encoder that agrees to the `update` and shares its weights."""
        return self._as(type(self), **(update or {}))

    def _as(self, kind: type[F2LLMEmbedding], **options: Any) -> F2LLMEmbedding:  # noqa: ANN401
        own = {n: getattr(self, n) for n in kind.model_fields if n not in OPTIONS.values()}
        return kind.from_encoder(self._encoder, **(own | options))


class _Queries(F2LLMEmbedding):
    # Queries as texts, for which alone LlamaIndex has batches with their events and rate limit.
    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return list(self._encoder.encode_query(iterate_texts(texts)).tolist())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await to_lists(await self._encoder.aencode_query(iterate_texts(texts)))
