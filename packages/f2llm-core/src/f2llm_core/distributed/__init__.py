"""A corpus into a folder of Parquet files, in one process or by workers of a Ray cluster.

Whatever reads the corpus gives tables of Arrow; each is checked, embedded and written as one part
of the folder, which appears whole or not at all. Which ids are done is read from the parts
themselves, so that a run that was stopped, in whatever way, is completed by the same call.

    from f2llm_core import F2LLM
    from f2llm_core.distributed import embed_dataset

    dataset = ray.data.read_parquet("corpus/")
    print(embed_dataset(dataset, F2LLM("0.6B", dimensions=256), "vectors", workers=8))
"""

from __future__ import annotations

from f2llm_core.distributed.files import read_tables
from f2llm_core.distributed.folder import VectorDType
from f2llm_core.distributed.local import embed_tables
from f2llm_core.distributed.ray_data import embed_dataset, index_dataset, read_dataset
from f2llm_core.distributed.report import EmbedReport
from f2llm_core.indexing import Failure, IndexReport

__all__ = [
    "EmbedReport",
    "Failure",
    "IndexReport",
    "VectorDType",
    "embed_dataset",
    "embed_tables",
    "index_dataset",
    "read_dataset",
    "read_tables",
]
