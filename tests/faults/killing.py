"""Index, be killed, resume, until all is there; then compare what is there with what should be.

Run as `python -m faults.killing FOLDER CHROMA PLAN`, where PLAN is a JSON list of lists: how (see
`HOW`), when (see `moment`), records, rows in flight, kills, seed. Prints what it found of each, as
JSON. Children are forked from a process that has imported everything and loaded the model; each
opens Chroma anew.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path

from f2llm_core import F2LLM
from f2llm_core.progress import CallObserver
from f2llm_core.stores.chroma import ChromaStore
from faults.indexer import (
    DONE,
    HOW,
    PATIENCE,
    WRITING,
    WRITTEN,
    Telling,
    collection_in,
    differences,
)


class Killed:
    """One collection, and the processes that index into it one after the other."""

    def __init__(self, how, model, folder, records, expected, in_flight):
        self.how, self.model, self.folder = how, model, folder
        self.records, self.expected, self.in_flight = records, expected, in_flight
        # Shared with the children, and there whatever becomes of them: texts embedded by the one at
        # hand, and rows that it found.
        self.numbers = mmap.mmap(-1, 16)
        self.last_words = b""
        self.again = 0  # texts, at most, that one child embedded and the next one did not find

    def number(self, place, value=None):
        """Return one of the numbers, or exchange it for another."""
        [before] = struct.unpack_from("q", self.numbers, 8 * place)
        if value is not None:
            struct.pack_into("q", self.numbers, 8 * place, value)
        return before

    def start(self, work):
        """Fork a child that calls `work` with a pipe; return its number and the other end."""
        read, write = os.pipe()
        child = os.fork()
        if child:
            os.close(write)
            return child, read
        try:
            work(write)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def index(self, pipe):
        """Index all; what the child does."""
        store = Telling(collection_in(self.folder), partial(os.write, pipe))
        self.number(1, store.count())
        CallObserver.skipped = lambda *_: None
        CallObserver.embedded = lambda _, more: self.number(0, self.number(0) + more)
        HOW[self.how](store, self.model, self.records, batch_size=self.in_flight)
        os.write(pipe, DONE)

    def kill_once(self, mark, nth, seconds):
        """Index, and kill so many seconds after the nth mark; False if it was done before."""
        embedded, before = self.number(0, 0), self.number(1)
        child, pipe = self.start(self.index)
        seen, ended = 0, False
        while not ended and seen < nth:
            assert select.select([pipe], [], [], PATIENCE)[0], "nothing happens any more"
            said = os.read(pipe, 1)
            seen += said == mark
            ended = said in {DONE, b""}
        self.again = max(self.again, embedded - (self.number(1) - before))
        if not ended:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        with os.fdopen(pipe, "rb") as rest:
            self.last_words = rest.read()
        code = os.waitstatus_to_exitcode(status)
        assert code in {0, -signal.SIGKILL}, "it failed by itself"
        return code != 0

    def finish(self):
        """Index without being killed."""
        killed = self.kill_once(b"?", 1, 0)
        assert not killed

    def compare(self, pipe):
        """Tell what is wrong with the collection; what another child does."""
        store = ChromaStore(collection_in(self.folder))
        wrong = differences(store, self.records, self.expected)
        os.write(pipe, json.dumps(wrong).encode())

    def wrong(self):
        child, pipe = self.start(self.compare)
        said = os.read(pipe, 1000)
        os.waitpid(child, 0)
        os.close(pipe)
        return json.loads(said)


def play(model, folder, how, when, count, in_flight, kills, seed):
    """Kill so often, in as many collections as it takes.

    Args:
        model: Embeds.
        folder: For the collections.
        how: Of `HOW`.
        when: See `moment`; killed inside a write, a collection is killed once only.
        count: Records.
        in_flight: Rows on their way at most.
        kills: How many.
        seed: Of the moments.

    Returns:
        Kills; rows lost, doubled and changed; and the most batches embedded again for one kill.
    """
    rng = random.Random(seed)
    records = [(f"{i // 10}.txt", f"Chunk {i} of many.") for i in range(count)]
    expected = model.encode_document([text for _, text in records])
    total, again = Counter(kills=0, lost=0, doubled=0, changed=0), 0.0
    while total["kills"] < kills:
        place = Path(tempfile.mkdtemp(dir=folder))
        killed = Killed(how, model, place, records, expected, in_flight)
        going = True
        while going and total["kills"] < kills:
            going = killed.kill_once(*moment(rng, when, count))
            # What was written after all when the signal came was not killed inside the write.
            total["kills"] += going and not (when == "writing" and WRITTEN in killed.last_words)
            going = going and when != "writing"
        killed.finish()
        again = max(again, killed.again / in_flight)
        total.update(killed.wrong())
    return dict(total) | {"again": again}


def moment(rng, when, rows):
    """Choose when to kill: `writing` so many rows, when they are `written`, or at `any` time."""
    if when == "writing":
        return WRITING, 1, rng.uniform(0, 2e-4 * rows)
    if when == "written" or rng.random() < 0.3:
        return WRITTEN, rng.randint(1, 3), 0
    return WRITING, rng.randint(1, 2), rng.uniform(0, 0.4)


def main(folder, chroma, plan):
    model = F2LLM(folder, dtype="float32")
    model.encode_document("loaded")
    for part in json.loads(plan):
        print(json.dumps(play(model, Path(chroma), *part)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
