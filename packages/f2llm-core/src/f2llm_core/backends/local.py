"""The package's own engine behind the seam: tokenise, pack, run, write rows to their place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from f2llm_core.backends.base import Observer
from f2llm_core.engine.config import Qwen3Config, read_config
from f2llm_core.engine.contract import check_modules
from f2llm_core.engine.hub import ModelSource, fetch
from f2llm_core.engine.packing import plan_batches
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.errors import ConfigurationError, ModelLoadError
from f2llm_core.instructions import Prompts
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import LoadOptions

_KEPT_PREFIX_TOKENS = 4096  # of all instructions kept; 32 kB a token at the 80M size in float32


class Prefix(Protocol):
    """The start of many sequences, computed once."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Its tokens."""


class Engine(Protocol):
    """A loaded model."""

    def forward(
        self,
        sequences: Sequence[Sequence[int]],
        prefix: Any = None,  # noqa: ANN401  (each engine's own)
    ) -> Vectors:
        """Return `(len(sequences), width)` float32 rows for EOS-terminated token ids.

        Args:
            sequences: Token ids; without those of the prefix, if there is one.
            prefix: What stands before every sequence, from `prefix`.
        """

    def prefix(self, ids: Sequence[int]) -> Prefix | None:
        """Compute a common start once; None where the engine cannot."""


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
        self._prefixes: dict[tuple[int, ...], Prefix | None] = {}
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
        check_modules(self._folder)
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

    def encode(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Vectors:
        """Embed whole prompts; see `Backend.encode`."""
        self.load()
        ids = self._tokenizer.encode(prompts)
        observer.tokenized([len(i) + 1 for i in ids])
        shared = self._shared(prefix, max_length)
        places: dict[tuple[int, ...], list[int]] = {}  # equal texts are embedded once
        for index, tokens in enumerate(ids):
            places.setdefault(self._tokenizer.finish(tokens, max_length), []).append(index)

        rows = np.empty((len(prompts), self.width), dtype=np.float32)
        for before, sequences in _by_prefix(list(places), shared):
            # A prefix is not computed again, but its keys and values are laid beside each sequence.
            lengths = [len(sequence) for sequence in sequences]
            for batch in plan_batches(lengths, self._options.max_batch_tokens):
                chosen = [sequences[i] for i in batch]
                for sequence, row in zip(chosen, self._run(chosen, before), strict=True):
                    rows[places[sequence]] = row
                observer.embedded(sum(len(places[sequence]) for sequence in chosen))
        return rows

    def _run(self, sequences: list[tuple[int, ...]], before: Prefix | None) -> Vectors:
        """Run one batch, in halves if memory runs out; forward passes take turns."""
        skip = len(before.ids) if before else 0
        try:
            with self._running:
                return self._engine.forward([s[skip:] for s in sequences], before)
        except RuntimeError as error:
            if len(sequences) == 1 or not _is_out_of_memory(error):
                raise
        middle = len(sequences) // 2
        halves = (sequences[:middle], sequences[middle:])
        return np.concatenate([self._run(half, before) for half in halves])

    def _shared(self, prefix: str, max_length: int) -> Prefix | None:
        """Return the computed start that prompts of this prefix have in common, if any."""
        # The last space merges with the word that follows it, so it is no token of the prefix.
        [tokens] = self._tokenizer.encode([prefix.rstrip(" ")])
        if tokens and len(tokens) + 1 >= max_length:
            msg = (
                f"max_length={max_length} leaves no room for text after the instruction, which "
                f"takes {len(tokens)} tokens: {prefix!r}."
            )
            raise ConfigurationError(msg)
        key = tuple(tokens)
        if key and key not in self._prefixes:
            with self._running:
                if sum(map(len, self._prefixes)) + len(key) > _KEPT_PREFIX_TOKENS:
                    self._prefixes.clear()
                self._prefixes[key] = self._engine.prefix(tokens)
        return self._prefixes.get(key)

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""
        with self._loading:
            tokenizer = self._tokenizer
        return [len(ids) + 1 for ids in tokenizer.encode(prompts)]


def _by_prefix(
    sequences: list[tuple[int, ...]], shared: Prefix | None
) -> list[tuple[Prefix | None, list[tuple[int, ...]]]]:
    """Split sequences into those that start with the tokens of `shared`, and the others.

    Tokens can merge across the end of a prefix, so that a prompt need not start with its tokens.
    """
    if shared is None:
        return [(None, sequences)]
    size = len(shared.ids)
    starts = [s[:size] == shared.ids and len(s) > size for s in sequences]
    return [
        (shared, [s for s, yes in zip(sequences, starts, strict=True) if yes]),
        (None, [s for s, yes in zip(sequences, starts, strict=True) if not yes]),
    ]


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell torch's two ways to say it: a type on GPUs, a message on CPUs."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
