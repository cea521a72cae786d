"""Metrics against their definitions and against trec_eval, on random rankings."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import pytrec_eval

from f2llm_core import ConfigurationError, MissingExtraError
from f2llm_core.evaluation.data import Dataset, Passage, Query
from f2llm_core.evaluation.metrics import Metrics
from f2llm_core.evaluation.search import _Best

NAMES = ("nDCG@10", "R@10", "RR@10", "P@3", "Success@5", "AP@10")


def define(ranking, grades):
    """Compute the metrics by their definitions, of grades in the order of the ranking."""
    gains = [max(grades.get(one, 0), 0) for one in ranking]
    hits = [gain > 0 for gain in gains]
    ideal = sorted((max(grade, 0) for grade in grades.values()), reverse=True)
    relevant = sum(grade > 0 for grade in grades.values())

    def dcg(values):
        return math.fsum(value / math.log2(place + 2) for place, value in enumerate(values[:10]))

    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(min(10, len(hits))) if hits[i]]
    return {
        "nDCG@10": dcg(gains) / dcg(ideal) if relevant else 0.0,
        "R@10": sum(hits[:10]) / relevant if relevant else 0.0,
        "RR@10": next((1 / (i + 1) for i, hit in enumerate(hits[:10]) if hit), 0.0),
        "P@3": sum(hits[:3]) / 3,
        "Success@5": float(any(hits[:5])),
        "AP@10": math.fsum(precisions) / relevant if relevant else 0.0,
    }


def test_grades_below_minus_one_are_not_relevant():
    """Of which trec_eval itself ends the process."""
    passages = [f"d{number}" for number in range(40)]
    judgements = {f"q{i}": {"d1": -2} if i % 2 else {"d1": 1, "d2": 2, "d3": -3} for i in range(20)}
    metrics = Metrics(["nDCG@10"], judgements)
    for _ in range(6):
        values = metrics.values(dict.fromkeys(judgements, tuple(passages)))
    right = [define(passages, grades)["nDCG@10"] for grades in judgements.values()]
    assert values["nDCG@10"].tolist() == pytest.approx(right)


@pytest.mark.parametrize(
    "name", ["ERR@10", "nDCG@99999999999999999999", "BPM@5", "P(rel='a')@10", "nDCG(foo=1)@10"]
)
def test_a_metric_that_cannot_be_computed_is_refused_before_anything_is_embedded(name):
    with pytest.raises(ConfigurationError, match="for example nDCG@10"):
        Metrics([name], {"q 1": {"a": 1}})


def draw(generator):
    """Draw passages, judgements of some of them and of some that are never found, and scores."""
    ids = [f"d{number}" for number in generator.permutation(int(generator.integers(0, 40)))]
    judged = [one for one in ids if generator.random() < 0.2] + ["gone"]
    grades = {one: int(generator.integers(-1, 4)) for one in judged if generator.random() < 0.9}
    scores = generator.choice(np.linspace(-1, 1, 9), size=len(ids)).astype(np.float32)
    return ids, grades or {"gone": 1}, scores


def test_a_thousand_rankings_by_definition():
    generator = np.random.default_rng(7)
    drawn = {f"q{number}": draw(generator) for number in range(1200)}
    judgements = {query: grades for query, (_, grades, _) in drawn.items()}
    rankings = {query: ids for query, (ids, _, _) in drawn.items() if generator.random() < 0.95}
    values = Metrics(NAMES, judgements).values(rankings)
    assert set(values) == set(NAMES)
    for place, (query, grades) in enumerate(judgements.items()):
        for name, right in define(rankings.get(query, []), grades).items():
            assert values[name][place] == pytest.approx(right, abs=1e-9), (query, name)


def test_a_thousand_runs_with_ties_as_trec_eval_breaks_them():
    generator = np.random.default_rng(8)
    for _ in range(1000):
        ids, grades, scores = draw(generator)
        passages = tuple(Passage(one, "") for one in ids)
        query = Query("q", "", None, "", "q")
        pool = Dataset("", passages, (query,), {"q": grades}).pools.get("", [])
        own = dict(zip(ids, scores.tolist(), strict=True))
        best = _Best(1, 10)
        for place, passage in enumerate(pool):
            best.add(slice(0, 1), np.array([[own[passage.id]]], np.float32), place)
        ranking = [pool[place].id for place in best.hits().positions[0] if place >= 0]
        values = Metrics(NAMES[:3], {"q": grades}).values({"q": ranking})
        names = {"ndcg_cut_10", "recall_10", "recip_rank"}
        judge = pytrec_eval.RelevanceEvaluator({"q": grades}, names)
        right = judge.evaluate({"q": own}).get("q", dict.fromkeys(names, 0.0))
        first = right["recip_rank"] if right["recip_rank"] >= 1 / 10 else 0.0
        found = [values[name][0] for name in NAMES[:3]]
        assert found == pytest.approx([right["ndcg_cut_10"], right["recall_10"], first], abs=1e-9)


def test_depth_and_names():
    metrics = Metrics(["MRR@3", "Recall@50"], {"q": {"d": 1}})
    assert metrics.names == ("RR@3", "R@50")
    assert metrics.depth == 50


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDCG", "metric='nDCG': expected a cut-off, as in nDCG@10."),
        ("hits@10", "metric='hits@10': measure not found: hits; for example nDCG@10, R@10"),
        ("R@ten", "metric='R@ten': "),
        ("R@0", "metric='R@0': expected a cut-off"),
        ("", "metric='': "),
        ("Compat@10", "metric='Compat@10': "),
    ],
)
def test_what_cannot_be_computed_is_said(name, message):
    with pytest.raises(ConfigurationError) as caught:
        Metrics([name], {"q": {"d": 1}})
    assert str(caught.value).startswith(message)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'f2llm-core\[eval\]'"):
        Metrics(["nDCG@10"], {"q": {"d": 1}})
