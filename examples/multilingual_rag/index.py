"""A persistent Chroma collection that is brought up to date instead of being built again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError
from corpus import DemoError, Passage
from model import describe, identify
from numpy.typing import NDArray

from f2llm_core import F2LLM

BLOCK = 128  # passages that are embedded, and then stored, at a time


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update did, in numbers of passages."""

    added: int
    replaced: int
    removed: int
    unchanged: int


class Index:
    """Passages and their vectors in a folder, made by one model and for that model only."""

    def __init__(self, folder: Path, name: str, encoder: F2LLM, *, rebuild: bool = False) -> None:
        """Open a collection, or make it.

        Args:
            folder: Where Chroma keeps its files.
            name: Name of the collection.
            encoder: The model that embeds its passages.
            rebuild: Start with an empty collection.

        Raises:
            DemoError: The folder is unusable, or the collection was made by another model.
        """
        try:
            self.client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
        except (ChromaError, OSError, ValueError) as error:
            msg = f"{folder} cannot hold an index: {error}"
            raise DemoError(msg) from error
        if rebuild:
            with suppress(NotFoundError):
                self.client.delete_collection(name)
        self.name = name
        self.encoder = encoder
        self.identity = identity = identify(encoder)
        self.collection = self.client.get_or_create_collection(
            name,
            metadata=identity,  # only of use to a new collection: an old one keeps its own
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        stored = {key: (self.collection.metadata or {}).get(key, "unknown") for key in identity}
        if stored != identity:
            msg = (
                f"The index in {folder} was made with {describe(stored)}, but this run uses "
                f"{describe(identity)}. Their vectors cannot be compared: keep this index and "
                "choose another folder with --persist DIR, or make it anew with --rebuild."
            )
            raise DemoError(msg)

    def update(self, passages: Sequence[Passage], progress: Callable[[int, int], None]) -> Changes:
        """Make the collection hold these passages and no others.

        Only new and changed passages are embedded. Each block is stored as soon as it is embedded,
        so that a run that was stopped is completed by the next.

        Args:
            passages: All that should be there; their ids are unique.
            progress: Told how many passages are embedded, and of how many.

        Returns:
            What had to be done.
        """
        records = self.collection.get(include=["metadatas"])
        stored = {
            id_: metadata.get("hash")
            for id_, metadata in zip(records["ids"], records["metadatas"] or [], strict=True)
        }
        pending = [p for p in passages if stored.get(p.id) != p.digest]
        gone = sorted(stored.keys() - {p.id for p in passages})
        added = sum(p.id not in stored for p in pending)

        progress(0, len(pending))
        size = min(BLOCK, self.client.get_max_batch_size())
        blocks = self.encoder.iter_documents((p.content for p in pending), block_size=size)
        for start, vectors in zip(range(0, len(pending), size), blocks, strict=True):
            self._store(pending[start : start + size], vectors)
            progress(start + len(vectors), len(pending))
        for start in range(0, len(gone), size):
            self.collection.delete(ids=gone[start : start + size])
        return Changes(added, len(pending) - added, len(gone), len(passages) - len(pending))

    def _store(self, passages: Sequence[Passage], vectors: NDArray[np.float32]) -> None:
        self.collection.upsert(
            ids=[p.id for p in passages],
            embeddings=vectors,
            documents=[p.content for p in passages],
            metadatas=[
                {
                    "lang": p.lang,
                    "title": p.title,
                    "source": p.source,
                    "parallel": p.parallel,
                    "hash": p.digest,
                }
                for p in passages
            ],
        )

    def vectors(self) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
        """Return the metadata of all passages, and their vectors in the same order.

        Returns:
            n dictionaries and `(n, dimensions)` float32 of unit length.
        """
        records = self.collection.get(include=["embeddings", "metadatas"])
        metadatas = [dict(metadata) for metadata in records["metadatas"] or []]
        return metadatas, np.asarray(records["embeddings"], dtype=np.float32)
