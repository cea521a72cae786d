"""LangChain's names and types for `f2llm_core.F2LLM`, which does all the work."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.embeddings import Embeddings
from langchain_core.load.serializable import Serializable
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, SkipValidation
from typing_extensions import Self, Unpack

from f2llm_core import DEFAULT_MODEL, F2LLM
from f2llm_core.inputs import OnTruncate, check_text, iterate_texts
from f2llm_core.options import (
    DEFAULT_CACHE_MAX_BYTES,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    BackendName,
    DTypeName,
    EncodeOptions,
    python_number,
)
from f2llm_core.outputs import to_lists
from f2llm_core.secret import HidesSecrets


class _QueryOptions(TypedDict, total=False):
    task: str | None
    instruction: str | None
    dimensions: int | None


class F2LLMEmbeddings(HidesSecrets, Serializable, Embeddings):
    """F2LLM-v2 embedding models in LangChain.

    Queries get the instruction the model was trained with, documents are embedded as they are, and
    no text is altered. Immutable; copies and `with_options` share the loaded weights.

    Setup:
        `pip install langchain-f2llm`. Weights are downloaded with the first text.

    Key init args:
        Those of `f2llm_core.F2LLM`. `model` (or `model_name`) is a size (`"80M"`, the default, to
        `"14B"`), a hub id or a folder; `token` and `api_key` are never shown.

    Instantiate:
        `embeddings = F2LLMEmbeddings(model="80M", dimensions=256)`

    Embed single text:
        `embeddings.embed_query("binary search", task="code")`, `task` being for this call only

    Embed multiple texts:
        `embeddings.embed_documents(["우주 망원경은 …", "Das Teleskop …"])`

    Async:
        `await embeddings.aembed_query("binary search")`
    """

    # Strict, or True would be 1; inputs stay out of messages, since one could be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    model: SkipValidation[str | Path] = Field(
        default=DEFAULT_MODEL, validation_alias=AliasChoices("model", "model_name")
    )
    revision: str | None = None
    dimensions: int | None = None
    task: str | None = None
    instruction: str | None = None
    document_instruction: str | None = None
    max_length: int | None = None
    on_truncate: OnTruncate = "warn"
    backend: BackendName | None = None
    device: str | None = None
    dtype: DTypeName = "auto"
    max_batch_tokens: int | None = None
    local_files_only: bool = False
    cache: bool | str | Path | None = None
    cache_max_bytes: int = DEFAULT_CACHE_MAX_BYTES
    token: SecretStr | None = Field(default=None, exclude=True, repr=False)
    base_url: str | None = None
    server_model: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)

    if not TYPE_CHECKING:  # type checkers derive a better signature from the fields

        def __init__(self, **options: object) -> None:
            for secret in ("token", "api_key"):  # no traceback's variables shall show them
                if isinstance(options.get(secret), str):
                    options[secret] = SecretStr(options[secret])
            super().__init__(**{name: python_number(given) for name, given in options.items()})
            config = self.encoder.config  # not in a validator, so that errors arrive as they are
            # As resolved: elsewhere, environment and relative paths mean something else.
            self.__dict__.update({n: config[n] for n in ("model", "backend", "cache", "base_url")})

    @classmethod
    def from_encoder(cls, encoder: F2LLM) -> Self:
        """Wrap a core encoder, sharing its weights."""
        wrapped = cls.model_construct(**encoder.config)
        return BaseModel.model_copy(wrapped, update={"encoder": encoder})

    @cached_property
    def encoder(self) -> F2LLM:
        """The core encoder behind this object; its `dimensions` are never None."""
        options = self.model_dump(include=set(F2LLMEmbeddings.model_fields), warnings=False)
        return F2LLM(**options, token=self.token, api_key=self.api_key)

    @property
    def model_name(self) -> str:
        """What most of LangChain calls `model`."""
        return str(self.model)

    def with_options(self, **changes: Any) -> Self:  # noqa: ANN401  (checked by the core)
        """Return a sibling with other options and the same weights; see `F2LLM.with_options`."""
        encoder = self.encoder.with_options(**changes)
        given = {name: encoder.config[name] for name in EncodeOptions.__dataclass_fields__}
        return super().model_copy(update={**given, "encoder": encoder})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, but in step with the encoder."""
        return self.with_options(**(update or {}))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages for an index; errors as in `F2LLM.encode_document`."""
        return list(self.encoder.encode_document(iterate_texts(texts)).tolist())

    def embed_query(self, text: str, **options: Unpack[_QueryOptions]) -> list[float]:
        """Embed a search query, if need be with other options for this one call."""
        return list(self.encoder.with_options(**options).encode_query(check_text(text)).tolist())

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, without blocking the event loop."""
        return await to_lists(await self.encoder.aencode_document(iterate_texts(texts)))

    async def aembed_query(self, text: str, **options: Unpack[_QueryOptions]) -> list[float]:
        """Like `embed_query`, without blocking the event loop."""
        row = await self.encoder.with_options(**options).aencode_query(check_text(text))
        return list(row.tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.model_dump()), ()  # no weights and no secrets

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Let `langchain_core.load` take this class."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Secrets are serialised as the names of environment variables."""
        return {"token": "HF_TOKEN", "api_key": "F2LLM_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """As resolved: `"80M"` means other vectors once another revision is pinned."""
        return {"model": self.encoder.model, "revision": self.encoder.revision}
