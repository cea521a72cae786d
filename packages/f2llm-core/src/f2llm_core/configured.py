"""Which model, and how it is used: all of `F2LLM` that embeds nothing."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from f2llm_core.backends import make_backend
from f2llm_core.backends.base import Stats
from f2llm_core.engine.hub import identify
from f2llm_core.errors import ConfigurationError
from f2llm_core.fingerprint import Fingerprint, fingerprint
from f2llm_core.inputs import OnTruncate
from f2llm_core.instructions import Prompts, choose_prompts
from f2llm_core.matryoshka import check_dimensions, warn_if_untrained
from f2llm_core.models import DEFAULT_MODEL
from f2llm_core.options import (
    DEFAULT_CACHE_MAX_BYTES,
    DEFAULT_MAX_LENGTH,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    BackendName,
    DTypeName,
    EncodeOptions,
    LoadOptions,
)
from f2llm_core.pipeline import Intake
from f2llm_core.secret import Hidden, hide

Self = TypeVar("Self", bound="ConfiguredModel")


class ConfiguredModel:
    """A model and its options, immutable once made; `with_options` makes siblings."""

    __slots__ = ("__weakref__", "_backend", "_intake", "_load_options", "_options", "_source")

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        instruction: str | None = None,
        document_instruction: str | None = None,
        max_length: int | None = None,
        on_truncate: OnTruncate = "warn",
        backend: BackendName | None = None,
        device: str | None = None,
        dtype: DTypeName = "auto",
        max_batch_tokens: int | None = None,
        local_files_only: bool = False,
        cache: bool | str | Path | None = None,
        cache_max_bytes: int = DEFAULT_CACHE_MAX_BYTES,
        token: str | Hidden | None = None,
        base_url: str | None = None,
        server_model: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        api_key: str | Hidden | None = None,
    ) -> None:
        r"""Name a model and how to use it.

        Args:
            model: Short name (`"80M"` … `"14B"`), hub id or local folder.
            revision: Commit, branch or tag on the hub; released sizes are pinned by default.
            dimensions: Width of the vectors, 8 to the model's width; None for the full width.
            task: A preset of `f2llm_core.TASKS`, which decides the instruction and whether it goes
                before documents, too. None is the checkpoint's own query prompt, queries only.
            instruction: Replaces the task's instruction: a bare instruction or the whole
                `"Instruct: …\nQuery: "` string. An empty string means no prompt.
            document_instruction: The same for documents, which otherwise get one only if the task
                is symmetric.
            max_length: Tokens kept of each text, instruction and EOS included, 2 or more; None is
                8192 or the model's limit, whichever is smaller.
            on_truncate: What to do with longer texts: `"warn"`, `"ignore"` or `"error"`.
            backend: `"local"`, `"sentence-transformers"` for the reference, or `"endpoint"` for a
                server; None is `"endpoint"` if there is a `base_url`, else `"local"`.
            device: For example `"cpu"` or `"cuda:1"`; None takes the first GPU, else the CPU. A CPU
                computes with as many threads as torch has when the first text comes
                (`torch.set_num_threads`).
            dtype: Precision of the matrix products: `"auto"` (bfloat16 where the hardware
                multiplies it natively, else float32), `"float32"`, `"bfloat16"`, or `"int8"`, which
                keeps weights in 8 bits: half the memory of bfloat16, but slower (what each costs in
                quality is in the repository's `benchmarks/precision.md`). As exact as torch's own
                settings let it be (`torch.set_float32_matmul_precision`).
            max_batch_tokens: Tokens per forward pass, a longer text running alone; None is what
                suits the device.
            local_files_only: Never use the network; so does the environment's `HF_HUB_OFFLINE=1`.
            cache: Keep rows on disk, but no texts: True for your own cache folder (the
                environment's `F2LLM_CACHE`, if set), or a folder.
            cache_max_bytes: Bound of the cache; rows not used for longest make room.
            token: Hub token for private repositories, a `str` or pydantic's `SecretStr`; by default
                the one the hub client stored.
            base_url: Address of a server with OpenAI's `/v1/embeddings` that runs the model, with
                or without the `/v1`; by default the environment's `F2LLM_BASE_URL`.
            server_model: What the server calls the model; None asks it.
            timeout: Seconds that a call waits for a server's answer, all retries included. A call
                of many texts goes on while answers come.
            max_retries: How often a request is repeated that a server could not serve.
            api_key: The server's key, a `str` or pydantic's `SecretStr`; by default the
                environment's `F2LLM_API_KEY`.

        Raises:
            ConfigurationError: An option with a wrong value.
            MissingExtraError: `base_url` without the extra `endpoint`.
            ModelNotFoundError: `model` names nothing that could be a model.
            ModelLoadError: A local folder that is not a model.
        """
        # First of all, so that no traceback's variables show them.
        token, api_key = hide(token), hide(api_key)
        self._load_options = LoadOptions(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            max_batch_tokens=max_batch_tokens,
            local_files_only=local_files_only,
            cache=cache,
            cache_max_bytes=cache_max_bytes,
            token=token,
            base_url=base_url,
            server_model=server_model,
            timeout=timeout,
            max_retries=max_retries,
            api_key=api_key,
        )
        self._options = EncodeOptions(
            dimensions=dimensions,
            task=task,
            instruction=instruction,
            document_instruction=document_instruction,
            max_length=max_length,
            on_truncate=on_truncate,
        )
        self._source = identify(model, revision)
        self._backend = make_backend(self._source, self._load_options)
        self._intake = Intake()
        self._check({"dimensions", "max_length"})

    @property
    def model(self) -> str:
        """Hub id or folder of the model."""
        return self._source.name

    @property
    def revision(self) -> str | None:
        """Commit, branch or tag that is asked of the hub; None for a folder or the default."""
        return self._source.revision

    @property
    def config(self) -> dict[str, Any]:
        """Keyword arguments that make this encoder again, anywhere; never holds a secret."""
        config = asdict(self._load_options) | asdict(self._options)
        del config["token"], config["api_key"]
        if self._source.folder:
            config["model"] = self.model
        return config

    @property
    def width(self) -> int:
        """Full embedding width of the model."""
        return self._backend.width

    @property
    def dimensions(self) -> int:
        """Width of the vectors that this encoder returns."""
        return check_dimensions(self._options.dimensions, self.width)

    @property
    def max_length(self) -> int:
        """Tokens kept of each text, instruction and EOS included."""
        limit = self._backend.max_position
        asked = self._options.max_length
        if asked is not None and asked > limit:
            msg = f"max_length={asked} is beyond the model's {limit} positions."
            raise ConfigurationError(msg)
        return asked or min(DEFAULT_MAX_LENGTH, limit)

    @property
    def fingerprint(self) -> Fingerprint:
        """What an index made with this encoder must be used with; reads its files."""
        return fingerprint(self)

    @property
    def stats(self) -> Stats:
        """Forward passes and texts so far, of all encoders that share the weights."""
        return self._backend.stats

    @property
    def prompts(self) -> Prompts:
        """What is put before queries and before documents, character for character."""
        options = self._options
        return choose_prompts(
            self._backend.prompts,
            task=options.task,
            instruction=options.instruction,
            document_instruction=options.document_instruction,
        )

    def with_options(self: Self, **changes: Any) -> Self:  # noqa: ANN401  (checked by EncodeOptions)
        """Return a sibling with other options and the same weights.

        Args:
            **changes: Any of `dimensions`, `task`, `instruction`, `document_instruction`,
                `max_length`, `on_truncate`. A task brings its own instructions: those of this
                encoder do not outlast it.

        Raises:
            ConfigurationError: An unknown option or a wrong value.
        """
        sibling = object.__new__(type(self))
        sibling._source = self._source
        sibling._load_options = self._load_options
        sibling._backend = self._backend
        sibling._intake = self._intake
        sibling._options = self._options.changed(changes)
        sibling._check(changes)
        return sibling

    def close(self) -> None:
        """Free the weights, once the batch at hand is done; a second time does nothing.

        Calls that wait get a `ClosedError`, as does every later one, also of encoders made with
        `with_options`, which share the weights.
        """
        self._backend.close()

    def _check(self, given: Container[str]) -> None:
        """Check options against the model as far as that needs no download."""
        if "max_length" in given and self._source.folder:
            _ = self.max_length
        if "dimensions" in given and (self._source.folder or self._source.spec):
            warn_if_untrained(self.dimensions, self.width)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        given = asdict(self._options).items() - asdict(EncodeOptions()).items()
        if self._load_options.base_url is not None:
            given.add(("base_url", self._load_options.base_url))
        return f"F2LLM({', '.join([repr(self.model), *(f'{k}={v!r}' for k, v in sorted(given))])})"

    def __copy__(self: Self) -> Self:
        return self

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration only: no weights, which are loaded again, and no token."""
        return partial(type(self), **self.config), ()
