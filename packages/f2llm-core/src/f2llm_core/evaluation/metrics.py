"""Retrieval metrics by `ir-measures`, query by query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from f2llm_core.errors import ConfigurationError, MissingExtraError

DEFAULT_METRICS = ("nDCG@10", "R@10", "RR@10")

Values = npt.NDArray[np.float64]


class Metrics:
    """Some metrics of rankings against one set of judgements."""

    def __init__(self, names: Iterable[str], judgements: Mapping[str, Mapping[str, int]]) -> None:
        """Prepare.

        Args:
            names: Of measures of ir-measures with a cut-off, such as `"nDCG@10"`.
            judgements: Grades by query and passage; above zero is relevant.

        Raises:
            ConfigurationError: A metric that cannot be computed.
            MissingExtraError: ir-measures is not installed.
        """
        ir_measures = _ir_measures()
        self._measures = [_parse(name, ir_measures) for name in dict.fromkeys(names)]
        self.names = tuple(map(str, self._measures))
        self.depth = max(measure["cutoff"] for measure in self._measures)
        self._places = {query: place for place, query in enumerate(judgements)}
        # No grade below zero: trec_eval crashes where a query has only grades below -1.
        plain = {
            query: {passage: max(grade, 0) for passage, grade in grades.items()}
            for query, grades in judgements.items()
        }
        # Some metrics fail only with a ranking; better now than after hours of embedding.
        sample = {query: list(grades)[:1] for query, grades in islice(plain.items(), 1)}
        try:
            self._evaluator: Any = ir_measures.evaluator(self._measures, plain)
            self.values(sample)
        except Exception as error:
            msg = (
                f"The metrics {', '.join(self.names)} cannot be computed "
                f"({type(error).__name__}: {error}); for example {', '.join(DEFAULT_METRICS)} can."
            )
            raise ConfigurationError(msg) from error

    def values(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, Values]:
        """Return every query's value, in the order of the judgements; 0 without a ranking.

        Args:
            rankings: Passages by query, best first.
        """
        found = {name: np.zeros(len(self._places)) for name in self.names}
        # Its measures break ties in different ways; ranks in the place of scores leave them none.
        run = {
            query: {passage: float(-rank) for rank, passage in enumerate(ranking)}
            for query, ranking in rankings.items()
        }
        for metric in self._evaluator.iter_calc(run):
            found[str(metric.measure)][self._places[metric.query_id]] = metric.value
        return found


def _ir_measures() -> Any:  # noqa: ANN401  (untyped)
    try:
        import ir_measures
    except ImportError as error:
        feature = "An evaluation"
        raise MissingExtraError(feature, "eval") from error
    return ir_measures


def _parse(name: str, ir_measures: Any) -> Any:  # noqa: ANN401
    try:
        measure = ir_measures.parse_measure(name)
        cutoff = measure.params.get("cutoff") if "cutoff" in measure.SUPPORTED_PARAMS else None
        str(measure)  # fails with a parameter that there is not
    except Exception as error:  # the parser also asserts, and looks names up
        reason = str(error) or "no such metric, or not with these parameters"
        msg = f"metric={name!r}: {reason}; for example {', '.join(DEFAULT_METRICS)}."
        raise ConfigurationError(msg) from None
    if type(cutoff) is not int or cutoff < 1:
        msg = f"metric={name!r}: expected a cut-off, as in {name.partition('@')[0]}@10."
        raise ConfigurationError(msg)
    return measure
