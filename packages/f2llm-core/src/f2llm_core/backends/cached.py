"""A backend that asks another one only for the rows that no cache has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import astuple

import numpy as np

from f2llm_core.backends.base import Backend, Observer, Pending, Stats
from f2llm_core.cache import EmbeddingCache, Row
from f2llm_core.cache_file import SCHEMA
from f2llm_core.engine.contents import file_versions
from f2llm_core.engine.hub import ModelSource
from f2llm_core.errors import CacheWarning, ClosedError, F2LLMError, ModelNotFoundError, warn
from f2llm_core.fingerprint import ModelIdentity
from f2llm_core.instructions import Prompts
from f2llm_core.matryoshka import Vectors


class CachedBackend:
    """Looks whole prompts up before they are embedded, and keeps the rows of those that were not.

    A row's key is its model's identity, `max_length`, the prefix and the whole prompt, so that
    models, roles and instructions cannot mix; rows have the full width, which serves every smaller
    one.

    Attributes:
        inner: The backend that computes.
    """

    def __init__(self, inner: Backend, cache: EmbeddingCache) -> None:
        """Wrap a backend; nothing is opened yet.

        Args:
            inner: The backend that computes.
            cache: Where rows are kept.
        """
        self.inner = inner
        self._cache = cache
        self._files = file_versions(inner.source)
        self._known: ModelIdentity | None = None
        self._usable = True
        self._closed = False

    @property
    def source(self) -> ModelSource:
        """Which model."""
        return self.inner.source

    def identity(self) -> ModelIdentity:
        """Return what a row depends on; see `Backend.identity`."""
        return self.inner.identity()

    @property
    def eos_id(self) -> int:
        """Token that ends every text."""
        return self.inner.eos_id

    @property
    def width(self) -> int:
        """Full embedding width of the model."""
        return self.inner.width

    @property
    def max_position(self) -> int:
        """Longest sequence the model supports, in tokens."""
        return self.inner.max_position

    @property
    def prompts(self) -> Prompts:
        """The checkpoint's own prompts."""
        return self.inner.prompts

    @property
    def stats(self) -> Stats:
        """What was computed so far; what came out of the cache was not."""
        return self.inner.stats

    def submit(
        self, prompts: Sequence[str], *, prefix: str, max_length: int, observer: Observer
    ) -> Pending:
        """Look prompts up, and have the others embedded; see `Backend.submit`."""
        if self._closed:
            raise ClosedError.of_all(shared="cache")
        identity = self._identity()
        if identity is None:
            return self.inner.submit(
                prompts, prefix=prefix, max_length=max_length, observer=observer
            )
        keys = list(_keys(identity, prompts, prefix, max_length))
        found = self._cache.get(keys, self.width)
        if not all(row.length for row in found.values()) and self._counts():
            found = {key: row for key, row in found.items() if row.length}
        rows = np.empty((len(prompts), self.width), dtype=np.float32)
        for row, key in zip(rows, keys, strict=True):
            if key in found:
                row[:] = found[key].vector
        lengths = [found[key].length if key in found else 0 for key in keys]
        missing = [index for index, key in enumerate(keys) if key not in found]
        merged = _MergedObserver(observer, lengths, missing)
        if not missing:
            merged.tokenized([])
            done: Future[Vectors] = Future()
            done.set_result(rows)
            return Pending(done)
        pending = self.inner.submit(
            [prompts[index] for index in missing],
            prefix=prefix,
            max_length=max_length,
            observer=merged,
        )

        def finish(computed: Vectors) -> Vectors:
            rows[missing] = computed
            if self._identity() is not None:
                new = {keys[i]: Row(lengths[i], rows[i]) for i in missing}
                self._cache.put(self.source.name, _describe(identity), new)
            return rows

        return pending.then(finish)

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Return the untruncated token count of every prompt, EOS included."""
        return self.inner.count_tokens(prompts)

    def close(self) -> None:
        """Free the model and close the cache; see `Backend.close`."""
        self._closed = True
        self.inner.close()
        self._cache.close()

    def _counts(self) -> bool:
        """Tell whether texts are counted, and cut; before a tokenizer was here, they were not."""
        try:
            self.inner.count_tokens([""])
        except ModelNotFoundError:
            return False
        return True

    def _identity(self) -> ModelIdentity | None:
        """Return what rows depend on, or None once it is not certain whose rows they are.

        Tokenizer and weights are read once, at some time after this object was made. Files that
        have changed since may be in use or not.
        """
        if not self._usable:
            return None
        try:
            if self._known is None:
                self._known = self.inner.identity()
            unchanged = file_versions(self.source) == self._files
            problem = None if unchanged else "its files have changed"
        except (F2LLMError, OSError) as error:
            problem = f"its files cannot be read ({error})"
        if problem is None:
            return self._known
        self._usable = False
        warn(
            f"The embedding cache is not used any more for {self.source.name}: {problem}. "
            "Make a new encoder.",
            CacheWarning,
        )
        return None


class _MergedObserver:
    """Tells of a whole call while only a part of it is computed."""

    def __init__(self, observer: Observer, lengths: list[int], missing: Sequence[int]) -> None:
        """Stand between the backend that computes and the observer of the call.

        Args:
            observer: Of the whole call.
            lengths: Token counts of all prompts; those that are missing are filled in.
            missing: Places of the prompts that are computed.
        """
        self._observer = observer
        self._lengths = lengths
        self._missing = missing

    @property
    def at_once(self) -> bool:
        """What the observer of the whole call wants."""
        return self._observer.at_once

    def tokenized(self, lengths: Sequence[int]) -> None:
        """Tell the lengths of all prompts, and that those not missing are done."""
        for index, length in zip(self._missing, lengths, strict=True):
            self._lengths[index] = length
        self._observer.tokenized(self._lengths)
        self._observer.embedded(len(self._lengths) - len(self._missing))

    def embedded(self, count: int) -> None:
        """Pass on how many more prompts are done."""
        self._observer.embedded(count)


def _keys(
    identity: ModelIdentity, prompts: Sequence[str], prefix: str, max_length: int
) -> Iterator[bytes]:
    # A JSON list says itself where it ends, so that no prompt can pass for another's beginning.
    begun = hashlib.sha256(json.dumps([SCHEMA, *astuple(identity), max_length, prefix]).encode())
    for prompt in prompts:
        whole = begun.copy()
        whole.update(prompt.encode())
        yield whole.digest()


def _describe(identity: ModelIdentity) -> str:
    return " ".join(astuple(identity))
