"""One system on one dataset: embed once, search at every width, judge every query."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from f2llm_core.errors import ConfigurationError, NonFiniteError
from f2llm_core.evaluation.data import Dataset, Passage, Query
from f2llm_core.evaluation.metrics import Metrics, Values
from f2llm_core.evaluation.results import Speed
from f2llm_core.evaluation.search import Hits, search
from f2llm_core.evaluation.systems import System
from f2llm_core.matryoshka import Vectors, check_dimensions, warn_if_untrained
from f2llm_core.models import trained_dimensions

#: Passages kept of each query at full width, for the run file and the worst queries.
DEPTH = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What a system ranked, at one width.

    Attributes:
        dataset: What was searched.
        hits: By pool; their rows are the pool's queries in the order of the dataset.
        rows: Of each query in its pool's hits.
    """

    dataset: Dataset
    hits: dict[str, Hits]
    rows: dict[str, int]

    def ranking(self, query: Query) -> list[tuple[Passage, float]]:
        """Return the passages found for a query, best first, and their cosines."""
        hits, passages = self.hits[query.pool], self.dataset.pools[query.pool]
        row = self.rows[query.id]
        places, scores = hits.positions[row].tolist(), hits.scores[row].tolist()
        return [(passages[p], s) for p, s in zip(places, scores, strict=True) if p >= 0]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one system reached.

    Attributes:
        system: The system.
        values: By width and metric, a value for each query in the dataset's order.
        found: At full width.
        speed: None unless it was asked for.
    """

    system: System
    values: dict[int, dict[str, Values]]
    found: Found
    speed: Speed | None

    @property
    def full_width(self) -> int:
        """Dimensions of the whole vectors."""
        return max(self.values)


def measure(
    system: System,
    dataset: Dataset,
    metrics: Metrics,
    widths: Sequence[int] | None,
    *,
    timed: bool = False,
) -> Measured:
    """Evaluate a system.

    Args:
        system: What makes the vectors.
        dataset: What to search, and with what.
        metrics: Made with the dataset's judgements.
        widths: To evaluate beside the full one; None for those the model was trained at.
        timed: Whether to measure speed; a first text, which loads the model, is not counted.

    Raises:
        ConfigurationError: A width beyond the system's, or its queries and documents have two.
        NonFiniteError: The system made a row that is zero or not finite.
    """
    if timed:
        system.embed_queries([dataset.queries[0].text])
    clock = _Clock()
    texts = list(dict.fromkeys(query.text for query in dataset.queries))
    with clock:
        rows = system.embed_queries(texts)
    query_seconds = clock.take()
    full = rows.shape[1]
    depths = dict.fromkeys(_widths(system, widths, full), metrics.depth)
    depths[full] = max(metrics.depth, DEPTH)
    place = {text: number for number, text in enumerate(texts)}
    hits: dict[int, dict[str, Hits]] = {width: {} for width in depths}
    rows_of: dict[str, int] = {}
    for pool, passages in dataset.pools.items():
        queries = [query for query in dataset.queries if query.pool == pool]
        rows_of |= {query.id: row for row, query in enumerate(queries)}
        if queries:
            asked = rows[[place[query.text] for query in queries]]
            for width, best in _search(system, asked, passages, depths, clock).items():
                hits[width][pool] = best
    found = {width: Found(dataset, by_pool, rows_of) for width, by_pool in hits.items()}
    speed = Speed(len(texts) / query_seconds, _searched(dataset) / clock.take()) if timed else None
    values = {width: metrics.values(_ids(found[width])) for width in sorted(found)}
    return Measured(system, values, found[full], speed)


def _search(
    system: System,
    queries: Vectors,
    passages: list[Passage],
    depths: dict[int, int],
    clock: _Clock,
) -> dict[int, Hits]:
    blocks = system.embed_documents(passage.text for passage in passages)
    kept = {width: min(depth, len(passages)) for width, depth in depths.items()}
    try:
        return search(queries, _as_wide(queries, clock.over(blocks), system), kept)
    except NonFiniteError as error:
        msg = f"{system.name}: {error}"
        raise NonFiniteError(msg, rows=error.rows) from error


def _as_wide(queries: Vectors, blocks: Iterator[Vectors], system: System) -> Iterator[Vectors]:
    """Yield blocks of passages, each as wide as the queries."""
    for block in blocks:
        if block.shape[1] != queries.shape[1]:
            msg = (
                f"{system.name}: passages have {block.shape[1]} dimensions and queries "
                f"{queries.shape[1]}: they were not embedded by one model at one width."
            )
            raise ConfigurationError(msg)
        yield block


def check_width(name: str, width: int, full: int) -> int:
    """Return a width that the vectors of a system can be cut to, or raise `ConfigurationError`."""
    try:
        return check_dimensions(width, full)
    except ConfigurationError as error:
        msg = f"{name}: {error}"
        raise ConfigurationError(msg) from None


def _widths(system: System, asked: Sequence[int] | None, full: int) -> list[int]:
    """Return the widths to evaluate, ascending; the full one is always among them."""
    if not system.matryoshka:
        return [full]
    widths = {check_width(system.name, w, full) for w in asked or trained_dimensions(full)}
    if system.kind == "f2llm":
        for width in sorted(widths):
            warn_if_untrained(width, full)
    return sorted(widths | {full})


def _ids(found: Found) -> dict[str, list[str]]:
    queries = found.dataset.queries
    return {query.id: [p.id for p, _ in found.ranking(query)] for query in queries}


def _searched(dataset: Dataset) -> int:
    """Return how many passages are in a pool that any query searches."""
    pools = {query.pool for query in dataset.queries}
    return sum(len(dataset.pools[pool]) for pool in pools)


class _Clock:
    """Sums the time spent inside, of several stretches."""

    def __init__(self) -> None:
        self._seconds = self._begin = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._begin

    def take(self) -> float:
        """Return the seconds so far, and begin again at zero."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def over(self, blocks: Iterator[Vectors]) -> Iterator[Vectors]:
        """Yield blocks, counting the time they take to be made."""
        while True:
            with self:
                block = next(blocks, None)
            if block is None:
                return
            yield block
