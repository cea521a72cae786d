"""A process that indexes into Chroma on request, and can be killed while it does.

It is forked from one that has imported everything and loaded the model, so that a kill costs no
import. That one must never open Chroma itself, whose threads would not come along.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter

import chromadb
import numpy as np
from chromadb.config import Settings

from f2llm_core.indexing import index
from f2llm_core.indexing.records import SOURCE
from f2llm_core.progress import CallObserver
from f2llm_core.stores.chroma import ChromaStore
from faults.stubs import indexing as broken

HOW = {"right": index, **broken.HOW}
WRITING, WRITTEN, DONE = b"w", b"s", b"d"
SEARCHED = 100  # rows that are looked for by their vectors
PATIENCE = 120  # seconds without a sign of life

_FORK = multiprocessing.get_context("fork")


class Telling(ChromaStore):
    """Tells when it writes."""

    def __init__(self, collection, tell):
        super().__init__(collection)
        self._tell = tell

    def upsert(self, *args):
        self._tell(WRITING)
        super().upsert(*args)
        self._tell(WRITTEN)


def collection_in(folder):
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    cosine = {"hnsw": {"space": "cosine"}}
    return client.get_or_create_collection("some", configuration=cosine, embedding_function=None)


def differences(store, records, vectors):
    """Count what is wrong with a collection.

    Args:
        store: The collection.
        records: `(source, text)` of all rows that should be there.
        vectors: Theirs; rows.
    """
    found = store.get([entry.id for entry in store.entries()])
    there = [(m[SOURCE], d) for m, d in zip(found.metadatas, found.documents, strict=True)]
    places = {record: place for place, record in enumerate(records)}
    known = [place for place, record in enumerate(there) if record in places]
    right = vectors[[places[there[place]] for place in known]]
    apart = np.abs(found.vectors[known] - right).max(axis=1) if known else np.zeros(0)
    searched = random.Random(0).sample(range(len(there)), min(SEARCHED, len(there)))
    unfound = [i for i in searched if not store.search(found.vectors[i], 1)[0].similarity >= 0.999]
    wanted, have = Counter(records), Counter(there)
    lost, doubled = (wanted - have).total(), (have - wanted).total()
    changed = int((~(apart <= 1e-4)).sum())
    return {"lost": lost + len(unfound), "doubled": doubled, "changed": changed}


class Indexer:
    """One process with one client of one folder."""

    def __init__(self, how, model, folder):
        self._pipe, theirs = _FORK.Pipe()
        work = (theirs, how, model, folder)
        self._process = _FORK.Process(target=_serve, args=work, daemon=True)
        self._process.start()
        theirs.close()

    def request(self, name, *arguments):
        """Begin `"index"` with records and options, or `"compare"` with records."""
        self._pipe.send((name, *arguments))

    def answer(self, kill=None):
        """Wait for what was begun.

        Args:
            kill: `(mark, nth, seconds)`: kill it so many seconds after the nth mark.

        Returns:
            The answer; None if it was killed before.

        Raises:
            EOFError: It ended by itself.
        """
        seen = 0
        while True:
            assert self._pipe.poll(PATIENCE), "nothing happens any more"
            said = self._pipe.recv()
            if said not in (WRITING, WRITTEN):
                return said
            seen += kill is not None and said == kill[0]
            if kill is not None and seen == kill[1]:
                time.sleep(kill[2])
                self.kill()
                return None

    def kill(self):
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe, how, model, folder):
    CallObserver.embedded = lambda *_: None  # whoever is broken on purpose calls it, too
    store = Telling(collection_in(folder), pipe.send)
    while True:
        name, records, *options = pipe.recv()
        if name == "index":
            HOW[how](store, model, records, **options[0])
            pipe.send({})
        else:
            texts = [text for _, text in records]
            pipe.send(differences(store, records, model.encode_document(texts)))
