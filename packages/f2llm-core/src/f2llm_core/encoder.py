"""`F2LLM`: texts in, vectors out. Every public way to embed something goes through `_embed`."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from f2llm_core.backends import make_backend
from f2llm_core.engine.hub import identify
from f2llm_core.errors import ConfigurationError
from f2llm_core.inputs import OnTruncate, TruncationReport, check_text, check_texts, iterate_texts
from f2llm_core.instructions import Prompts, Side, choose_prompts
from f2llm_core.matryoshka import Vectors, check_dimensions, truncate, warn_if_untrained
from f2llm_core.models import DEFAULT_MODEL
from f2llm_core.options import (
    DEFAULT_MAX_BATCH_TOKENS,
    DEFAULT_MAX_LENGTH,
    BackendName,
    DTypeName,
    EncodeOptions,
    LoadOptions,
    check_positive,
)
from f2llm_core.progress import CallObserver


class F2LLM:
    """An F2LLM-v2 embedding model, immutable once made.

    Queries get the task's instruction, documents are embedded as they are, and no text is ever
    altered. Weights are loaded with the first text; siblings made by `with_options` share them.

        model = F2LLM("80M")
        scores = model.encode_query("우주 망원경") @ model.encode_document(passages).T
    """

    __slots__ = ("_backend", "_load_options", "_options", "_source")

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
        backend: BackendName = "local",
        device: str | None = None,
        dtype: DTypeName = "auto",
        max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS,
        local_files_only: bool = False,
        token: str | None = None,
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
            max_length: Tokens kept of each text, instruction and EOS included; None is 8192 or the
                model's limit, whichever is smaller.
            on_truncate: What to do with longer texts: `"warn"`, `"ignore"` or `"error"`.
            backend: `"local"`, or `"sentence-transformers"` for the reference.
            device: For example `"cpu"` or `"cuda:1"`; None takes the first GPU, else the CPU.
            dtype: Precision of the matrix products: `"auto"`, `"float32"` or `"bfloat16"`.
            max_batch_tokens: Tokens per forward pass; a longer text runs alone.
            local_files_only: Never use the network; so does the environment's `HF_HUB_OFFLINE=1`.
            token: Hub token for private repositories; by default the one the hub client stored.

        Raises:
            ConfigurationError: An option with a wrong value.
            ModelNotFoundError: `model` names nothing that could be a model.
            ModelLoadError: A local folder that is not a model.
        """
        self._load_options = LoadOptions(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            max_batch_tokens=max_batch_tokens,
            local_files_only=local_files_only,
            token=token,
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
        """Keyword arguments that make this encoder again, anywhere; never holds the token."""
        config = asdict(self._load_options) | asdict(self._options)
        del config["token"]
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
    def prompts(self) -> Prompts:
        """What is put before queries and before documents, character for character."""
        options = self._options
        return choose_prompts(
            self._backend.prompts,
            task=options.task,
            instruction=options.instruction,
            document_instruction=options.document_instruction,
        )

    def with_options(self, **changes: Any) -> F2LLM:  # noqa: ANN401  (checked by EncodeOptions)
        """Return a sibling with other options and the same weights.

        Args:
            **changes: Any of `dimensions`, `task`, `instruction`, `document_instruction`,
                `max_length`, `on_truncate`. A task brings its own instructions: those of this
                encoder do not outlast it.

        Raises:
            ConfigurationError: An unknown option or a wrong value.
        """
        unknown = changes.keys() - EncodeOptions.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(EncodeOptions.__dataclass_fields__)
            msg = f"with_options cannot change {', '.join(sorted(unknown))}. Allowed: {known}."
            raise ConfigurationError(msg)
        if "task" in changes:
            changes = {"instruction": None, "document_instruction": None} | changes
        sibling = object.__new__(F2LLM)
        sibling._source = self._source
        sibling._load_options = self._load_options
        sibling._backend = self._backend
        sibling._options = replace(self._options, **changes)
        sibling._check(changes)
        return sibling

    def encode_query(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Embed search queries, with the instruction in front.

        Args:
            texts: The queries, or one of them.
            show_progress: Draw a progress bar.

        Returns:
            float32, unit length: `(n, dimensions)`, or `(dimensions,)` for one `str`.

        Raises:
            InputError: A text that cannot be embedded; nothing was computed.
            ModelError: The model cannot be found or loaded.
            NonFiniteError: The model produced vectors that no index should hold.
        """
        return self._embed(texts, "query", show_progress=show_progress)

    def encode_document(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Embed passages for an index; arguments, result and errors as in `encode_query`."""
        return self._embed(texts, "document", show_progress=show_progress)

    def encode(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Embed texts of a symmetric task (similarity, clustering, classification …).

        Arguments and result as in `encode_query`.

        Raises:
            ConfigurationError: Queries and documents are treated differently by this encoder's
                task, so that the side must be said.
        """
        prompts = self.prompts
        if prompts.query != prompts.document:
            msg = (
                "This encoder treats queries and documents differently: call encode_query or "
                "encode_document, or choose a symmetric task, for example with_options(task='sts')."
            )
            raise ConfigurationError(msg)
        return self._embed(texts, "document", show_progress=show_progress)

    async def aencode_query(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Like `encode_query`, without blocking the event loop."""
        return await asyncio.to_thread(self.encode_query, texts, show_progress=show_progress)

    async def aencode_document(
        self, texts: str | Iterable[str], *, show_progress: bool = False
    ) -> Vectors:
        """Like `encode_document`, without blocking the event loop."""
        return await asyncio.to_thread(self.encode_document, texts, show_progress=show_progress)

    async def aencode(self, texts: str | Iterable[str], *, show_progress: bool = False) -> Vectors:
        """Like `encode`, without blocking the event loop."""
        return await asyncio.to_thread(self.encode, texts, show_progress=show_progress)

    def iter_documents(
        self, texts: Iterable[str], *, block_size: int = 1024, show_progress: bool = False
    ) -> Iterator[Vectors]:
        """Embed a stream of passages that need not fit into memory.

        Args:
            texts: Read once, one block ahead of what was yielded.
            block_size: Texts per block.
            show_progress: Draw a progress bar.

        Returns:
            Blocks of `(block_size, dimensions)` float32 in the order of the texts; the last may be
            shorter.

        Raises:
            InputError: A text that cannot be embedded; its index counts from the stream's start.
        """
        check_positive("block_size", block_size)
        stream = enumerate(iterate_texts(texts))
        blocks = iter(lambda: [check_text(t, i) for i, t in islice(stream, block_size)], [])
        return self._iter_blocks(blocks, show_progress=show_progress)

    def count_tokens(self, texts: str | Iterable[str], *, side: Side = "document") -> list[int]:
        """Count tokens as the model sees them.

        Args:
            texts: The texts, or one of them.
            side: Whose prompt to count along.

        Returns:
            Tokens of each text before truncation, prompt and EOS included.
        """
        batch = [check_text(texts)] if isinstance(texts, str) else check_texts(texts)
        prompt = self.prompts.of(side)
        return self._backend.count_tokens([prompt + text for text in batch])

    def _embed(self, texts: str | Iterable[str], side: Side, *, show_progress: bool) -> Vectors:
        single = isinstance(texts, str)
        batch = [check_text(texts)] if single else check_texts(texts)
        if not batch:
            return np.empty((0, self.dimensions), dtype=np.float32)
        with self._observe(show_progress=show_progress, total=len(batch)) as observer:
            vectors = self._vectors(batch, self.prompts.of(side), observer)
        return vectors[0] if single else vectors

    def _vectors(self, batch: list[str], prompt: str, observer: CallObserver) -> Vectors:
        prompts = [prompt + text for text in batch]
        if not (self._source.folder or self._source.spec):  # only now is the width known
            warn_if_untrained(self.dimensions, self.width)
        rows = self._backend.encode(
            prompts, prefix=prompt, max_length=self.max_length, observer=observer
        )
        return truncate(rows, self.dimensions)

    def _iter_blocks(
        self, blocks: Iterable[list[str]], *, show_progress: bool
    ) -> Iterator[Vectors]:
        with self._observe(show_progress=show_progress, total=None) as observer:
            for block in blocks:
                yield self._vectors(block, self.prompts.document, observer)
                observer.offset += len(block)

    def _check(self, given: Container[str]) -> None:
        """Check options against the model as far as that needs no download."""
        if "max_length" in given and self._source.folder:
            _ = self.max_length
        if "dimensions" in given and (self._source.folder or self._source.spec):
            warn_if_untrained(self.dimensions, self.width)

    def _observe(self, *, show_progress: bool, total: int | None) -> CallObserver:
        report = TruncationReport(self.max_length, self._options.on_truncate)
        return CallObserver(report, show_progress=show_progress, total=total)

    def __repr__(self) -> str:
        given = asdict(self._options).items() - asdict(EncodeOptions()).items()
        return f"F2LLM({', '.join([repr(self.model), *(f'{k}={v!r}' for k, v in sorted(given))])})"

    def __copy__(self) -> F2LLM:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> F2LLM:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration only: no weights, which are loaded again, and no token."""
        return partial(F2LLM, **self.config), ()
