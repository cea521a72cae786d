"""The two retrieval tasks and their measure.

Plain: an English title must find its own description in another language among up to 400, one of
each group. Meaning only: the same, after every word that the title and its description share
literally (names, acronyms, version numbers) is taken out of the title; titles of which nothing is
left are not asked.
"""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from .data import Row

LANGS = ("de", "fr", "it", "da", "ja", "ko", "ru", "uk", "pt_BR", "sk")
WIDTHS = (8, 16, 32, 64, 128, 256)
CANDIDATES = 400
TOP = 10
# Runs of Latin letters and digits apart from other scripts: Japanese writes "PythonのGUI".
WORD = re.compile(r"[a-z0-9\u00c0-\u024f]+|[^\W_a-z0-9\u00c0-\u024f]+")


@dataclass(frozen=True)
class Task:
    """Queries and passages of one language; query ``i`` must find passage ``answers[i]``."""

    lang: str
    queries: list[str]
    passages: list[str]
    answers: np.ndarray  # (queries,) int64


def words(text: str) -> list[str]:
    """Lower-cased words, split where the script changes."""
    return WORD.findall(text.lower())


def without_shared(title: str, passage: str) -> str:
    """Takes out of a title every word that its passage has too."""
    known = set(words(passage))
    return " ".join(word for word in words(title) if word not in known)


def one_per_group(rows: list[Row]) -> list[Row]:
    """Picks one row of each group, at most `CANDIDATES`, by the hash of its id."""
    chosen: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).digest()):
        chosen.setdefault(row["group"], row)
    return list(chosen.values())[:CANDIDATES]


def build(rows: list[Row], meaning_only: bool, langs: tuple[str, ...] = LANGS) -> list[Task]:
    """Makes one task a language from held-out or development rows."""
    titles = {row["id"]: row["title"] for row in rows if row["lang"] == "en"}
    made = []
    for lang in langs:
        own = one_per_group([r for r in rows if r["lang"] == lang and r["id"] in titles])
        asked = [titles[row["id"]] for row in own]
        if meaning_only:
            asked = [without_shared(t, row["text"]) for t, row in zip(asked, own, strict=True)]
        keep = [i for i, query in enumerate(asked) if query]
        made.append(Task(lang, [asked[i] for i in keep], [r["text"] for r in own], np.array(keep)))
    return made


def ndcg(scores: np.ndarray, answers: np.ndarray) -> float:
    """Mean nDCG@10 with one right passage a query; a tie counts against the model.

    Args:
        scores: (queries, passages) float32, higher is nearer.
        answers: (queries,) int64, the right passage of each query.
    """
    right = scores[np.arange(len(answers)), answers]
    rank = (scores >= right[:, None]).sum(axis=1)
    return float(np.where(rank <= TOP, 1 / np.log2(rank + 1), 0.0).mean())


def unit(vectors: np.ndarray, width: int) -> np.ndarray:
    """Cuts vectors (n, d) float32 to their first ``width`` numbers and gives them length one."""
    cut = vectors[:, :width].astype(np.float32)
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)


def by_width(queries: np.ndarray, passages: np.ndarray, answers: np.ndarray) -> dict[int, float]:
    """nDCG@10 of one task at every trained width, in float32."""
    return {
        width: ndcg(unit(queries, width) @ unit(passages, width).T, answers) for width in WIDTHS
    }
