"""Workers of a Ray cluster: how many there is room for, and a dataset mapped over them."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from f2llm_core import errors
from f2llm_core.distributed.ray_workers import Attempts, Job, Worker, take_share
from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError, F2LLMError, MissingExtraError, WorkerError
from f2llm_core.fingerprint import Fingerprint
from f2llm_core.options import check_positive

if TYPE_CHECKING:
    from ray.data import Dataset

_READING = 1  # CPUs that must be left for what reads the dataset, or nothing would ever begin
_PATIENCE = 5.0  # seconds for a cluster to take a connection
_STORE = 256 * 2**20  # bytes of the object store of a Ray that is started here


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers that each load one model.

    Attributes:
        model: What they load.
        workers: How many.
        cpus: Share of each, of which Ray keeps account.
        gpus: The same; 0 for none.
    """

    model: F2LLM
    workers: int
    cpus: float
    gpus: float

    @classmethod
    def fit(cls, model: F2LLM, workers: int | None, cpus: float, gpus: float) -> Pool:
        """Return a pool that the cluster has room for; without a number, the largest.

        Raises:
            ConfigurationError: There is no room, or a number is of no use.
        """
        import ray

        if workers is not None:
            workers = check_positive("workers", workers)
        _check_share("cpus_per_worker", cpus, least=0.01)
        _check_share("gpus_per_worker", gpus, least=0)
        if gpus > 1 and gpus != int(gpus):
            msg = f"gpus_per_worker={gpus!r}: Ray shares one GPU, or gives whole ones."
            raise ConfigurationError(msg)
        nodes = [
            (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]
        room = _room(nodes, cpus, gpus)
        if room < (workers or 1):
            there = "; ".join(sorted({f"{cpu:g} CPUs and {gpu:g} GPUs" for cpu, gpu in nodes}))
            msg = (
                f"{workers or 1} workers of {cpus:g} CPUs and {gpus:g} GPUs do not fit into this "
                f"cluster, where {room} fit, each on one node, beside {_READING} CPU for reading. "
                f"Nodes: {len(nodes)} ({there}). Ask for fewer, for smaller shares, or start Ray "
                "with more: ray.init(num_cpus=…) may name more than the machine has."
            )
            raise ConfigurationError(msg)
        return cls(model, workers or room, cpus, gpus)

    @property
    def _share(self) -> dict[str, Any]:
        return {"threads": max(1, int(self.cpus)), "gpu": self.gpus > 0}

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the model as a worker runs it, perhaps on another device.

        Raises:
            F2LLMError: What is wrong with the model there.
        """
        import ray

        model, share = self.model, self._share

        def look() -> Fingerprint:
            take_share(model, **share)
            return model.fingerprint

        # One call: the process is not to be used again, least of all by others.
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_calls=1)(look)
        try:
            found: Fingerprint = ray.get(task.remote())
        except ray.exceptions.RayError as error:
            raise _typed(error) from error
        return found

    def map(self, dataset: Dataset, job: Job, batch_size: int) -> Iterator[str]:
        """Yield the answers to the blocks of a dataset, as they come.

        Args:
            dataset: Cut into blocks anew.
            job: What the workers do with each.
            batch_size: Rows of a block.

        Raises:
            F2LLMError: The first error of a worker.
        """
        import ray
        from ray.data import ActorPoolStrategy

        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts)
        attempts: Any = actor.remote()
        # Cut first: a block is what is embedded again if a worker dies.
        answers = dataset.repartition(target_num_rows_per_block=batch_size).map_batches(
            Worker,
            batch_size=batch_size,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=2),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            fn_constructor_kwargs={
                "model": self.model,
                "job": job,
                "attempts": attempts,
                **self._share,
            },
        )
        answers.context.enable_progress_bars = False
        try:
            for row in answers.iter_rows():
                if row["error"] is not None:
                    raise _error(*json.loads(row["error"]))
                yield row["answer"]
        except ray.exceptions.RayError as error:
            raise _typed(error) from error
        finally:
            if ray.is_initialized():  # or `kill` would start it
                ray.kill(attempts)  # which else lives on: Ray's plan is a cycle of references


def require_ray() -> None:
    """Raise `MissingExtraError` unless Ray Data is installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        feature = "Embedding with Ray"
        raise MissingExtraError(feature, "ray") from error


@contextmanager
def cluster() -> Iterator[None]:
    """Use the cluster that Ray is connected to or that `RAY_ADDRESS` names, or start one here.

    One started here reports no usage, has no dashboard, and ends with the block.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigurationError: There is no cluster at `RAY_ADDRESS`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # read when it is imported
    require_ray()
    import ray

    if ray.is_initialized():
        yield
        return
    if address := os.environ.get("RAY_ADDRESS"):
        _connect(address)
    else:
        ray.init(
            num_cpus=(os.cpu_count() or 1) + _READING,
            include_dashboard=False,
            object_store_memory=_STORE,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Connect to the cluster at `RAY_ADDRESS`."""
    import ray

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdigit():  # where nobody listens Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        ray.init(address, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"RAY_ADDRESS={address!r}: no Ray cluster can be used there: {error}"
        raise ConfigurationError(msg) from error


def _room(nodes: Sequence[tuple[float, float]], cpus: float, gpus: float) -> int:
    """Return how many workers fit into nodes of so many CPUs and GPUs, and something that reads."""

    def fit(cpu: float, gpu: float) -> int:
        by_cpu = int(cpu / cpus + 1e-6)
        return min(by_cpu, int(gpu / gpus + 1e-6)) if gpus else by_cpu

    # What reads is on the node where it takes the place of the fewest workers.
    taken = [fit(*node) - fit(node[0] - _READING, node[1]) for node in nodes if node[0] >= _READING]
    return sum(fit(*node) for node in nodes) - min(taken) if taken else 0


def _check_share(name: str, value: object, *, least: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value < math.inf:  # type: ignore[operator]
        msg = f"{name}={value!r}: expected a number of {least:g} or more."
        raise ConfigurationError(msg)


def _error(kind: str, message: str) -> F2LLMError:
    """Return an error of a worker as one of its own class, where a message makes one."""
    try:
        error = getattr(errors, kind)(message)
    except (AttributeError, TypeError):
        return WorkerError(f"A worker failed: {kind}: {message}")
    return error if isinstance(error, F2LLMError) else WorkerError(message)


def _typed(error: Exception) -> F2LLMError:
    """Return what Ray raises as an error of this library."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, F2LLMError):
        return cause
    last = [line for line in str(error).splitlines() if line.strip()][-1:]
    return WorkerError(f"A worker failed: {type(error).__name__}: {' '.join(last).strip()}")
