"""How well passages are found across languages, measured on parallel passages in an index."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from index import Index
from numpy.typing import NDArray

TOP = 10
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recall:
    """Shares of questions whose right passage came first, and among the first ten.

    Attributes:
        queries: Number of questions, each with its own right passage.
        candidates: Number of passages that the right one was looked for among.
        first: Share of questions with the right passage at rank 1.
        top: Share of questions with the right passage in the first `TOP`.
    """

    queries: int
    candidates: int
    first: float
    top: float


@dataclass(frozen=True, slots=True)
class LanguageRecall:
    """A language's recall, from and to the pivot: the language with the most passages."""

    lang: str
    pivot: str
    to_lang: Recall
    from_lang: Recall


class _Passages:
    """The passages of one language: their parallel keys, titles and vectors, in one order."""

    def __init__(self, rows: list[tuple[dict[str, Any], Vectors]], index: Index) -> None:
        self.keys = {metadata["parallel"]: row for row, (metadata, _) in enumerate(rows)}
        self.vectors = np.stack([vector for _, vector in rows])
        self.queries = index.encoder.encode_query([metadata["title"] for metadata, _ in rows])


def measure_recall(index: Index) -> list[LanguageRecall]:
    """Look for each passage with the title of its translation.

    The title of a passage in one language is the question; the right answer is the parallel passage
    in the other language, looked for among all passages of that language. Exact, from the vectors
    that the index holds.

    Args:
        index: Its passages need `lang`, `title` and `parallel`; others are left out.

    Returns:
        A row for each language but the pivot, by language; none if nothing is parallel.
    """
    rows: dict[str, list[tuple[dict[str, Any], Vectors]]] = defaultdict(list)
    for metadata, vector in zip(*index.vectors(), strict=True):
        if metadata["lang"] and metadata["title"] and metadata["parallel"]:
            rows[metadata["lang"]].append((metadata, vector))
    if len(rows) < 2:
        return []
    pivot = Counter({lang: len(of) for lang, of in rows.items()}).most_common(1)[0][0]
    passages = {lang: _Passages(of, index) for lang, of in rows.items()}
    return [
        LanguageRecall(
            lang=lang,
            pivot=pivot,
            to_lang=_recall(passages[pivot], passages[lang]),
            from_lang=_recall(passages[lang], passages[pivot]),
        )
        for lang in sorted(passages.keys() - {pivot})
        if passages[lang].keys.keys() & passages[pivot].keys.keys()
    ]


def _recall(asked: _Passages, sought: _Passages) -> Recall:
    """Ask with the titles of one language for the passages of another."""
    pairs = [(row, sought.keys[key]) for key, row in asked.keys.items() if key in sought.keys]
    queries, right = (list(column) for column in zip(*pairs, strict=True))
    scores = asked.queries[queries] @ sought.vectors.T
    right_scores = scores[np.arange(len(right)), right]
    better = (scores > right_scores[:, None]).sum(axis=1)  # passages ahead of the right one
    return Recall(
        queries=len(pairs),
        candidates=len(sought.vectors),
        first=float((better == 0).mean()),
        top=float((better < TOP).mean()),
    )
