"""The package's own engine behind the seam: tokenise, pack, run, write rows to their place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from f2llm_core.backends.base import Observer
from f2llm_core.engine.config import Qwen3Config, read_config
from f2llm_core.engine.hub import ModelSource, fetch
from f2llm_core.engine.packing import plan_batches
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.errors import ModelLoadError
from f2llm_core.instructions import Prompts
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import LoadOptions


class Engine(Protocol):
    """A loaded model."""

    def forward(self, sequences: Sequence[Sequence[int]]) -> Vectors:
        """Return `(len(sequences), width)` float32 rows for EOS-terminated token ids."""


class LocalBackend:
    """Runs a checkpoint in this process.

    Nothing is read before it is needed: the configuration first, the tokenizer and the weights with
    the first text. Safe to call from several threads; forward passes take turns.
    """

    def __init__(self, source: ModelSource, options: LoadOptions) -> None:
        """Prepare to load.

        Args:
            source: Which model, from `identify`.
            options: How to load it.

        Raises:
            ModelLoadError: `source` is a local folder with an unusable `config.json`.
        """
        self._source = source
        self._options = options
        self._loading = threading.RLock()
        self._running = threading.Lock()
        if source.folder is not None:
            _ = self._config  # a wrong folder is better said now than with the first text

    @cached_property
    def _folder(self) -> Path:
        options = self._options
        return fetch(self._source, local_files_only=options.local_files_only, token=options.token)

    @cached_property
    def _config(self) -> Qwen3Config:
        path = self._folder / "config.json"
        config = read_config(path)
        spec = self._source.spec
        if spec is not None and (config.width, config.layers) != (spec.width, spec.layers):
            msg = (
                f"{path} describes {config.layers} layers of width {config.width}; {spec.repo_id} "
                f"has {spec.layers} of {spec.width}. The cached files are of another model."
            )
            raise ModelLoadError(msg)
        return config

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self._folder, self._config)

    @cached_property
    def _engine(self) -> Engine:
        return self._load_engine(self._folder, self._config, self._options)

    def _load_engine(self, folder: Path, config: Qwen3Config, options: LoadOptions) -> Engine:
        from f2llm_core.engine.device import choose_device, choose_dtype
        from f2llm_core.engine.qwen3 import Qwen3Encoder
        from f2llm_core.engine.weights import read_weights

        device = choose_device(options.device)
        dtype = choose_dtype(options.dtype, device)
        return Qwen3Encoder(config, read_weights(folder, config), device=device, dtype=dtype)

    @property
    def width(self) -> int:
        """Full embedding width of the model."""
        if self._source.spec is not None:
            return self._source.spec.width
        with self._loading:
            return self._config.width

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""
        with self._loading:
            return self._config.max_position

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts."""
        with self._loading:
            return self._tokenizer.prompts

    def load(self) -> None:
        """Load tokenizer and weights now rather than with the first text."""
        with self._loading:
            _ = self._tokenizer, self._engine

    def encode(self, prompts: Sequence[str], *, max_length: int, observer: Observer) -> Vectors:
        """Embed whole prompts; see `Backend.encode`."""
        self.load()
        tokenizer = self._tokenizer
        ids = tokenizer.encode(prompts)
        observer.tokenized([len(i) + 1 for i in ids])
        sequences = [tokenizer.finish(i, max_length) for i in ids]
        rows = np.empty((len(prompts), self.width), dtype=np.float32)
        lengths = [len(sequence) for sequence in sequences]
        for batch in plan_batches(lengths, self._options.max_batch_tokens):
            with self._running:
                rows[batch] = self._engine.forward([sequences[i] for i in batch])
            observer.embedded(len(batch))
        return rows

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""
        with self._loading:
            tokenizer = self._tokenizer
        return [len(ids) + 1 for ids in tokenizer.encode(prompts)]
