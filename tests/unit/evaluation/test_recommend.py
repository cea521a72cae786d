"""The sentences, and from which figures they follow."""

from __future__ import annotations

from dataclasses import replace

from evaluation_example import make_example

from f2llm_core.evaluation.recommend import recommend
from f2llm_core.evaluation.results import (
    Comparison,
    Estimate,
    EvaluationResults,
    Score,
)


def scores(means):
    """Make scores of means by (width, query language, document language)."""
    return tuple(
        Score(width, asked, to, 50, {"nDCG@10": Estimate(mean, mean, mean)})
        for (width, asked, to), mean in means.items()
    )


def example(means, *, width=256, comparisons=(), questions=500) -> EvaluationResults:
    first = replace(
        make_example().systems[0], name="model", full_width=width, scores=scores(means), worst=()
    )
    results = make_example()
    return replace(
        results,
        systems=(first, *results.systems[1:]),
        comparisons=comparisons,
        settings=replace(results.settings, metrics=("nDCG@10",)),
        data=replace(results.data, questions=questions),
    )


def test_the_smallest_width_that_keeps_enough():
    means = {(64, None, None): 0.77, (128, None, None): 0.789, (256, None, None): 0.8}
    [said] = recommend(example(means))
    assert said == (
        "model: 128 dimensions keep 98 % of nDCG@10 at 50 % of the bytes "
        "(512 instead of 1,024 bytes a vector)."
    )
    means[64, None, None] = 0.784
    assert recommend(example(means))[0].startswith(
        "model: 64 dimensions keep 98 % of nDCG@10 at 25"
    )


def test_languages_that_lose_more_are_named():
    means = {(128, None, None): 0.79, (256, None, None): 0.8}
    for language, kept in (("de", 0.76), ("ja", 0.7), ("ko", 0.8)):
        means[128, language, None], means[256, language, None] = kept, 0.8
    first, weakest = recommend(example(means))
    assert first.endswith(
        "nDCG@10 in your 3 languages at 50 % of the bytes (512 instead of 1,024 bytes a vector); "
        "ja (87 %) is the exception."
    )
    assert weakest == "Weakest: queries in de, 0.800 nDCG@10."
    means[128, "ko", None] = 0.1
    assert recommend(example(means))[0].endswith("; ja (87 %), ko (12 %) are the exceptions.")


def test_no_width_but_the_full_one():
    means = {(128, None, None): 0.7, (256, None, None): 0.8}
    [said] = recommend(example(means))
    assert said == (
        "model: keep all 256 dimensions; no smaller width of those evaluated keeps 98 % of "
        "nDCG@10 (0.800)."
    )
    assert recommend(example({(256, None, None): 0.8})) == (
        "model reaches 0.800 nDCG@10 at 256 dimensions.",
    )
    assert recommend(example({(256, None, None): 0.0, (8, None, None): 0.0})) == (
        "model found nothing at all: no width can be advised.",
    )


def test_weakest_pair_code_switching_and_few_queries():
    means = {
        (256, None, None): 0.8,
        (256, "de", None): 0.9,
        (256, "de", "ja"): 0.7,
        (256, "de", "ko"): 0.6,
        (256, "de+en", None): 0.85,
        (256, "hi+en", None): 0.5,
    }
    assert recommend(example(means, questions=48))[1:] == (
        "Weakest: queries in de for documents in ko, 0.600 nDCG@10.",
        "Code-switched queries, nDCG@10: de+en 0.850 (plain 0.900).",
        "Only 48 questions: differences smaller than the intervals mean nothing.",
    )
    assert recommend(example(means, questions=1))[-1].startswith("Only 1 question: ")


def test_a_language_of_hardly_a_query_is_not_called_the_weakest():
    means = {(256, None, None): 0.8, (256, "de", None): 0.9, (256, "ja", None): 0.7}
    found = example(means)
    few = Score(256, "ko", None, 1, {"nDCG@10": Estimate(0.0, 0.0, 0.0)})
    system = replace(found.systems[0], scores=(*found.systems[0].scores, few))
    [_, weakest] = recommend(replace(found, systems=(system, *found.systems[1:])))
    assert weakest == "Weakest: queries in ja, 0.700 nDCG@10."


def test_a_plus_in_a_name_is_no_second_language():
    means = {(128, None, None): 0.8, (256, None, None): 0.8}
    means |= {(w, language, None): 0.8 for w in (128, 256) for language in ("c", "c++")}
    first, _ = recommend(example(means))
    assert "in your 2 languages" in first


def compared(difference, p_value, baseline_width=320):
    low, high = difference - 0.02, difference + 0.02
    other = "langchain_huggingface:HuggingFaceEmbeddings"
    return Comparison(
        "model",
        other,
        "nDCG@10",
        256,
        baseline_width,
        None,
        500,
        difference,
        low,
        high,
        p_value / 3,  # what is said goes by the corrected one
        p_value,
        9,
        3,
    )


def test_other_systems():
    means = {(256, None, None): 0.9}
    name = "langchain_huggingface:HuggingFaceEmbeddings at 320 dimensions reaches 0.834 nDCG@10"
    for difference, p_value, end in [
        (0.0663, 0.001, ", 0.066 less than model (95 % interval 0.046 to 0.086, p = 0.001)."),
        (-0.03, 0.0123, ", 0.030 more than model (95 % interval 0.010 to 0.050, p = 0.012)."),
        (0.015, 0.04, ", 0.015 less than model (95 % interval -0.005 to 0.035, p = 0.04)."),
        (-0.015, 0.04, ", 0.015 more than model (95 % interval -0.005 to 0.035, p = 0.04)."),
        (0.01, 0.05, ", not to be told apart from model (p = 0.05)."),
    ]:
        said = recommend(example(means, comparisons=(compared(difference, p_value),)))[1]
        assert said == name + end
    said = recommend(example(means, comparisons=(compared(0.1, 0.001, baseline_width=256),)))[1]
    assert said.startswith("langchain_huggingface:HuggingFaceEmbeddings reaches")


def test_languages_are_not_compared_in_words():
    one = replace(compared(0.1, 0.001), query_language="de")
    assert len(recommend(example({(256, None, None): 0.9}, comparisons=(one,)))) == 1
