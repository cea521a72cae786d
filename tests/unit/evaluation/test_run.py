"""Whole evaluations: equal to the slow way, one encoding for all widths, the same bytes again."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import ir_measures
import numpy as np
import pytest
from ir_measures import nDCG, read_trec_run

from f2llm_core import (
    ConfigurationError,
    DataError,
    NonFiniteError,
    UntrainedDimensionWarning,
)
from f2llm_core.evaluation import Resampling, System, evaluate, f2llm_system
from f2llm_core.evaluation.data import DatasetBuilder
from f2llm_core.evaluation.measure import measure
from f2llm_core.evaluation.metrics import Metrics
from f2llm_core.evaluation.statistics import holm
from f2llm_core.evaluation.worst import worst_queries

QUICK = Resampling(resamples=100)


def system(seed=0, *, name="random", width=16, matryoshka=False):
    """Embed every text at random, but the same text always alike."""

    def rows(texts):
        made = [np.random.default_rng([seed, *text.encode()]).normal(size=width) for text in texts]
        return np.array(made, dtype=np.float32).reshape(-1, width)

    return System(
        name=name,
        model="",
        kind="baseline",
        embed_queries=rows,
        embed_documents=lambda texts: iter([rows(list(texts))]),
        matryoshka=matryoshka,
    )


def by_hand(encoder, data, width):
    """nDCG@10 of every query, from whole matrices of scores at one width."""
    own = encoder.with_options(dimensions=width)
    values = []
    for query in data.queries:
        pool = [p for p in data.passages if p.pool == query.pool]
        scores = own.encode_document([p.text for p in pool]) @ own.encode_query(query.text)
        run = {query.id: {p.id: float(s) for p, s in zip(pool, scores, strict=True)}}
        qrels = {query.id: data.judgements[query.id]}
        values.append(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])
    return np.array(values)


def test_every_width_and_pair_as_computed_by_hand(encoder, things):
    results = evaluate([f2llm_system(encoder)], things, resampling=QUICK)
    [found] = results.systems
    assert found.widths == (8, 16, 32, 64)
    for width in found.widths:
        values = by_hand(encoder, things, width)
        assert found.score(width).metrics["nDCG@10"].mean == pytest.approx(values.mean())
        for asked in ("de", "en"):
            for to in ("de", "en", None):
                own = [
                    value
                    for value, query in zip(values, things.queries, strict=True)
                    if query.language == asked and to in {query.pool, None}
                ]
                score = found.score(width, asked, to)
                assert score.queries == len(own)
                assert score.metrics["nDCG@10"].mean == pytest.approx(np.mean(own))
    for score in found.scores:
        for estimate in score.metrics.values():
            assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert (results.data.documents, results.data.judgements) == (20, 40)
    assert results.data.queries == {"de": 20, "en": 20}


def test_texts_are_embedded_once_for_all_widths(checkpoint, things):
    from f2llm_core import F2LLM

    with F2LLM(checkpoint, dtype="float32") as model:
        evaluate([f2llm_system(model)], things, resampling=QUICK)
        distinct = {q.text for q in things.queries}
        assert model.stats.texts == len(distinct) + len(things.passages)


def test_equal_queries_are_asked_once_of_any_system(things):
    plain, asked = system(), []
    counting = replace(
        plain, embed_queries=lambda texts: asked.extend(texts) or plain.embed_queries(texts)
    )
    evaluate([counting], things, resampling=QUICK)
    assert len(asked) == len(set(asked)) == len({q.text for q in things.queries})


def test_the_same_seed_gives_the_same_bytes(encoder, things):
    def run(seed):
        both = [f2llm_system(encoder), system()]
        results = evaluate(both, things, resampling=Resampling(seed=seed, resamples=100))
        return json.dumps(results.to_dict())

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_comparison(things):
    both = [system(name="first"), system(1, name="second", width=32)]
    results = evaluate(both, things, resampling=QUICK)
    values = []
    for one in results.systems:
        assert one.widths == (one.full_width,)
        values.append(one.score().metrics["nDCG@10"].mean)
    whole = results.comparisons[0]
    assert (whole.system, whole.baseline, whole.query_language) == ("first", "second", None)
    assert (whole.width, whole.baseline_width, whole.queries) == (16, 32, 40)
    assert whole.difference == pytest.approx(values[0] - values[1])
    assert whole.low <= whole.difference <= whole.high
    assert whole.better + whole.worse <= 40
    assert [c.query_language for c in results.comparisons] == [None, "de", "en"]
    assert [c.p_holm for c in results.comparisons[1:]] == holm(
        [c.p_value for c in results.comparisons[1:]]
    )
    # As many signs are drawn as the correction will take back.
    drawn = [c.p_value * (100 * n + 1) for c, n in zip(results.comparisons, (1, 2, 2), strict=True)]
    assert drawn == pytest.approx(np.round(drawn))
    alike = evaluate([system(name="a"), system(name="b")], things, resampling=QUICK).comparisons[0]
    assert (alike.difference, alike.p_value, alike.better, alike.worse) == (0, 1, 0, 0)


def test_systems_are_one_family_of_tests_and_the_languages_of_each_another(things):
    systems = [system(seed, name=str(seed)) for seed in range(3)]
    found = evaluate(systems, things, resampling=QUICK).comparisons
    for family in (
        [c for c in found if c.query_language is None],
        [c for c in found if c.query_language and c.baseline == "1"],
        [c for c in found if c.query_language and c.baseline == "2"],
    ):
        assert len(family) == 2
        assert [c.p_holm for c in family] == holm([c.p_value for c in family])


def test_code_switched_queries_have_a_row_of_their_own(parallel_file):
    from f2llm_core.evaluation import read_dataset

    data = read_dataset(parallel_file, format="parallel", code_switch="en")
    mixed = [query for query in data.queries if query.language == "de+en"]
    assert not mixed  # these queries share all their words
    queries = (*data.queries, replace(data.queries[0], id="mixed", language="de+en"))
    data = replace(data, queries=queries, judgements={**data.judgements, "mixed": {"star:en": 1}})
    [found] = evaluate([system()], data, resampling=QUICK).systems
    assert found.score().queries == 40
    assert found.score(None, "de+en").queries == 1
    only = replace(data, queries=queries[-1:], judgements={"mixed": {"star:en": 1}})
    assert evaluate([system()], only, resampling=QUICK).systems[0].score().queries == 1


def test_a_run_file_scores_as_the_results(encoder, things, tmp_path):
    results = evaluate([f2llm_system(encoder)], things, run_file=tmp_path / "run", resampling=QUICK)
    run = list(read_trec_run(str(tmp_path / "run")))
    assert len(run) == 40 * 10
    found = ir_measures.calc_aggregate([nDCG @ 10], dict(things.judgements), run)[nDCG @ 10]
    assert found == pytest.approx(results.systems[0].score().metrics["nDCG@10"].mean)
    evaluate([system()], things, metrics=["R@2"], run_file=tmp_path / "deep", resampling=QUICK)
    assert len((tmp_path / "deep").read_text(encoding="utf-8").splitlines()) == 40 * 10
    lines = [line.split() for line in (tmp_path / "run").read_text(encoding="utf-8").splitlines()]
    assert [lines[0][i] for i in (0, 1, 5)] == [things.queries[0].id, "Q0", "model"]
    assert [line[3] for line in lines[:10]] == [str(rank) for rank in range(1, 11)]
    scores = [float(line[4]) for line in lines[:10]]
    assert scores == sorted(scores, reverse=True)


def test_an_id_with_white_space_cannot_be_in_a_run(tmp_path):
    builder = DatasetBuilder("x")
    builder.passage("x:1", "a b", "text")
    builder.query("x:2", "q", "query")
    builder.judge("x:3", "q", "a b")
    never = replace(system(), embed_queries=lambda _: pytest.fail("it is said before"))
    with pytest.raises(DataError, match="the id 'a b' holds white space"):
        evaluate([never], builder.build(), run_file=tmp_path / "run", resampling=QUICK)


def test_worst_queries(things):
    [found] = evaluate([system()], things, worst=4, resampling=QUICK).systems
    assert len(found.worst) == 4
    values = [query.value for query in found.worst]
    assert values == sorted(values)
    assert values[0] < 1
    for query in found.worst:
        [right] = query.relevant
        assert right.relevant
        assert right.rank > 1
        assert query.found[0].rank == 1
        assert right.id not in {document.id for document in query.found}


def test_of_a_question_asked_often_its_worst_answer_is_shown(things):
    judge = Metrics(["nDCG@10"], things.judgements)
    measured = measure(system(), things, judge, None)
    values = measured.values[16]["nDCG@10"]
    worst = worst_queries(measured.found, values, 1000)
    shown = {query.query_id: query.value for query in worst}
    lowest = {
        group: min(v for v, q in zip(values, things.queries, strict=True) if q.group == group)
        for group in {query.group for query in things.queries}
    }
    assert {id_.partition(":")[0]: value for id_, value in shown.items()} == lowest
    assert worst_queries(measured.found, np.ones(40), 5) == ()


def test_what_was_found_instead_is_never_the_answer():
    builder = DatasetBuilder("x")
    for name in "ab":
        builder.passage("x:1", name, f"text {name}")
    builder.query("x:2", "q", "query")
    builder.judge("x:3", "q", "b")
    data = builder.build()
    measured = measure(system(), data, Metrics(["R@1"], data.judgements), None)
    [query] = worst_queries(measured.found, np.zeros(1), 1)
    assert [d.id for d in query.found] == ["a"]
    assert [d.id for d in query.relevant] == ["b"]


def test_a_relevant_passage_beyond_the_kept_ones_has_no_rank(things, monkeypatch):
    monkeypatch.setattr("f2llm_core.evaluation.measure.DEPTH", 2)
    [found] = evaluate([system()], things, metrics=["R@2"], resampling=QUICK).systems
    [right] = found.worst[0].relevant
    assert (right.rank, right.score) == (None, None)
    assert len(found.worst[0].found) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ab " * 100, "ab " * 100),
        ("abcde " * 100, ("abcde " * 50).strip() + "…"),
        ("abcdef " * 100, ("abcdef " * 42).strip() + "…"),
        ("abcde\n" + "x" * 400, "abcde\n" + "x" * 293 + "…"),
        ("夜空を描画する。" * 50, ("夜空を描画する。" * 50)[:299] + "…"),
    ],
)
def test_a_long_text_is_shown_to_the_end_of_a_word(text, shown):
    builder = DatasetBuilder("x")
    builder.passage("x:1", "a", text)
    builder.passage("x:1", "b", "right")
    builder.query("x:2", "q", text)
    builder.judge("x:3", "q", "b")
    data = builder.build()
    measured = measure(system(), data, Metrics(["R@1"], data.judgements), None)
    [query] = worst_queries(measured.found, np.zeros(1), 1)
    assert (query.query, query.found[0].text) == (shown, shown)
    assert len(shown) <= 300


def test_speed_is_measured_on_demand(encoder, things):
    [timed] = evaluate([f2llm_system(encoder)], things, timed=True, resampling=QUICK).systems
    assert timed.speed.queries_per_second > 0
    assert timed.speed.documents_per_second > 0
    assert evaluate([system()], things, resampling=QUICK).systems[0].speed is None


def test_widths(encoder, things):
    def widths(one, asked):
        return evaluate([one], things, widths=asked, resampling=QUICK).systems[0].widths

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert widths(f2llm_system(encoder), [16]) == (16, 64)
        assert widths(system(), [8]) == (16,)  # it was never said that it can be cut
        assert widths(system(matryoshka=True), [12]) == (12, 16)
    with pytest.warns(UntrainedDimensionWarning, match="not trained at 24"):
        assert widths(f2llm_system(encoder), [24]) == (24, 64)
    for wrong in (65, 7):
        with pytest.raises(
            ConfigurationError, match=f"^model: dimensions={wrong}: allowed is an i"
        ):
            widths(f2llm_system(encoder), [wrong])


def test_a_system_that_makes_zeros_is_named(things):
    zeros = replace(system(), embed_documents=lambda texts: iter([np.zeros((1, 16), np.float32)]))
    with pytest.raises(NonFiniteError, match=r"^random: 1 of 1 vectors cannot be normalised"):
        evaluate([zeros], things, resampling=QUICK)


def test_a_system_whose_documents_have_another_width_is_named(things):
    other = replace(system(), embed_documents=lambda texts: iter([np.ones((1, 24), np.float32)]))
    with pytest.raises(ConfigurationError, match=r"^random: passages have 24 dimensions and quer"):
        evaluate([other], things, resampling=QUICK)


def test_names_are_unique_and_there_is_one(things):
    with pytest.raises(ConfigurationError, match="Two systems are called 'random'"):
        evaluate([system(), system()], things, resampling=QUICK)
    with pytest.raises(ConfigurationError, match="No system to evaluate"):
        evaluate([], things)


def test_a_task_is_searched_with_its_instruction(encoder, tmp_path):
    path = tmp_path / "code.jsonl"
    lines = [
        {"query": f"add {n} to a number", "text": f"def add(x):\n    return x + {n}"}
        for n in range(5)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    from f2llm_core.evaluation import read_dataset

    coder = f2llm_system(encoder.with_options(task="code"))
    results = evaluate([coder], read_dataset(path), task="code", resampling=QUICK)
    assert results.data.task == "code"
    assert "code snippet" in results.systems[0].query_prompt
    assert results.query_languages == ()
