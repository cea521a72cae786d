r"""What an evaluation found, as plain data: the one form that terminal, JSON and HTML are made of.

`EvaluationResults.to_dict` gives, and `from_dict` takes, this (shortened):

    {"schema": 3,
     "data": {"name": "debian", "task": "retrieval", "documents": 880, "judgements": 3520,
              "queries": {"de": 440, "ja": 440, "de+en": 440}, "questions": 440,
              "document_languages": {"de": 220, "ja": 220}},
     "settings": {"metrics": ["nDCG@10", "R@100", "RR@10"], "seed": 0, "resamples": 1000,
                  "confidence": 0.95},
     "systems": [
       {"name": "f2llm-demo", "model": "f2llm-demo", "kind": "f2llm", "dtype": "float32",
        "full_width": 256, "query_prompt": "Instruct: …\nQuery: ", "document_prompt": "",
        "fingerprint": {"model": "sha256:…", …} or null,
        "speed": {"queries_per_second": 61.2, "documents_per_second": 84.0} or null,
        "scores": [
          {"width": 256, "query_language": null, "document_language": null, "queries": 880,
           "metrics": {"nDCG@10": {"mean": 0.881, "low": 0.861, "high": 0.902}, …}},
          {"width": 256, "query_language": "de", "document_language": null, …},
          {"width": 256, "query_language": "de", "document_language": "ja", …}],
        "worst": [
          {"query_id": "abook", "query": "Adressbuch", "query_language": "de",
           "document_language": "ja", "value": 0.0,
           "relevant": [{"id": "abook/ja", "text": "…", "language": "ja", "rank": 41,
                         "score": 0.31, "relevant": true}],
           "found": [{"id": "pal/ja", …, "rank": 1, "score": 0.52, "relevant": false}]}]}],
     "comparisons": [
       {"system": "f2llm-demo", "baseline": "langchain_huggingface:HuggingFaceEmbeddings",
        "metric": "nDCG@10", "width": 256, "baseline_width": 256, "query_language": null,
        "queries": 880, "difference": 0.021, "low": 0.012, "high": 0.031, "p_value": 0.001,
        "p_holm": 0.003, "better": 190, "worse": 88}],
     "recommendation": ["128 dimensions keep …"],
     "command": "f2llm eval models/f2llm-demo debian.jsonl"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from f2llm_core.errors import DataError
from f2llm_core.evaluation.codec import build
from f2llm_core.evaluation.scores import (
    Comparison,
    Document,
    Estimate,
    Score,
    Speed,
    SystemResult,
    WorstQuery,
)

__all__ = [
    "BYTES_PER_NUMBER",
    "MIX",
    "SCHEMA",
    "Comparison",
    "DataSummary",
    "Document",
    "Estimate",
    "EvaluationResults",
    "Score",
    "Settings",
    "Speed",
    "SystemResult",
    "WorstQuery",
    "is_mixed",
    "languages_of",
]

#: Raised when fields come, go, or begin to mean something else.
SCHEMA = 3
#: Bytes of one number of a stored vector: float32, which the vector stores keep.
BYTES_PER_NUMBER = 4
#: Stands between the two languages of a code-switched query, as in `"de+en"`.
MIX = "+"


def is_mixed(language: str | None) -> bool:
    """Tell whether a language is two, as in `"de+en"`; `"c++"` is one."""
    return len(languages_of(language)) > 1


def languages_of(language: str | None) -> tuple[str, ...]:
    """Return the two languages of a code-switched query, or the one; none of None."""
    if language is None:
        return ()
    parts = tuple(language.split(MIX))
    return parts if len(parts) == 2 and all(parts) else (language,)


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What was searched, and with what.

    Attributes:
        name: Of the data: a file's or folder's own name.
        task: Preset that chose the instruction; None for the model's own.
        documents: How many.
        judgements: Pairs of query and document that the data calls relevant.
        queries: How many by language; the key is `""` where they have none.
        questions: Of these, those that say different things: one question in ten languages is one.
        document_languages: Documents by language, likewise.
    """

    name: str
    task: str | None
    documents: int
    judgements: int
    queries: Mapping[str, int]
    questions: int
    document_languages: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the figures were made.

    Attributes:
        metrics: Names as `ir-measures` has them; the first is the primary one.
        seed: Of every resampling.
        resamples: Of each confidence interval and test.
        confidence: Of the intervals, for example 0.95.
    """

    metrics: tuple[str, ...]
    seed: int
    resamples: int
    confidence: float

    @property
    def primary(self) -> str:
        """The metric that worst queries, comparisons and the recommendation go by."""
        return self.metrics[0]


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """Everything that one evaluation found; the same data and seed give the same bytes.

    Attributes:
        schema: Version of this form.
        data: What was evaluated on.
        settings: How.
        systems: The first is the one that the others are compared with.
        comparisons: Of the first system with each other one, over all queries and by language.
        recommendation: Sentences for people; the first is the advice.
        command: What makes these results again, if it was a command.
    """

    schema: int
    data: DataSummary
    settings: Settings
    systems: tuple[SystemResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    recommendation: tuple[str, ...] = ()
    command: str | None = None

    @property
    def query_languages(self) -> tuple[str, ...]:
        """Languages that have a score, sorted; those of code-switched queries come last."""
        found = {s.query_language for s in self.systems[0].scores if s.query_language is not None}
        return tuple(sorted(found, key=lambda language: (is_mixed(language), language)))

    @property
    def document_languages(self) -> tuple[str, ...]:
        """Languages of relevant documents that have a score, sorted."""
        scores = self.systems[0].scores
        return tuple(sorted({s.document_language for s in scores if s.document_language}))

    def to_dict(self) -> dict[str, Any]:
        """Return these results as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationResults:
        """Make results of what `to_dict` returned.

        Raises:
            DataError: It is something else; names the field.
        """
        if content.get("schema") != SCHEMA:
            msg = (
                f"Not evaluation results of schema {SCHEMA} (schema is {content.get('schema')!r}): "
                "make them again with f2llm eval."
            )
            raise DataError(msg)
        return cast("EvaluationResults", build(cls, content, "results"))

    def write_json(self, path: Path) -> None:
        """Write these results to a file, always in the same bytes."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read_json(cls, path: Path) -> EvaluationResults:
        """Read what `write_json` wrote.

        Raises:
            DataError: The file holds something else.
        """
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            msg = f"{path}: not valid JSON ({error})"
            raise DataError(msg) from None
        if not isinstance(content, dict):
            msg = f"{path}: expected a JSON object, not a {type(content).__name__}"
            raise DataError(msg)
        return cls.from_dict(content)
