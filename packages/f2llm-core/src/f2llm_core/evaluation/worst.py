"""The queries that a system did worst on, with what it found instead."""

from __future__ import annotations

import math
import re

from f2llm_core.evaluation.data import Passage
from f2llm_core.evaluation.measure import Found
from f2llm_core.evaluation.metrics import Values
from f2llm_core.evaluation.results import Document, WorstQuery

_SHOWN = 3  # passages of each kind beside a query
_CHARACTERS = 300  # of a text, at most


def worst_queries(found: Found, values: Values, count: int) -> tuple[WorstQuery, ...]:
    """Return queries with the lowest values, worst first; those that found everything stay out.

    Of equal values the one whose first relevant passage stands furthest back is worse. A question
    that was asked of several languages is shown once, where it did worst.

    Args:
        found: What a system ranked.
        values: A metric of each query in the dataset's order.
        count: How many at most.
    """
    dataset = found.dataset
    order = []
    for place, query in enumerate(dataset.queries):
        if values[place] < 1:
            grades = dataset.judgements[query.id]
            ranks = (r for r, (p, _) in enumerate(found.ranking(query)) if grades.get(p.id, 0) > 0)
            order.append((float(values[place]), -next(ranks, math.inf), query.id, place))
    chosen: dict[str, WorstQuery] = {}
    for value, _, _, place in sorted(order):
        query = dataset.queries[place]
        if query.group not in chosen and len(chosen) < count:
            chosen[query.group] = _describe(found, place, value)
    return tuple(chosen.values())


def _describe(found: Found, place: int, value: float) -> WorstQuery:
    dataset = found.dataset
    query = dataset.queries[place]
    grades = dataset.judgements[query.id]
    ranked = found.ranking(query)
    ranks = {passage.id: (rank, score) for rank, (passage, score) in enumerate(ranked, 1)}
    relevant = [p for p in dataset.pools[query.pool] if grades.get(p.id, 0) > 0]
    unranked = (None, None)
    relevant.sort(key=lambda passage: ranks.get(passage.id, (math.inf, 0))[0])
    first = [passage for passage, _ in ranked if grades.get(passage.id, 0) <= 0]
    return WorstQuery(
        query_id=query.id,
        query=_beginning(query.text),
        query_language=query.language,
        document_language=dataset.document_languages[place],
        value=value,
        relevant=tuple(
            _document(p, *ranks.get(p.id, unranked), relevant=True) for p in relevant[:_SHOWN]
        ),
        found=tuple(_document(p, *ranks[p.id], relevant=False) for p in first[:_SHOWN]),
    )


def _document(
    passage: Passage, rank: int | None, score: float | None, *, relevant: bool
) -> Document:
    text = _beginning(passage.text)
    shown = None if score is None else round(score, 4)
    return Document(passage.id, text, passage.language, rank, shown, relevant)


def _beginning(text: str) -> str:
    """Return a text, or as many whole words of it as fit, and `…`."""
    if len(text) <= _CHARACTERS:
        return text
    end = _CHARACTERS - 1
    words = re.match(r"(.*\S)\s", text[: end + 1], re.DOTALL)
    # Chinese, Japanese, Thai … part no words by spaces.
    kept = words[1] if words and len(words[1]) > end / 2 else text[:end]
    return f"{kept}…"
