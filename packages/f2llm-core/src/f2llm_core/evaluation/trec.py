"""Rankings in the form that trec_eval and ir-measures read."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from f2llm_core.errors import DataError
from f2llm_core.evaluation.data import Dataset
from f2llm_core.evaluation.measure import Found


def check_ids(path: Path, dataset: Dataset) -> None:
    """Raise `DataError` for an id that holds white space, which a run cannot."""
    queries, passages = (q.id for q in dataset.queries), (p.id for p in dataset.passages)
    for id_ in chain(queries, passages):
        if len(id_.split()) != 1:
            msg = f"{path}: the id {id_!r} holds white space, which a run cannot."
            raise DataError(msg)


def write_run(path: Path, found: Found, tag: str) -> None:
    """Write a TREC run: query, `Q0`, passage, rank from 1, score, tag.

    Scores are written in full, so that trec_eval, which goes by them and not by the ranks, sees
    the same ties and breaks them alike.

    Args:
        path: The file.
        found: What a system ranked, in a dataset that `check_ids` has passed.
        tag: Name of the system; blanks become underscores.
    """
    tag = "_".join(tag.split())
    with path.open("w", encoding="utf-8") as file:
        for query in found.dataset.queries:
            for rank, (passage, score) in enumerate(found.ranking(query), 1):
                file.write(f"{query.id} Q0 {passage.id} {rank} {score!r} {tag}\n")
