"""A persistent Chroma collection that is brought up to date instead of being built again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError
from corpus import DemoError, Passage
from numpy.typing import NDArray

from f2llm_core import F2LLM, FingerprintError, guard, indexing


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
        self.collection = self.client.get_or_create_collection(
            name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        try:
            guard(self.collection, encoder)
        except FingerprintError as error:
            msg = (
                f"The index in {folder} is not this model's. {error} Keep it and choose another "
                "folder with --persist DIR, or make it anew with --rebuild."
            )
            raise DemoError(msg) from error

    def update(
        self, passages: Sequence[Passage], *, show_progress: bool = False
    ) -> indexing.IndexReport:
        """Make the collection hold these passages and no others; only what is new is embedded.

        Args:
            passages: All that should be there; their ids are unique.
            show_progress: Draw a bar on standard error.

        Returns:
            What had to be done.
        """
        records = [
            (
                p.id,
                p.content,
                {"lang": p.lang, "title": p.title, "source": p.source, "parallel": p.parallel},
            )
            for p in passages
        ]
        return indexing.index(
            self.collection,
            self.encoder,
            records,
            remove_missing="collection",
            show_progress=show_progress,
        )

    def vectors(self) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
        """Return the metadata of all passages, and their vectors in the same order.

        Returns:
            n dictionaries and `(n, dimensions)` float32 of unit length.
        """
        records = self.collection.get(include=["embeddings", "metadatas"])
        metadatas = [dict(metadata) for metadata in records["metadatas"] or []]
        return metadatas, np.asarray(records["embeddings"], dtype=np.float32)
