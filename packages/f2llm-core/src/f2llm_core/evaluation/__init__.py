r"""Retrieval quality on your own data, by language, width, precision and model.

    data = read_dataset("beir/scifact")
    results = evaluate([f2llm_system(F2LLM("80M")), load_system("module:Class?option=value")], data)
    print("\n".join(results.recommendation))

`reading.py` and its neighbours turn files into a `Dataset`; `systems.py` anything that embeds into
a `System`; `measure.py` embeds, searches (`search.py`) and judges (`metrics.py`) at every width in
one pass; `run.py` adds intervals and tests (`statistics.py`) and makes `EvaluationResults`, which
`terminal.py` and `report.py` show.
"""

from __future__ import annotations

from f2llm_core.evaluation.data import Dataset
from f2llm_core.evaluation.reading import read_dataset
from f2llm_core.evaluation.results import EvaluationResults
from f2llm_core.evaluation.run import evaluate
from f2llm_core.evaluation.statistics import Resampling
from f2llm_core.evaluation.systems import System, as_system, f2llm_system, load_system

__all__ = [
    "Dataset",
    "EvaluationResults",
    "Resampling",
    "System",
    "as_system",
    "evaluate",
    "f2llm_system",
    "load_system",
    "read_dataset",
]
