"""The measurements, round by round: in each round every engine has its turn, one at a time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.checking import Rows, WrongVectorsError, check, count_served
from benchmarks.engines import ENGINES, REFERENCE
from benchmarks.process import EngineError, EngineProcess
from benchmarks.texts import Workload

BATCH_SIZES = (4, 8, 16, 32)
_WARM_UP = 8  # documents
_REFERENCE_BATCH = 4  # the fastest; how padding is shared out is nothing to the result


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        documents: Documents of D; each round embeds another share of them, alike in lengths.
        queries: Queries in a round of Q.
        at_once: Queries in a round of C; many, since its first and last batches are not full.
        threads: Callers of C.
        rounds: Rounds of each workload.
        cold_starts: Fresh processes per engine.
        tuning_documents: Documents that each batch size is tried on.
    """

    documents: int = 512
    queries: int = 48
    at_once: int = 512
    threads: int = 16
    rounds: int = 4
    cold_starts: int = 3
    tuning_documents: int = 48


def deal(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Split texts into shares of about the same distribution of lengths.

    Engines that sort by length and pad would pad more in a small share than in the whole. So
    neighbours in length stay together, in runs of the largest batch size: a share's batches are
    batches of the whole.

    Args:
        lengths: Of each text.
        shares: How many.

    Returns:
        Positions in `lengths`, ascending within each share; each occurs once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    size = min(max(BATCH_SIZES), -(-len(order) // shares))
    runs = [order[start : start + size] for start in range(0, len(order), size)]
    there_and_back = cycle([*range(shares), *reversed(range(shares))])
    dealt: list[list[int]] = [[] for _ in range(shares)]
    for run, share in zip(runs, there_and_back, strict=False):
        dealt[share] += run
    return [sorted(share) for share in dealt]


@dataclass
class Lane:
    """One row of the table: an engine, at one batch size.

    Attributes:
        engine: Its name.
        dtype: Precision that it loaded the checkpoint in; empty if it could not.
        batch_size: Documents per batch; 0 where that is no option.
        tuned: Whether this is the best batch size rather than the default; such a lane is
            measured on documents only, which is all a batch size changes.
        samples: Raw figures of each workload, one entry per round.
        cosines: The worst cosine of each round of a workload.
        refused: Why a workload does not count.
    """

    engine: str
    dtype: str
    batch_size: int
    tuned: bool = False
    samples: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    cosines: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def counting(self, workload: str) -> Iterator[None]:
        """Note why the block failed; from then on the workload does not count for this lane."""
        try:
            yield
        except (EngineError, WrongVectorsError) as error:
            self.refused[workload] = str(error)


class Suite:
    """One run."""

    def __init__(
        self,
        folder: Path,
        workload: Workload,
        settings: Settings,
        pythons: dict[str, str],
        say: Callable[[str], None],
    ) -> None:
        """Prepare a run.

        Args:
            folder: Checkpoint.
            workload: The texts.
            settings: How much is measured.
            pythons: The engines to compare by name, each with its interpreter ("" for this one).
            say: Told what is going on.
        """
        self._folder, self._workload, self._settings = folder, workload, settings
        self._pythons = pythons
        self._say = say
        self.shares = deal(workload.document_tokens, settings.rounds)
        self._processes: dict[str, EngineProcess] = {}
        self.lanes: list[Lane] = []
        self.ceilings: list[dict[str, dict[str, Any]]] = []
        self._documents: Rows
        self._queries: Rows

    def run(self) -> None:
        """Measure everything; the findings are in `lanes` and `ceilings`."""
        with ExitStack() as stack:
            for name in dict.fromkeys([REFERENCE, *self._pythons]):
                self._processes[name] = stack.enter_context(self._start(name))
            self._make_reference()
            for name in self._pythons:
                self._open_lane(name)
            self._tune()
            for number in self._rounds("D and Q", self._settings.rounds):
                self._measure_ceiling()
                self._each(number, "D", partial(self._documents_once, self.shares[number]))
                self._each(number, "Q", self._queries_once)
            self._each(0, "memory", lambda lane: self._process(lane).ask("memory"))
            for number in self._rounds("C", self._settings.rounds):
                self._each(number, "C", self._at_once)
        for number in self._rounds("cold start", self._settings.cold_starts):
            self._each(number, "cold", self._cold_start)

    def _start(self, engine: str) -> EngineProcess:
        python = self._pythons.get(engine, "")
        return EngineProcess(engine, self._folder, self._folder.parent, python)

    def _process(self, lane: Lane) -> EngineProcess:
        return self._processes[lane.engine]

    def _make_reference(self) -> None:
        self._say("reference vectors")
        process = self._processes[REFERENCE]
        _, self._documents = process.ask("documents", self._workload.documents, _REFERENCE_BATCH)
        _, self._queries = process.ask("queries", self._workload.queries)

    def _open_lane(self, engine: str) -> None:
        """Load an engine, and let it do a little of everything before it is timed."""
        self._say(f"load {engine}")
        lane = Lane(engine, "", ENGINES[engine].batch_size)
        try:
            lane.dtype = self._process(lane).ask("dtype")
            texts = self._workload.documents[:_WARM_UP]
            self._process(lane).ask("documents", texts, lane.batch_size)
            self._process(lane).ask("queries", self._workload.queries[:_WARM_UP])
        except EngineError as error:
            lane.refused = dict.fromkeys(("D", "Q", "C", "memory", "cold"), str(error))
        self.lanes.append(lane)

    def _tune(self) -> None:
        """Find the best batch size of the engines that have one, and give it a lane."""
        texts = self._workload.documents[: self._settings.tuning_documents]
        for lane in list(self.lanes):
            if not ENGINES[lane.engine].tuned or lane.refused:
                continue
            seconds = defaultdict(list)
            for _ in range(2):
                for size in BATCH_SIZES:
                    seconds[size].append(self._process(lane).ask("documents", texts, size)[0])
            best = min(BATCH_SIZES, key=lambda size: median(seconds[size]))
            self._say(f"best batch of {lane.engine}: {best}")
            place = self.lanes.index(lane) + 1
            self.lanes.insert(place, Lane(lane.engine, lane.dtype, best, tuned=True))

    def _rounds(self, what: str, count: int) -> Iterator[int]:
        for number in range(count):
            self._say(f"{what}: round {number + 1} of {count}")
            yield number

    def _each(self, number: int, workload: str, measure: Callable[[Lane], Any]) -> None:
        """Give every lane its turn, each round beginning with another one."""
        first = number % len(self.lanes)
        for lane in (*self.lanes[first:], *self.lanes[:first]):
            if workload in lane.refused or (lane.tuned and workload != "D"):
                continue
            with lane.counting(workload):
                lane.samples[workload].append(measure(lane))

    def _documents_once(self, share: list[int], lane: Lane) -> float:
        texts = [self._workload.documents[index] for index in share]
        seconds, rows = self._process(lane).ask("documents", texts, lane.batch_size)
        lane.cosines["D"].append(check(rows, self._documents[share], lane.dtype))
        return float(seconds)

    def _queries_once(self, lane: Lane) -> list[float]:
        texts = self._workload.queries[: self._settings.queries]
        seconds, rows = self._process(lane).ask("queries", texts)
        lane.cosines["Q"].append(check(rows, self._queries[: len(texts)], lane.dtype))
        return list(seconds)

    def _at_once(self, lane: Lane) -> dict[str, Any]:
        texts = self._workload.queries[: self._settings.at_once]
        seconds, calls = self._process(lane).ask("at_once", texts, self._settings.threads)
        served = count_served(calls, self._queries, lane.dtype)
        lane.cosines["C"].append(served.worst_cosine)
        return {"seconds": seconds, "calls": served.seconds, "failed": served.failed}

    def _cold_start(self, lane: Lane) -> float:
        """Return seconds from the start of a process to its first right vector."""
        query: Sequence[str] = self._workload.queries[:1]
        start = time.perf_counter()
        with self._start(lane.engine) as process:
            _, rows = process.ask("queries", query)
            seconds = time.perf_counter() - start
        check(rows, self._queries[:1], lane.dtype)
        return seconds

    def _measure_ceiling(self) -> None:
        with EngineProcess(REFERENCE, self._folder, self._folder.parent) as process:
            self.ceilings.append(process.ask("ceiling"))
