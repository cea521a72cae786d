"""What the two-stage benchmark counts, and what its committed figures promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.texts import CORPUS
from benchmarks.two_stage import HERE, markdown, read_texts, recall

RESULTS = json.loads((HERE / "two_stage.json").read_text(encoding="utf-8"))


def test_passages_and_queries_are_distinct_and_the_same_each_time():
    passages, queries = read_texts(CORPUS, 20_000, 1000)
    assert (len(set(passages)), len(set(queries))) == (20_000, 1000)
    assert (passages, queries) == read_texts(CORPUS, 20_000, 1000)
    assert all(passage.strip() for passage in passages)


def test_a_corpus_too_small_is_told(tmp_path: Path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "only this", "title": "one"}\n', encoding="utf-8")
    with pytest.raises(SystemExit, match="makes 1 distinct passages of 2"):
        read_texts(corpus, 2, 1)


def test_recall():
    assert recall([["a", "b"], ["c", "x"]], [["a", "b"], ["c", "d"]]) == 0.75


def test_the_figures_reach_what_was_asked():
    """Recall of 0.99 with a third of the index, on 20,000 passages."""
    [whole] = RESULTS["indices"]
    assert RESULTS["passages"] >= 20_000
    good = [
        row
        for row in RESULTS["two_stage"]
        if row["recall"] >= 0.99 and row["index"] <= whole["index"] / 3
    ]
    assert good


def test_the_page_is_that_of_the_figures():
    assert (HERE / "two_stage.md").read_text(encoding="utf-8") == markdown(RESULTS)
