"""The report's page: what it says, and that no text of the data is ever markup."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from evaluation_example import LANGUAGES, make_example

from f2llm_core.errors import MissingExtraError
from f2llm_core.evaluation.report import render_html, write_html
from f2llm_core.evaluation.results import EvaluationResults

HOSTILE = "\"'></title></style><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements, attributes and the rows of tables by the table's label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._label = ""
        self._cell: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.elements.append((tag, found))
        if found.get("role") == "region":
            self._label = found["aria-label"]
        elif tag == "table":
            self.tables[self._label] = []
        elif tag == "tr":
            self.tables[self._label].append([])
        elif tag in {"td", "th"}:
            self._cell = []

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        if tag in {"td", "th"} and self._cell is not None:
            self.tables[self._label][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None


@pytest.fixture(scope="module")
def results() -> EvaluationResults:
    return make_example()


@pytest.fixture(scope="module")
def html(results) -> str:
    return render_html(results)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def changed(results: EvaluationResults, change: Callable[[str], str]) -> EvaluationResults:
    """Results with every text in them changed, keys included."""

    def walk(value, key=None):
        if isinstance(value, dict):
            free = key in {"metrics", "queries", "document_languages", "fingerprint"}
            return {change(k) if free else k: walk(v, k) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [walk(one, key) for one in value]
        return change(value) if isinstance(value, str) and key != "kind" else value

    return EvaluationResults.from_dict(walk(results.to_dict()))


def test_same_results_same_bytes(results, html, tmp_path):
    write_html(results, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == html.encode()
    assert render_html(make_example()) == html


def test_a_page_is_replaced_whole_or_not_at_all(results, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_html(results, path)
    before = path.read_bytes()
    monkeypatch.setattr("f2llm_core.evaluation.report.os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_html(replace(results, command="another"), path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    write_html(replace(results, command="another"), path)
    assert path.read_bytes() != before
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_the_page_needs_nothing_else(html, page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"src", "href", "srcset", "style", "action"}
    assert not any(name.startswith("on") for name in names)
    assert not any(word in html for word in ("http:", "https:", "url(", "@import"))
    policy = {"http-equiv": "Content-Security-Policy"}
    [found] = [a for tag, a in page.elements if tag == "meta" and policy.items() <= a.items()]
    assert found["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_no_text_is_markup(results, page):
    hostile = Page(render_html(changed(results, lambda text: HOSTILE + text)))

    def skeleton(of: Page) -> list[tuple[str, list[str]]]:
        # `lang` is left out where a language is none; `wbr` follows the length of names.
        return [
            (tag, sorted(attributes.keys() - {"lang"}))
            for tag, attributes in of.elements
            if tag != "wbr"
        ]

    rendered = changed(results, lambda text: f"x{text}")
    assert skeleton(hostile) == skeleton(Page(render_html(rendered)))
    assert "script" not in {tag for tag, _ in hostile.elements}
    assert hostile.text.count("<script>alert(1)</script>") > 100
    assert "{{ 7 * 7 }}" in hostile.text  # a text is no template either


def test_the_advice_comes_first(results, page):
    assert "840 queries in 5 languages" in page.text  # a mix is no language of its own
    for sentence in results.recommendation:
        shown = sentence.replace(" %", "\u00a0%")
        assert page.text.index(shown) < page.text.index("Models and precisions")


def test_systems_have_their_figures(page):
    head, *rows = page.tables["Models and precisions"]
    assert head == [
        "System",
        "nDCG@10",
        "R@100",
        "RR@10",
        "Precision",
        "Width",
        "Bytes",
        "Queries/s",
        "Docs/s",
    ]
    assert rows[1][:2] == ["F2LLM-v2-80M, int8", "0.883 0.870–0.897"]
    assert rows[1][4:] == ["int8", "320", "1,280", "48.0", "130.5"]
    assert rows[3][0] == "langchain_huggingface:HuggingFaceEmbeddings"
    assert rows[3][4:] == ["–", "320", "1,280", "–", "–"]


def test_speed_is_left_out_where_none_was_measured(results):
    systems = tuple(replace(system, speed=None) for system in results.systems)
    page = Page(render_html(replace(results, systems=systems)))
    assert page.tables["Models and precisions"][0][-1] == "Bytes"


def test_widths_have_bytes_and_the_share_that_is_kept(page):
    _, *rows = page.tables["Quality by width"]
    assert [row[0] for row in rows] == ["320", "256", "128", "64", "32", "16", "8"]
    assert rows[2] == ["128", "0.883 0.870–0.896", "98.9 %", "512"]


def test_every_language_at_every_width(results, page):
    head, *rows = page.tables["Quality by language and width"]
    assert head == ["Language", "8", "16", "32", "64", "128", "256", "320"]
    first = results.systems[0]
    for row in rows:
        means = [first.score(int(w), row[0]).metrics["nDCG@10"].mean for w in head[1:]]
        assert row[1:] == [f"{mean:.3f}" for mean in means]
    assert [row[0] for row in rows] == [*LANGUAGES, "de+en"]


def test_heat_map_has_the_value_in_every_cell(results, page):
    head, *rows = page.tables["nDCG@10 by pair of languages, F2LLM-v2-80M"]
    assert head[1:] == [*LANGUAGES, "all"]
    assert [row[0] for row in rows] == [*LANGUAGES, "de+en", "all"]
    first = results.systems[0]
    for row in rows:
        for to, shown in zip(head[1:], row[1:], strict=True):
            asked, answered = (None if one == "all" else one for one in (row[0], to))
            score = first.score(None, asked, answered)
            assert shown == (f"{score.metrics['nDCG@10'].mean:.2f}" if score else "–")
    assert rows[0][1] == "–"  # Arabic for Arabic was not asked
    others = [label for label in page.tables if label.startswith("nDCG@10 by pair of languages, ")]
    assert len(others) == len(results.systems)


def test_languages_have_intervals(page):
    head, *rows = page.tables["Languages of the queries"]
    assert head[3:] == ["nDCG@10", "R@100", "RR@10"]
    assert [row[0] for row in rows] == ["all", *LANGUAGES, "de+en"]
    assert rows[1][1] == "160"
    assert rows[1][3] == "0.733 0.703–0.763"


def test_comparisons_say_what_they_show(results, page):
    _, *rows = page.tables["F2LLM-v2-80M and F2LLM-v2-160M"]
    assert rows[0][:4] == ["all", "800", "−0.043", "worse"]
    assert rows[0][5:] == ["−0.063 to −0.023", "0.005", "266", "160"]
    verdicts = {
        name: page.tables[f"F2LLM-v2-80M and {name}"][1][3]
        for name in (system.name for system in results.systems[1:])
    }
    assert list(verdicts.values()) == ["unclear", "worse", "better"]
    assert [row[0] for row in rows] == ["all", *LANGUAGES, "de+en"]


def test_no_sign_where_a_difference_rounds_to_nothing(results):
    found = replace(results.comparisons[0], difference=-0.0004, low=-0.0006, high=0.0004)
    page = Page(render_html(replace(results, comparisons=(found,))))
    row = page.tables["F2LLM-v2-80M and F2LLM-v2-80M, int8"][1]
    assert (row[2], row[5]) == ("0.000", "−0.001 to 0.000")


def test_worst_queries_with_what_was_found_instead(results, page):
    for asked in results.systems[0].worst:
        assert asked.query in page.text
        for document in (*asked.relevant, *asked.found):
            assert document.text in page.text
    assert "rank 41, cosine 0.310 · stars/ja · ja" in page.text
    assert "not among the results · stars/de · de" in page.text


def test_most_of_many_worst_queries_open_on_demand(results):
    [asked, *_] = results.systems[0].worst
    many = tuple(replace(asked, query=f"question {number}") for number in range(20))
    first = replace(results.systems[0], worst=many)
    html = render_html(replace(results, systems=(first, *results.systems[1:])))
    before, after = html.split("<summary>15 more</summary>")
    assert "question 4<" in before
    assert "question 5<" in after
    assert "question 19<" in after


def test_texts_have_their_language_and_direction(results):
    [asked, *_] = results.systems[0].worst
    many = [replace(asked, query_language=one) for one in ("ar", "pt_BR", "de+en", 'x" y', None)]
    first = replace(results.systems[0], worst=tuple(many))
    page = Page(render_html(replace(results, systems=(first, *results.systems[1:]))))
    titles = [a for tag, a in page.elements if tag == "h3" and "dir" in a]
    assert [title.get("lang") for title in titles] == ["ar", "pt-BR", None, None, None]
    assert {title["dir"] for title in titles} == {"auto"}


def test_how_the_figures_were_made(results, page):
    assert results.command in page.text
    assert "1,000 resamples from seed 0" in page.text
    assert '"Instruct: Given a question' in page.text
    assert "among the first 100" in page.text  # what R@100 is


def test_tables_can_be_read_without_seeing(page):
    scopes = {attributes.get("scope") for tag, attributes in page.elements if tag == "th"}
    assert scopes == {"col", "row"}
    for tag, attributes in page.elements:
        if tag == "svg":
            assert "aria-hidden" in attributes or attributes.get("role") == "img"
        if attributes.get("role") == "region":
            assert attributes["tabindex"] == "0"  # what scrolls must be reached by keyboard
            assert attributes["aria-label"]


def test_what_was_not_evaluated_is_left_out(results):
    first = results.systems[0]
    whole = tuple(score for score in first.scores if score == first.score())
    bare = replace(
        results,
        data=replace(results.data, task=None, queries={"": 800}, document_languages={"": 200}),
        systems=(
            replace(
                first,
                scores=whole,
                worst=(),
                speed=None,
                fingerprint=None,
                query_prompt=None,
                document_prompt=None,
            ),
        ),
        comparisons=(),
        recommendation=(),
        command=None,
    )
    page = Page(render_html(bare))
    assert list(page.tables) == ["Models and precisions"]
    assert {"svg", "article", "details", "pre"}.isdisjoint({tag for tag, _ in page.elements})
    assert "F2LLM-v2-80M ·" in page.text


def test_a_system_that_found_nothing(results):
    def nothing(score):
        return replace(
            score,
            metrics={
                name: replace(found, mean=0.0, low=0.0, high=0.0)
                for name, found in score.metrics.items()
            },
        )

    first = results.systems[0]
    first = replace(first, scores=tuple(nothing(score) for score in first.scores))
    page = Page(render_html(replace(results, systems=(first,), comparisons=())))
    assert page.tables["Quality by width"][1] == ["320", "0.000 0.000–0.000", "–", "1,280"]


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "f2llm_core.evaluation.report")
    with pytest.raises(MissingExtraError, match=r"pip install 'f2llm-core\[eval\]'"):
        importlib.import_module("f2llm_core.evaluation.report")
