"""The engine without Ray: one process, one model, tables one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from f2llm_core.distributed.block import BlockEmbedder
from f2llm_core.distributed.files import require_arrow
from f2llm_core.distributed.folder import VectorDType, VectorFolder
from f2llm_core.distributed.report import EmbedReport
from f2llm_core.distributed.rows import choose_columns
from f2llm_core.distributed.run import progress_bar, running
from f2llm_core.options import check_choice
from f2llm_core.stores.guarding import encoder_of

if TYPE_CHECKING:
    import pyarrow as pa


def embed_tables(
    tables: Iterable[pa.Table],
    model: object,
    output: str | Path,
    *,
    id_column: str = "id",
    text_column: str = "text",
    vector_dtype: VectorDType = "float32",
    show_progress: bool = False,
) -> EmbedReport:
    """Embed tables of Arrow into a folder of Parquet files; rows that it holds are skipped.

    A call that was stopped, in whatever way, is completed by the same call.

    Args:
        tables: Read once; each becomes a part, and is embedded again if the process dies meanwhile.
            `read_tables` makes them of files.
        model: An `F2LLM`, or an adapter around one.
        output: The folder, made if it is not there.
        id_column: Column of the ids (str, or int, which is written as str). An id stands for one
            text: a row with a known id and another text has failed.
        text_column: Column of the texts, embedded as documents.
        vector_dtype: `"float32"`, or `"float16"` for half the size.
        show_progress: Draw a progress bar.

    Returns:
        What was done, with every row that could not be embedded and why.

    Raises:
        FingerprintError: The folder holds vectors of another model; nothing was embedded.
        ConfigurationError: A table lacks a column, or an option has a wrong value.
        StoreError: The folder cannot be used, or a part not be written.
        ModelError: The model cannot be found or loaded.
        MissingExtraError: Arrow is not installed.
    """
    begin = time.monotonic()
    require_arrow()
    check_choice("vector_dtype", vector_dtype, get_args(VectorDType))
    columns = choose_columns(id_column, text_column)
    encoder = encoder_of(model)
    folder = VectorFolder(Path(output).absolute(), encoder.fingerprint, vector_dtype)
    with running(folder, begin) as run, progress_bar(show=show_progress) as bar:
        embedder = BlockEmbedder(encoder, folder, run.done, columns)
        for table in tables:
            run.add(embedder.embed(table))
            bar.update(table.num_rows)
        return run.report()
