"""From systems and data to results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from f2llm_core.errors import ConfigurationError
from f2llm_core.evaluation.data import Dataset, count_languages
from f2llm_core.evaluation.measure import Measured, measure
from f2llm_core.evaluation.metrics import DEFAULT_METRICS, Metrics, Values
from f2llm_core.evaluation.recommend import recommend
from f2llm_core.evaluation.results import (
    SCHEMA,
    Comparison,
    DataSummary,
    Estimate,
    EvaluationResults,
    Score,
    Settings,
    SystemResult,
    is_mixed,
)
from f2llm_core.evaluation.statistics import Resampling, holm, number_groups
from f2llm_core.evaluation.systems import System
from f2llm_core.evaluation.trec import check_ids, write_run
from f2llm_core.evaluation.worst import worst_queries

Places = npt.NDArray[np.int64]
Slice = tuple[str | None, str | None]  # languages of the queries and of what answers them


def evaluate(
    systems: Iterable[System],
    dataset: Dataset,
    *,
    widths: Sequence[int] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    task: str | None = None,
    resampling: Resampling | None = None,
    worst: int = 20,
    timed: bool = False,
    run_file: Path | None = None,
    command: str | None = None,
    finished: Callable[[EvaluationResults], object] | None = None,
) -> EvaluationResults:
    """Evaluate systems on a dataset, each embedding it once.

    Args:
        systems: Read one at a time, so that a generator may load and free each; the first is the
            one that the others are compared with.
        dataset: From `read_dataset`.
        widths: To evaluate beside the full one, for systems whose vectors can be cut; None for
            those a model was trained at.
        metrics: Of ir-measures, with a cut-off; the first is the primary one.
        task: Preset of the instruction, for the record.
        resampling: Of intervals and tests; None for the usual one.
        worst: Queries to show of each system.
        timed: Whether to measure speed, which no two runs have the same.
        run_file: Where to write the first system's ranking at full width, as TREC has it.
        command: What makes the results again, for the record.
        finished: Called after each system with the results of all until then, which are not lost
            if a later one fails.

    Returns:
        The results; equal for equal data, systems and seed, unless timed.

    Raises:
        ConfigurationError: A metric or width that cannot be, two systems of one name, or none.
        DataError: An id that a run file cannot hold.
        NonFiniteError: A system made rows that are zero or not finite.
        MissingExtraError: ir-measures is not installed.
    """
    resampling = resampling or Resampling()
    if run_file is not None:
        check_ids(run_file, dataset)
    judge = Metrics(metrics, dataset.judgements)
    slices = _slices(dataset)
    groups = number_groups([query.group for query in dataset.queries])
    settings = Settings(judge.names, resampling.seed, resampling.resamples, resampling.confidence)
    data = _summary(dataset, task)
    found = EvaluationResults(SCHEMA, data, settings, systems=(), command=command)
    comparisons: list[Comparison] = []
    first: Measured | None = None
    for system in systems:
        if system.name in {result.name for result in found.systems}:
            msg = f"Two systems are called {system.name!r}; names are unique."
            raise ConfigurationError(msg)
        measured = measure(system, dataset, judge, widths, timed=timed)
        result = _result(measured, slices, groups, resampling, judge.names[0], worst)
        if first is None:
            first = measured
            if run_file is not None:
                write_run(run_file, measured.found, system.name)
        else:
            comparisons += _compare(first, measured, slices, groups, resampling, judge.names[0])
        found = replace(
            found, systems=(*found.systems, result), comparisons=_corrected(comparisons)
        )
        found = replace(found, recommendation=recommend(found))
        if finished is not None:
            finished(found)
    if first is None:
        msg = "No system to evaluate."
        raise ConfigurationError(msg)
    return found


def _summary(dataset: Dataset, task: str | None) -> DataSummary:
    return DataSummary(
        name=dataset.name,
        task=task,
        documents=len(dataset.passages),
        judgements=sum(g > 0 for grades in dataset.judgements.values() for g in grades.values()),
        queries=count_languages([query.language for query in dataset.queries]),
        questions=len({query.group for query in dataset.queries}),
        document_languages=count_languages([passage.language for passage in dataset.passages]),
    )


def _slices(dataset: Dataset) -> dict[Slice, Places]:
    """Return the places of the queries of every language and pair; code-switched ones apart."""
    members: dict[Slice, list[int]] = {}
    mixed = [is_mixed(query.language) for query in dataset.queries]
    for place, (query, to) in enumerate(
        zip(dataset.queries, dataset.document_languages, strict=True)
    ):
        for asked in (
            {query.language} if mixed[place] and not all(mixed) else {None, query.language}
        ):
            for answer in {None, to}:
                members.setdefault((asked, answer), []).append(place)
    order = sorted(members, key=lambda pair: (pair[0] or "", pair[1] or ""))
    return {pair: np.array(members[pair]) for pair in order}


def _result(
    measured: Measured,
    slices: dict[Slice, Places],
    groups: Places,
    resampling: Resampling,
    primary: str,
    worst: int,
) -> SystemResult:
    system = measured.system
    values = measured.values
    return SystemResult(
        name=system.name,
        model=system.model,
        kind=system.kind,
        dtype=system.dtype,
        full_width=measured.full_width,
        query_prompt=system.query_prompt,
        document_prompt=system.document_prompt,
        fingerprint=system.fingerprint,
        speed=measured.speed,
        scores=_scores(values, slices, groups, resampling),
        worst=worst_queries(measured.found, values[measured.full_width][primary], worst),
    )


def _scores(
    values: dict[int, dict[str, Values]],
    slices: dict[Slice, Places],
    groups: Places,
    resampling: Resampling,
) -> tuple[Score, ...]:
    """Estimate every metric at every width over every slice; widths share the draws."""
    columns = [(width, metric) for width, by_metric in values.items() for metric in by_metric]
    table = np.stack([values[width][metric] for width, metric in columns], axis=1)
    scores = []
    for (asked, answer), places in slices.items():
        own = table[places]
        lows, highs = resampling.intervals(own, groups[places])
        estimates: dict[int, dict[str, Estimate]] = {}
        for (width, metric), mean, low, high in zip(
            columns, own.mean(axis=0).tolist(), lows.tolist(), highs.tolist(), strict=True
        ):
            estimates.setdefault(width, {})[metric] = Estimate(mean, low, high)
        scores += [
            Score(width, asked, answer, len(places), by_metric)
            for width, by_metric in estimates.items()
        ]
    return tuple(sorted(scores, key=lambda score: score.width))


def _compare(
    first: Measured,
    other: Measured,
    slices: dict[Slice, Places],
    groups: Places,
    resampling: Resampling,
    primary: str,
) -> list[Comparison]:
    """Compare two systems at their full widths, over all queries and by language."""
    widths = first.full_width, other.full_width
    differences = first.values[widths[0]][primary] - other.values[widths[1]][primary]
    asked_alike = {asked: places for (asked, answer), places in slices.items() if answer is None}
    languages = len(asked_alike.keys() - {None})
    found = []
    for asked, places in asked_alike.items():
        own, drawn = differences[places], groups[places]
        [low], [high] = resampling.intervals(own[:, None], drawn)
        p_value = resampling.p_value(own, drawn, tests=1 if asked is None else languages)
        found.append(
            Comparison(
                system=first.system.name,
                baseline=other.system.name,
                metric=primary,
                width=widths[0],
                baseline_width=widths[1],
                query_language=asked,
                queries=len(places),
                difference=float(own.mean()),
                low=float(low),
                high=float(high),
                p_value=p_value,
                p_holm=p_value,  # until `_corrected` has seen all of its family
                better=int((own > 0).sum()),
                worse=int((own < 0).sum()),
            )
        )
    return found


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct the p-values over all queries as one family, and those of each other's languages."""
    families: dict[str | None, list[int]] = {}
    for place, one in enumerate(comparisons):
        families.setdefault(None if one.query_language is None else one.baseline, []).append(place)
    corrected = list(comparisons)
    for places in families.values():
        for place, p in zip(places, holm([comparisons[i].p_value for i in places]), strict=True):
            corrected[place] = replace(comparisons[place], p_holm=p)
    return tuple(corrected)
