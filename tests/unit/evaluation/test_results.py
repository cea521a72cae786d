"""Results as plain data: to JSON and back, and what is refused."""

from __future__ import annotations

import json

import pytest
from evaluation_example import LANGUAGES, MIXED, make_example

from f2llm_core import DataError
from f2llm_core.evaluation.results import EvaluationResults


def test_json_and_back(tmp_path):
    results = make_example()
    results.write_json(tmp_path / "results.json")
    assert EvaluationResults.read_json(tmp_path / "results.json") == results
    assert EvaluationResults.from_dict(json.loads(json.dumps(results.to_dict()))) == results


def test_scores_are_found_by_what_they_are_of():
    system = make_example().systems[0]
    assert system.widths == (8, 16, 32, 64, 128, 256, 320)
    assert system.score().width == 320
    found = system.score(64, "de", "ja")
    assert (found.width, found.query_language, found.document_language) == (64, "de", "ja")
    assert system.score(64, "de", "de") is None
    assert system.overall(64) is system.score(64)
    with pytest.raises(KeyError, match="65"):
        system.overall(65)
    assert make_example().query_languages == (*LANGUAGES, MIXED)
    assert make_example().document_languages == LANGUAGES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, r"schema 3 \(schema is 1\).*f2llm eval"),
        ({"data": {}}, r"results\.data: expected an object with the fields document_languages, "),
        ({"systems": {}}, r"results\.systems: expected a list, not a dict"),
        ({"systems": [1]}, r"results\.systems\[0\]: expected an object"),
        ({"more": 1}, "results: expected an object with the fields command, comparisons, "),
    ],
)
def test_what_is_no_result_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        EvaluationResults.from_dict(make_example().to_dict() | change)


def test_a_field_deep_inside_is_named():
    content = json.loads(json.dumps(make_example().to_dict()))
    content["systems"][0]["scores"][3]["metrics"]["R@100"]["mean"] = None
    del content["systems"][0]["scores"][4]["metrics"]["R@100"]["low"]
    with pytest.raises(DataError, match=r"results\.systems\[0\]\.scores\[4\]\.metrics\.R@100: "):
        EvaluationResults.from_dict(content)
    content["systems"][0]["scores"][4]["metrics"] = 3
    with pytest.raises(DataError, match=r"scores\[4\]\.metrics: expected an object, not a int"):
        EvaluationResults.from_dict(content)


@pytest.mark.parametrize(("text", "reason"), [("{", "not valid JSON"), ("[]", "not a list")])
def test_a_file_of_something_else(tmp_path, text, reason):
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason) as caught:
        EvaluationResults.read_json(path)
    assert str(caught.value).startswith(str(path))
