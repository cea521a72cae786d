"""The package's own engine behind the seam: tokenise, queue, run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from f2llm_core.backends.base import Observer, Pending, Stats
from f2llm_core.backends.checkpoint import Checkpoint
from f2llm_core.engine.config import Qwen3Config
from f2llm_core.engine.hub import ModelSource
from f2llm_core.engine.memory import KeptMemory, trim
from f2llm_core.engine.preload import import_torch, map_torch
from f2llm_core.engine.tokenizer import Tokenizer
from f2llm_core.errors import ModelError
from f2llm_core.fingerprint import ModelIdentity, model_identity
from f2llm_core.instructions import Prompts
from f2llm_core.jobs import Job, Prompt, Untokenized
from f2llm_core.matryoshka import Vectors
from f2llm_core.options import LoadOptions
from f2llm_core.worker import Worker

# A call of up to so many characters, instruction included, is tokenised together with those that
# wait beside it: sixteen threads with a query each would keep handing over the interpreter.
_SHORT_CHARACTERS = 512

_KEPT_PREFIX_TOKENS = 4096  # of all instructions kept; 64 kB a token at the 80M size in float32


class Prefix(Protocol):
    """The start of many sequences, computed once."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Its tokens."""


class Engine(Protocol):
    """A loaded model."""

    @property
    def device(self) -> Any:  # noqa: ANN401  (torch's, which is not imported here)
        """Where it computes, a `torch.device`."""

    @property
    def batch_tokens(self) -> int:
        """Tokens per forward pass that suit the device."""

    def forward(
        self,
        sequences: Sequence[Sequence[int]],
        prefixes: Sequence[Any] | None = None,  # each engine's own, or None
    ) -> Vectors:
        """Return `(len(sequences), width)` float32 rows for EOS-terminated token ids.

        Args:
            sequences: Token ids; without those of their prefixes.
            prefixes: What stands before each sequence, from `prefix`, or None.
        """

    def prefix(self, ids: Sequence[int]) -> Prefix | None:
        """Compute a common start once; None where the engine cannot."""


