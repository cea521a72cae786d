"""The tables in the terminal."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest
from evaluation_example import make_example

from f2llm_core import MissingExtraError
from f2llm_core.evaluation.results import SystemResult
from f2llm_core.evaluation.terminal import print_results


def printed(results):
    file = io.StringIO()
    print_results(results, file)
    return [" ".join(line.split()) for line in file.getvalue().splitlines()]


def test_everything_is_shown():
    results = make_example()
    lines = printed(results)
    assert lines[0].startswith("packages: 840 queries, 200 documents.")
    text = "\n".join(lines)
    system: SystemResult = results.systems[0]
    mean = system.score(64).metrics["nDCG@10"]
    assert f"64 256 97.0% {mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]" in text
    assert "F2LLM-v2-160M, by dimensions" in text
    assert "HuggingFaceEmbeddings, by dimensions" not in text
    assert "nDCG@10 by language: queries down, documents across" in text
    assert "de+en 40" in text
    assert "F2LLM-v2-80M less F2LLM-v2-160M, nDCG@10" in text
    assert "F2LLM-v2-80M 61.2 84.0" in text
    assert lines[-2].startswith(results.recommendation[0])
    assert lines[-1].startswith(results.recommendation[1])


def test_one_system_without_languages_or_speed():
    results = make_example()
    scores = tuple(s for s in results.systems[3].scores if not s.query_language)
    one = replace(results.systems[3], scores=scores)
    text = "\n".join(printed(replace(results, systems=(one,), comparisons=())))
    assert "At full width" in text
    for absent in ("by dimensions", "by language", "Holm", "queries/s"):
        assert absent not in text


def test_many_languages_have_rows_only():
    results = make_example()
    many = tuple(
        replace(s, document_language=f"x{i}") for i in range(13) for s in results.systems[0].scores
    )
    one = replace(results.systems[0], scores=(*results.systems[0].scores, *many))
    assert "documents across" not in "\n".join(printed(replace(results, systems=(one,))))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [40, 80, 100, 110, 140])
def test_no_figure_is_cut_in_any_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    results = make_example()
    print_results(results, file)
    text = re.sub(r"\x1b\[\d*m", "", file.getvalue())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= max(columns, 80)
    folded = "".join(
        line.split()[0] for line in text.partition("Speed")[0].splitlines() if line.split()
    )
    assert "langchain_huggingface:HuggingFaceEmbeddings" in folded
    scores = [system.overall(width) for system in results.systems for width in system.widths]
    for found in (estimate for score in scores for estimate in score.metrics.values()):
        assert f"{found.mean:.3f}" in text
        assert f"[{found.low:.3f}, {found.high:.3f}]" in text
    assert "-0.043 [-0.063, -0.023]" in text
    assert "documents across" in text


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(MissingExtraError, match=r"f2llm-core\[eval\]"):
        print_results(make_example(), io.StringIO())
