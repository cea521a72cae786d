"""What an evaluation found of each system; `results.py` puts it together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries, with the bootstrap's confidence interval.

    Attributes:
        mean: 0 to 1.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """All metrics of one system at one width, over some of the queries.

    Attributes:
        width: Dimensions of the vectors.
        query_language: Of queries in this language only; None for every language. Code-switched
            queries have a language of their own, such as `"de+en"`, and stay out of None.
        document_language: Of queries whose relevant documents are in this language; None for all.
        queries: How many these are.
        metrics: Estimates by the metric's name.
    """

    width: int
    query_language: str | None
    document_language: str | None
    queries: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as shown beside a query.

    Attributes:
        id: As in the data.
        text: Its beginning.
        language: As in the data, if there.
        rank: Among all that were searched, from 1; None if it is beyond the kept ones.
        score: Cosine with the query; None like `rank`.
        relevant: Whether the data says that it answers the query.
    """

    id: str
    text: str
    language: str | None
    rank: int | None
    score: float | None
    relevant: bool


@dataclass(frozen=True, slots=True)
class WorstQuery:
    """A query that a system did badly on, at its full width.

    Attributes:
        query_id: As in the data.
        query: Its text.
        query_language: As in the data, if there.
        document_language: Of its relevant documents, if they have one.
        value: Its primary metric.
        relevant: Documents that would have been right.
        found: Those that came first instead, best first.
    """

    query_id: str
    query: str
    query_language: str | None
    document_language: str | None
    value: float
    relevant: tuple[Document, ...]
    found: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a system embedded the data; loading it is not counted, a cache is.

    Attributes:
        queries_per_second: Of distinct queries, embedded in one call.
        documents_per_second: Of distinct documents.
    """

    queries_per_second: float
    documents_per_second: float


@dataclass(frozen=True, slots=True)
class SystemResult:
    """What one system reached: a model in one precision, or a baseline.

    Attributes:
        name: Unique among the systems.
        model: Short name, hub id, or the last part of a folder.
        kind: `"f2llm"`, or `"baseline"` for anything else.
        dtype: Precision, for example `"float32"`; None where it is not known.
        full_width: Dimensions of its whole vectors.
        query_prompt: What went before queries; None where it is not known.
        document_prompt: What went before documents; None where it is not known.
        fingerprint: What an index must have been made with; None for a baseline.
        speed: None unless it was asked for: it differs from run to run.
        scores: Of every width, over all queries, each language and each pair of languages.
        worst: Queries with the lowest primary metric, worst first.
    """

    name: str
    model: str
    kind: Literal["f2llm", "baseline"]
    dtype: str | None
    full_width: int
    query_prompt: str | None
    document_prompt: str | None
    fingerprint: Mapping[str, Any] | None
    speed: Speed | None
    scores: tuple[Score, ...]
    worst: tuple[WorstQuery, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths that were evaluated, ascending."""
        return tuple(sorted({score.width for score in self.scores}))

    def overall(self, width: int | None = None) -> Score:
        """Return the score over all queries, which every evaluated width has.

        Args:
            width: None is the largest evaluated.

        Raises:
            KeyError: The width was not evaluated.
        """
        found = self.score(width)
        if found is None:
            raise KeyError(width)
        return found

    def score(
        self,
        width: int | None = None,
        query_language: str | None = None,
        document_language: str | None = None,
    ) -> Score | None:
        """Return the score of some queries, or None where there is none.

        Args:
            width: None is the largest evaluated.
            query_language: None for all.
            document_language: None for all.
        """
        wanted = (width or self.widths[-1], query_language, document_language)
        for score in self.scores:
            if (score.width, score.query_language, score.document_language) == wanted:
                return score
        return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first system against another one, on the same queries.

    Attributes:
        system: Name of the first system.
        baseline: Name of the other.
        metric: Name of the metric.
        width: Of the first system's vectors.
        baseline_width: Of the other's.
        query_language: Of queries in this language only; None for every language.
        queries: How many these are.
        difference: Mean over queries of the first system's metric less the other's.
        low: Lower end of the difference's confidence interval.
        high: Upper end.
        p_value: Of a two-sided paired randomisation test: how often chance alone gives such a
            difference, were there no other test.
        p_holm: The same, corrected by Holm's method: over all queries for the number of systems
            that are compared with the first, in one language for the number of languages. This one
            tells a difference from chance, and is shown.
        better: Queries that the first system does better.
        worse: Queries that it does worse.
    """

    system: str
    baseline: str
    metric: str
    width: int
    baseline_width: int
    query_language: str | None
    queries: int
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    better: int
    worse: int