class LocalBackend:
    """Runs a checkpoint in this process.

    Nothing is read before it is needed: the configuration first, the tokenizer and the weights with
    the first text. Callers tokenise in their own threads, unless the call is short; the worker's
    thread loads, tokenises short calls, and computes.
    """

    def __init__(self, source: ModelSource, options: LoadOptions) -> None:
        """Prepare to load.

        Args:
            source: Which model, from `identify`.
            options: How to load it.

        Raises:
            ModelLoadError: `source` is a local folder with an unusable `config.json`.
        """
        self.checkpoint = Checkpoint(
            source, local_files_only=options.local_files_only, token=options.token
        )
        self._options = options
        self._engine: Engine | None = None
        self._kept_memory: KeptMemory | None = None
        self._process = os.getpid()
        self._prefixes: dict[tuple[int, ...], Prefix | None] = {}
        self._stats = Stats()
        self._worker = Worker(self)
        if source.folder is not None:
            _ = self.checkpoint.config  # a wrong folder is better said now than with the first text

    @property
    def source(self) -> ModelSource:
        """Which model."""
        return self.checkpoint.source

    def identity(self) -> ModelIdentity:
        """Return what a row depends on; see `Backend.identity`."""
        return model_identity(self.source, self.checkpoint.folder, self._options)

    @property
    def eos_id(self) -> int:
        """Token that ends every text."""
        return self._tokenizer.eos_id

    @property
    def width(self) -> int:
        """Full embedding width of the model."""
        spec = self.checkpoint.source.spec
        return self.checkpoint.config.width if spec is None else spec.width

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""
        return self.checkpoint.config.max_position

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts."""
        return self._tokenizer.prompts

    @property
    def stats(self) -> Stats:
        """What was computed so far."""
        return self._stats

    @property
    def _tokenizer(self) -> Tokenizer:
        self._worker.check_open()
        if self._engine is None:
            map_torch()
        return self.checkpoint.tokenizer

    def load(self) -> None:
        """Load tokenizer and weights now rather than with the first text."""
        _ = self._tokenizer
        self._queue([], lambda _: None).result()

    def submit(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Pending:
        """Check, tokenise and queue whole prompts; see `Backend.submit`."""
        start = self._tokenizer.prefix_ids(prefix, max_length)
        untokenized = Untokenized(prompts, start, max_length, observer.tokenized)
        job = Job(len(prompts), self.width, observer.embedded, untokenized)
        if observer.at_once or sum(map(len, prompts)) + len(prompts) > _SHORT_CHARACTERS:
            self._fill(job, untokenized, self._tokenizer.encode(prompts))
        self._worker.submit(job)
        return Pending(job.future)

    def _fill(self, job: Job, call: Untokenized, ids: Sequence[list[int]]) -> None:
        call.tokenized([len(i) + 1 for i in ids])
        finished = (self._tokenizer.finish(i, call.max_length) for i in ids)
        job.fill([_split(i, call.start) for i in finished])

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""
        return [len(ids) + 1 for ids in self._tokenizer.encode(prompts)]

    def embed_ids(self, sequences: Sequence[Sequence[int]]) -> Vectors:
        """Return the rows of token ids as they are, `(len(sequences), width)`; none may be empty.

        For examinations: no text is made of the ids, nothing is cut, and no EOS is appended.
        """
        return self._queue([Prompt(tuple(ids)) for ids in sequences], lambda _: None).result()

    def close(self) -> None:
        """Free the model after the batch at hand; see `Backend.close`."""
        self._worker.close()
        self._engine = self._kept_memory = None
        self._prefixes.clear()
        self.checkpoint.forget_tokenizer()

    def _queue(self, prompts: list[Prompt], progressed: Callable[[int], None]) -> Future[Vectors]:
        job = Job(len(prompts), self.width, progressed)
        job.fill(prompts)
        self._worker.submit(job)
        return job.future

    # What follows runs on the worker's thread only.

    def tokenize(self, jobs: Sequence[Job]) -> None:
        """Tokenise jobs in one go; one that cannot be fails, and no other."""
        given = [(job, call) for job in jobs if (call := job.untokenized) and not job.future.done()]
        try:
            prompts = [prompt for _, call in given for prompt in call.prompts]
            ids = iter(self._tokenizer.encode(prompts))
            for job, call in given:
                self._fill(job, call, list(islice(ids, len(call.prompts))))
        except Exception as error:  # handed to whom it belongs
            for job, _ in given:
                if len(given) == 1:
                    job.fail(error)
                else:
                    self.tokenize([job])

    @property
    def batch_tokens(self) -> int:
        """Tokens per forward pass."""
        assert self._engine is not None  # noqa: S101  (for the type checker)
        return self._options.max_batch_tokens or self._engine.batch_tokens

    def prepare(self) -> None:
        """Load the weights, unless they are loaded."""
        if self._engine is None:
            self._engine = self._load_engine(
                self.checkpoint.folder, self.checkpoint.config, self._options
            )
            self._process = os.getpid()
            trim()
            self._kept_memory = KeptMemory()
        elif self._process != os.getpid() and self._engine.device.type != "cpu":
            msg = (
                f"This model was loaded on {self._engine.device} before the process was forked, "
                "which such a device does not survive. Start processes with 'spawn' or "
                "'forkserver', or load the model after the fork."
            )
            raise ModelError(msg)

    def _load_engine(self, folder: Path, config: Qwen3Config, options: LoadOptions) -> Engine:
        import_torch()
        from f2llm_core.engine.device import choose_device, choose_dtype
        from f2llm_core.engine.qwen3 import Qwen3Encoder
        from f2llm_core.engine.weights import read_weights

        device = choose_device(options.device)
        dtype = choose_dtype(options.dtype, device)
        int8 = options.dtype == "int8"
        tensors = read_weights(folder, config)
        return Qwen3Encoder(config, tensors, device=device, dtype=dtype, int8=int8)

    def rest(self) -> None:
        """Give back the memory that passes over documents leave behind."""
        trim()

    def forked(self) -> None:
        """Let go of locks that threads of the parent process may have held."""
        self.checkpoint.forked()

    def run(self, prompts: list[Prompt]) -> Vectors:
        """Return a row per prompt, `(len(prompts), width)`; in halves if memory runs out."""
        try:
            return self._forward(prompts)
        except RuntimeError as error:
            if len(prompts) == 1 or not _is_out_of_memory(error):
                raise
        middle = len(prompts) // 2
        return np.concatenate([self.run(half) for half in (prompts[:middle], prompts[middle:])])

    def _forward(self, prompts: list[Prompt]) -> Vectors:
        assert self._engine is not None  # noqa: S101  (for the type checker)
        prefixes = [self._prefix(prompt.ids[: prompt.shared]) for prompt in prompts]
        sequences = [
            prompt.ids[len(prefix.ids) :] if prefix else prompt.ids
            for prompt, prefix in zip(prompts, prefixes, strict=True)
        ]
        passes, texts = self._stats.passes + 1, self._stats.texts + len(prompts)
        self._stats = Stats(passes, texts)
        return self._engine.forward(sequences, prefixes)

    def _prefix(self, ids: tuple[int, ...]) -> Prefix | None:
        """Return the computed start of prompts, if there is one."""
        assert self._engine is not None  # noqa: S101  (for the type checker)
        if ids and ids not in self._prefixes:
            if sum(map(len, self._prefixes)) + len(ids) > _KEPT_PREFIX_TOKENS:
                self._prefixes.clear()
            self._prefixes[ids] = self._engine.prefix(ids)
        return self._prefixes.get(ids)


def _split(ids: tuple[int, ...], start: tuple[int, ...]) -> Prompt:
    """Tell a prompt that begins with the tokens of its prefix from one that merged with it.

    Tokens can merge across the end of a prefix, so that a prompt need not start with its tokens.
    """
    size = len(start)
    return Prompt(ids, size if ids[:size] == start and len(ids) > size else 0)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell by the words of torch's error, which has a type of its own on some devices only."""
    return any(words in str(error) for words in ("out of memory", "can't allocate memory"))
