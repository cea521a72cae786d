"""Any history of documents, indexed into Chroma by processes that are killed now and then.

Run as `python -m faults.histories FOLDER CHROMA HOW EXAMPLES STEPS`. Prints what it found, as JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from f2llm_core import F2LLM
from faults.indexer import WRITING, WRITTEN, Indexer

SOURCES = st.sampled_from(["a", "b", "c"])
CHUNKS = st.lists(st.sampled_from(["one", "two", "three", "four\n", "하나", "six"]), max_size=8)
MOMENTS = st.tuples(
    st.sampled_from([WRITING, WRITTEN]), st.integers(1, 3), st.sampled_from([0, 0.002, 0.01])
)
# Mostly none: a new process takes longer than any step.
KILLS = st.one_of(*[st.just([])] * 4, st.lists(MOMENTS, min_size=1, max_size=2))


class Histories(RuleBasedStateMachine):
    """Documents that come, change, are renamed and go; the collection always is what they are.

    Attributes:
        make: Starts an indexer in a folder.
        folder: For the collections.
        counts: What was done, and what was wrong.
    """

    make: Callable[[str], Indexer]
    folder: str
    counts: Counter[str]

    @initialize()
    def begin(self):
        self.place = tempfile.mkdtemp(dir=self.folder)
        self.documents = {}
        self.indexer = self.make(self.place)
        self.counts["histories"] += 1

    def update(self, sources, kills, **options):
        """Bring the collection up to date, however often that is killed; then compare."""
        records = [(source, text) for source in sources for text in self.documents[source]]
        for kill in [*kills, None]:
            self.indexer.request("index", records, {"batch_size": 4, **options})
            if self.indexer.answer(kill) is not None:
                break
            self.counts["kills"] += 1
            self.indexer = self.make(self.place)
        self.compare()

    def compare(self):
        self.counts["steps"] += 1
        everything = [(s, text) for s, texts in self.documents.items() for text in texts]
        self.indexer.request("compare", everything)
        found = self.indexer.answer()
        self.counts.update(found)
        assert not any(found.values()), found

    @rule(source=SOURCES, chunks=CHUNKS, kills=KILLS)
    def write(self, source, chunks, kills):
        self.documents[source] = chunks or ["only"]
        self.update([source], kills)

    @rule(source=SOURCES, to=SOURCES, kills=KILLS)
    def rename(self, source, to, kills):
        if source in self.documents:
            self.documents[to] = self.documents.pop(source)
            self.update(sorted(self.documents), kills, remove_missing="collection")

    @rule(source=SOURCES, kills=KILLS)
    def remove(self, source, kills):
        if self.documents.pop(source, None):
            self.update(sorted(self.documents), kills, remove_missing="collection")

    @rule()
    def restart(self):
        self.indexer.kill()
        self.indexer = self.make(self.place)
        self.compare()

    def teardown(self):
        self.indexer.kill()
        shutil.rmtree(self.place)


def main(checkpoint, folder, how, examples, steps):
    model = F2LLM(checkpoint, dtype="float32")
    model.encode_document("loaded")
    counts = Counter(histories=0, steps=0, kills=0, lost=0, doubled=0, changed=0)
    Histories.make = staticmethod(partial(Indexer, how, model))
    Histories.folder, Histories.counts = folder, counts
    options = settings(
        max_examples=int(examples),
        stateful_step_count=int(steps),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # a kill strikes elsewhere in a second run
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Histories, settings=options)
    except Exception:
        if not any(counts[name] for name in ("lost", "doubled", "changed")):
            raise
        traceback.print_exc()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
