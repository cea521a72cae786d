"""The engine with Ray: one loaded model per worker, blocks of a dataset spread over all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from f2llm_core.distributed.files import BATCH_SIZE, find_files, read_file
from f2llm_core.distributed.folder import VectorDType, VectorFolder
from f2llm_core.distributed.ray_pool import Pool, require_ray
from f2llm_core.distributed.ray_workers import EmbedJob, IndexJob, read_index_report
from f2llm_core.distributed.report import BlockReport, EmbedReport
from f2llm_core.distributed.rows import choose_columns
from f2llm_core.distributed.run import progress_bar, running
from f2llm_core.indexing import IndexReport
from f2llm_core.options import check_choice, check_positive
from f2llm_core.stores.guarding import encoder_of

if TYPE_CHECKING:
    from ray.data import Dataset


def embed_dataset(
    dataset: Dataset,
    model: object,
    output: str | Path,
    *,
    id_column: str = "id",
    text_column: str = "text",
    vector_dtype: VectorDType = "float32",
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    show_progress: bool = False,
) -> EmbedReport:
    """Embed a Ray Dataset into a folder of Parquet files; rows that it holds are skipped.

    A call that was stopped, in whatever way, is completed by the same call. A worker that dies is
    started again by Ray, and with it its block; a block that ends three workers has failed.

    Args:
        dataset: Anything that Ray reads. Other columns are of no use here: leave them out where it
            is read.
        model: An `F2LLM`, or an adapter around one. Each worker loads it: a folder must be on all
            nodes, a hub's token be stored there.
        output: The folder, made if it is not there; all nodes share it under the same path.
        id_column: Column of the ids (str, or int, which is written as str). An id stands for one
            text: a row with a known id and another text has failed.
        text_column: Column of the texts, embedded as documents.
        vector_dtype: `"float32"`, or `"float16"` for half the size.
        batch_size: Rows of a block, and so of a file; more of them for GPUs.
        workers: Loaded models; by default as many as there is room for.
        cpus_per_worker: CPUs that Ray sets aside for each, and threads that it computes with.
        gpus_per_worker: GPUs, for example 0.5 for two workers on one.
        show_progress: Draw a progress bar.

    Returns:
        What was done, with every row that could not be embedded and why.

    Raises:
        FingerprintError: The folder holds vectors of another model; nothing was embedded.
        ConfigurationError: The dataset lacks a column, there is no room for the workers, or an
            option has a wrong value.
        StoreError: The folder cannot be used, or a part not be written.
        ModelError: The model cannot be found or loaded.
        WorkerError: A worker failed otherwise.
        MissingExtraError: Ray is not installed.
    """
    begin = time.monotonic()
    require_ray()
    import ray

    check_choice("vector_dtype", vector_dtype, get_args(VectorDType))
    columns = choose_columns(id_column, text_column)
    batch_size = check_positive("batch_size", batch_size)
    encoder = encoder_of(model)
    pool = Pool.fit(encoder, workers, cpus_per_worker, gpus_per_worker)
    folder = VectorFolder(Path(output).absolute(), pool.fingerprint(), vector_dtype)
    with running(folder, begin) as run, progress_bar(show=show_progress) as bar:
        job = EmbedJob(folder, ray.put(run.done), columns)
        for answer in pool.map(dataset, job, batch_size):
            block = BlockReport.from_json(answer)
            run.add(block)
            bar.update(block.rows)
        return run.report()


def index_dataset(
    dataset: Dataset,
    model: object,
    open_store: Callable[[], object],
    *,
    id_column: str = "id",
    text_column: str = "text",
    metadata_columns: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    show_progress: bool = False,
) -> IndexReport:
    """Index a Ray Dataset into a vector store, each worker with a connection of its own.

    As `f2llm_core.indexing.index` does, block by block: rows that the store holds are not embedded
    again, whoever wrote them, and nothing is removed. A worker that dies is started again by Ray,
    and with it its block; a block that ends three workers has failed. For stores that take several
    writers: a server of Chroma or Qdrant, pgvector; in a folder of Chroma the workers would wait
    for one another.

    Args:
        dataset: As in `embed_dataset`, as are the arguments not named here.
        model: As there.
        open_store: Called by each worker; returns what `f2llm_core.open_store` takes.
        id_column: As there.
        text_column: As there.
        metadata_columns: What is kept beside the texts; by default all other columns.
        batch_size: As there.
        workers: As there.
        cpus_per_worker: As there.
        gpus_per_worker: As there.
        show_progress: As there.

    Returns:
        The sum of what `index` did with the blocks. Rows that a worker stored before it died count
        as unchanged; all rows of a block that is given up have failed, whether they were stored or
        not.

    Raises:
        FingerprintError: The collection was made with another model; nothing was embedded.
        StoreError: The store failed.
        ConfigurationError: As in `embed_dataset`, as are the others.
    """
    begin = time.monotonic()
    require_ray()
    columns = choose_columns(id_column, text_column)
    batch_size = check_positive("batch_size", batch_size)
    encoder = encoder_of(model)
    pool = Pool.fit(encoder, workers, cpus_per_worker, gpus_per_worker)
    pool.fingerprint()  # so that what is wrong with the model is said here
    job = IndexJob(open_store, columns, metadata_columns)
    total = IndexReport()
    with progress_bar(show=show_progress) as bar:
        for answer in pool.map(dataset, job, batch_size):
            block = read_index_report(answer)
            sums = {f.name: getattr(total, f.name) + getattr(block, f.name) for f in fields(total)}
            total = IndexReport(**sums)
            bar.update(block.added + block.changed + block.unchanged + len(block.failed))
    return replace(total, seconds=time.monotonic() - begin)


def read_dataset(
    paths: Iterable[str | Path],
    *,
    id_column: str = "id",
    text_column: str = "text",
    batch_size: int = BATCH_SIZE,
) -> Dataset:
    """Return files as a Ray Dataset, read as `read_tables` does: what is broken ends no job.

    Args:
        paths: As there; one file is read by one task.
        id_column: As there.
        text_column: As there.
        batch_size: As there.

    Raises:
        ConfigurationError: A path is no file of a known kind.
        MissingExtraError: Ray is not installed.
    """
    require_ray()
    import ray.data

    files = [{"path": str(path.absolute())} for path in find_files(paths)]

    def read(batch: Any) -> Iterator[Any]:  # noqa: ANN401  (as in Ray)
        for path in batch["path"]:
            yield from read_file(Path(path), id_column, text_column, batch_size)

    return ray.data.from_items(files).map_batches(read, batch_size=1, batch_format="numpy")
