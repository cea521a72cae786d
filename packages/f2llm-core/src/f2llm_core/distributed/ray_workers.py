"""What runs in Ray's workers: a model that is loaded once, and answers block by block."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from f2llm_core.distributed.block import BlockEmbedder
from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.rows import PLACE, PROBLEM, Columns, check_columns, check_rows, values
from f2llm_core.encoder import F2LLM
from f2llm_core.engine.preload import import_torch
from f2llm_core.errors import F2LLMError, FingerprintError, WorkerError
from f2llm_core.fingerprint import compare
from f2llm_core.indexing import Failure, IndexReport, Placed, index
from f2llm_core.stores import open_store as open_known

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef

    from f2llm_core.distributed.keys import Keys

#: Answers a block with JSON. The text says why its rows are given up, or is empty.
Answer = Callable[["pa.Table", str], str]

_MAX_DEATHS = 3  # of workers by one block; Ray would try for ever


class Job(Protocol):
    """What is to be done with blocks; it travels to the workers."""

    def start(self, model: F2LLM) -> Answer:
        """Return what does it; called once in each worker."""


@dataclass(frozen=True)
class EmbedJob:
    """Blocks into a folder; the answer is a `BlockReport`.

    Attributes:
        folder: Opened by the driver.
        done: Keys of the rows that it held then.
        columns: Names of what is read.
    """

    folder: VectorFolder
    done: ObjectRef[Keys]
    columns: Columns

    def start(self, model: F2LLM) -> Answer:
        """Compare folder and model with the driver's."""
        import ray

        self.folder.check_visible()
        found = compare(model.fingerprint, self.folder.fingerprint, f"{self.folder.path}")
        if found.level == "refused":  # other files under the same path of this node
            raise FingerprintError(found.message)
        embedder = BlockEmbedder(model, self.folder, ray.get(self.done), self.columns)
        return lambda table, given_up: embedder.embed(table, given_up=given_up).to_json()


@dataclass(frozen=True)
class IndexJob:
    """Blocks into a vector store; the answer is an `IndexReport`.

    Attributes:
        open_store: Returns the store, in each worker its own.
        columns: Names of what is read.
        metadata_columns: Of what is kept beside; None for all others.
    """

    open_store: Callable[[], object]
    columns: Columns
    metadata_columns: Sequence[str] | None

    def start(self, model: F2LLM) -> Answer:
        """Open the store."""
        store = open_known(self.open_store())

        def answer(table: pa.Table, given_up: str) -> str:
            documents, failed = self._documents(table)
            if given_up:
                failed += [Failure(one.place, given_up) for one in documents]
                documents = []
            report = index(store, model, documents, remove_missing=None, on_error="collect")
            return json.dumps(asdict(replace(report, failed=(*failed, *report.failed))))

        return answer

    def _documents(self, table: pa.Table) -> tuple[list[Placed], list[Failure]]:
        names = self.metadata_columns
        if names is None:
            known = {*self.columns, PLACE, PROBLEM}
            names = [name for name in table.column_names if name not in known]
        check_columns(table.column_names, names)
        rows, failed = check_rows(table, self.columns)
        kept = {name: values(table, name) for name in names}
        return [
            Placed(row.place, (row.id, row.text, {n: v[row.position] for n, v in kept.items()}))
            for row in rows
        ], failed


def read_index_report(answer: str) -> IndexReport:
    """Return what an `IndexJob` answered."""
    content = json.loads(answer)
    content["failed"] = tuple(Failure(**one) for one in content["failed"])
    return IndexReport(**content)


class Attempts:
    """An actor that counts how many workers a block has ended; it outlives them.

    Ray starts a worker that has died again, as the same actor in another life. Whoever has begun a
    block, has not finished it, and lives another life by now has died of it.
    """

    def __init__(self) -> None:
        self._lives: dict[str, str] = {}  # of each worker, the last one
        self._begun: dict[str, set[tuple[str, str]]] = {}  # by whom, in which life

    def begin(self, block: str, worker: str, life: str) -> int:
        """Return how many workers a block has ended, and note that another one begins it."""
        self._lives[worker] = life
        begun = self._begun.setdefault(block, set())
        begun.add((worker, life))
        return sum(self._lives[one] != then for one, then in begun)

    def end(self, block: str, worker: str, life: str) -> None:
        """Forget the deaths of a block that did not end this worker."""
        alive = {one for one in self._begun.get(block, ()) if self._lives[one[0]] == one[1]}
        self._begun[block] = alive - {(worker, life)}
        if not self._begun[block]:
            del self._begun[block]


class Worker:
    """A class for `map_batches`. Errors of this library are answers, so that they arrive whole."""

    def __init__(
        self,
        model: F2LLM,
        job: Job,
        attempts: Any,  # noqa: ANN401  (a handle of Ray, which has no type)
        *,
        threads: int,
        gpu: bool,
    ) -> None:
        """Take a share of the node, before anything is computed.

        Args:
            model: Embeds; loaded with the first text.
            job: What is done.
            attempts: Handle of an `Attempts`, shared by all workers.
            threads: To compute with.
            gpu: Whether it may use one.
        """
        import ray

        take_share(model, threads=threads, gpu=gpu)
        self._model = model
        self._job = job
        self._attempts = attempts
        self._me = ray.get_runtime_context().get_actor_id(), uuid.uuid4().hex
        self._answer: Answer | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return one row: the answer, or class and message of an error."""
        import pyarrow as pa
        import ray

        block, given_up = _name(table), ""
        deaths = ray.get(self._attempts.begin.remote(block, *self._me))
        if deaths >= _MAX_DEATHS:
            given_up = f"its block ended {deaths} workers: out of memory, or a crash"
        answer = error = None
        try:
            if deaths >= 2 * _MAX_DEATHS:  # even where it was only to be given up
                msg = f"{deaths} workers ended before they did anything: out of memory, or a crash."
                raise WorkerError(msg)
            if self._answer is None:
                self._answer = self._job.start(self._model)
            answer = self._answer(table, given_up)
        except F2LLMError as found:
            error = json.dumps([type(found).__name__, str(found)])
        self._attempts.end.remote(block, *self._me)
        schema = pa.schema([("answer", pa.string()), ("error", pa.string())])
        return pa.table([[answer], [error]], schema=schema)


def _name(table: pa.Table) -> str:
    """Name a block by what it holds: Ray tells nobody that it tries one again."""
    content = hashlib.sha256()
    for batch in table.to_batches():
        content.update(batch.serialize())
    return content.hexdigest()


def take_share(model: F2LLM, *, threads: int, gpu: bool) -> None:
    """Keep this process to its share of the node."""
    if not gpu and model.config["device"] is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # not every version of Ray hides what is not given
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's
    import_torch()
    import torch

    torch.set_num_threads(threads)
