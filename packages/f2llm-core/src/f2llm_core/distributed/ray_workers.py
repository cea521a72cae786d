"""What runs in Ray's workers: a model that is loaded once, and answers block by block."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from f2llm_core.distributed.block import BlockEmbedder
from f2llm_core.distributed.folder import VectorFolder
from f2llm_core.distributed.rows import PLACE, PROBLEM, Columns, check_columns, check_rows, values
from f2llm_core.encoder import F2LLM
from f2llm_core.errors import F2LLMError, FingerprintError
from f2llm_core.fingerprint import compare
from f2llm_core.indexing import Failure, IndexReport, Placed, index
from f2llm_core.stores import open_store as open_known

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef

    from f2llm_core.distributed.keys import Keys

#: Answers a block with JSON. The text says why its rows are given up, or is empty.
Answer = Callable[["pa.Table", str], str]

_MAX_ATTEMPTS = 3  # of a block that ends its worker; Ray would try for ever


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
    """An actor that counts how often blocks were begun; it outlives the workers that they end."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, block: str) -> int:
        """Return how often a block was begun before, and note that it is begun again."""
        self._begun[block] += 1
        return self._begun[block] - 1

    def end(self, block: str) -> None:
        """Forget a block, which has not ended its worker."""
        self._begun.pop(block, None)  # unknown if the actor was started again itself


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
        take_share(model, threads=threads, gpu=gpu)
        self._model = model
        self._job = job
        self._attempts = attempts
        self._answer: Answer | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return one row: the answer, or class and message of an error."""
        import pyarrow as pa
        import ray

        block, given_up = _name(table), ""
        attempts = ray.get(self._attempts.begin.remote(block))
        if attempts >= _MAX_ATTEMPTS:
            given_up = f"its block ended the worker {attempts} times: out of memory, or a crash"
        answer = error = None
        try:
            if self._answer is None:
                self._answer = self._job.start(self._model)
            answer = self._answer(table, given_up)
        except F2LLMError as found:
            error = json.dumps([type(found).__name__, str(found)])
        self._attempts.end.remote(block)
        schema = pa.schema([("answer", pa.string()), ("error", pa.string())])
        return pa.table([[answer], [error]], schema=schema)


def _name(table: pa.Table) -> str:
    """Name a block by what it holds: Ray tells nobody that it tries one again."""
    import pyarrow as pa

    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(content.getvalue()).hexdigest()


def take_share(model: F2LLM, *, threads: int, gpu: bool) -> None:
    """Keep this process to its share of the node."""
    if not gpu and model.config["device"] is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # not every version of Ray hides what is not given
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # the tokenizer's
    import torch

    torch.set_num_threads(threads)
