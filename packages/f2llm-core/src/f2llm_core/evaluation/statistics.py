"""How far figures can be trusted: the bootstrap, and a paired randomisation test.

Both draw groups of queries rather than queries: the same question in ten languages, or asked of ten
corpora, is one observation, and counting it ten times would make every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from f2llm_core.errors import ConfigurationError
from f2llm_core.evaluation.metrics import Values
from f2llm_core.options import check_positive

_CELLS = 4_000_000  # of drawn weights held at a time


@dataclass(frozen=True, slots=True)
class Resampling:
    """How to resample; equal seeds give equal figures. Wrong values are a `ConfigurationError`.

    Attributes:
        seed: Of the draws; 0 or more.
        resamples: How many.
        confidence: Of the intervals.
    """

    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_positive("resamples", self.resamples)
        if self.seed != 0:
            check_positive("seed", self.seed)
        if not 0 < self.confidence < 1:
            msg = f"confidence={self.confidence!r}: expected a number between 0 and 1."
            raise ConfigurationError(msg)

    def intervals(self, values: Values, groups: npt.NDArray[np.int64]) -> tuple[Values, Values]:
        """Return percentile bootstrap intervals of means over queries.

        Args:
            values: `(queries, columns)`.
            groups: `(queries,)`, equal for queries that are drawn together.

        Returns:
            Lower and upper ends, `(columns,)` each.
        """
        sums, sizes = _by_group(values, groups)
        count = len(sizes)
        generator = np.random.default_rng(self.seed)
        means = []
        for drawn in _parts(self.resamples, count):
            weights = generator.multinomial(count, np.full(count, 1 / count), size=drawn)
            means.append((weights @ sums) / (weights @ sizes)[:, None])
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
        return low, high

    def p_value(
        self, differences: Values, groups: npt.NDArray[np.int64], *, tests: int = 1
    ) -> float:
        """Return how often chance gives a mean difference at least as large, in either direction.

        If two systems were alike, each group's difference could as well have the other sign.

        Args:
            differences: `(queries,)`, of one system less the other.
            groups: As in `intervals`.
            tests: How many p-values `holm` will correct this one with. So many times as many signs
                are drawn, or no corrected one could ever be small.
        """
        sums = _by_group(differences[:, None], groups)[0][:, 0]
        seen = abs(sums.sum())
        generator = np.random.default_rng(self.seed)
        reached, total = 0, self.resamples * tests
        for drawn in _parts(total, len(sums)):
            signs = generator.integers(0, 2, size=(drawn, len(sums))) * 2 - 1
            reached += int((np.abs(signs @ sums) >= seen - 1e-12).sum())
        return (reached + 1) / (total + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, by Holm's method.

    With all below 0.05 called differences, the chance that any of these is none is below 0.05.

    Args:
        p_values: Of a family of tests.

    Returns:
        The corrected ones, in the same order.
    """
    order = np.argsort(p_values)
    left = np.arange(len(p_values), 0, -1)  # hypotheses that are not rejected yet
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.asarray(p_values)[order] * left).clip(max=1)
    return [float(value) for value in corrected]


def number_groups(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return a number for each name, equal for equal names."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _by_group(values: Values, groups: npt.NDArray[np.int64]) -> tuple[Values, Values]:
    """Return sums `(groups, columns)` and sizes `(groups,)`."""
    _, places = np.unique(groups, return_inverse=True)
    sizes = np.bincount(places).astype(np.float64)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, places, values)
    return sums, sizes


def _parts(total: int, width: int) -> list[int]:
    """Split a number of draws so that no part holds too many numbers."""
    size = max(1, _CELLS // width)
    return [min(size, total - start) for start in range(0, total, size)]
