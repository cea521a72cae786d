"""Made-up evaluation results of every shape that a report must show; nothing was measured."""

from __future__ import annotations

from f2llm_core.evaluation.results import (
    SCHEMA,
    Comparison,
    DataSummary,
    Document,
    Estimate,
    EvaluationResults,
    Score,
    Settings,
    Speed,
    SystemResult,
    WorstQuery,
)

LANGUAGES = ("ar", "de", "en", "ja", "ko")
MIXED = "de+en"
WIDTHS = (8, 16, 32, 64, 128, 256, 320)
METRICS = ("nDCG@10", "R@100", "RR@10")
PROMPT = "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: "
_QUERIES = 40  # of a pair of languages


def make_example() -> EvaluationResults:
    """Return results of two models, one of them in two precisions, and a baseline."""
    systems = (
        _system("F2LLM-v2-80M", 0.90, "float32", WIDTHS),
        _system("F2LLM-v2-80M, int8", 0.89, "int8", WIDTHS),
        _system("F2LLM-v2-160M", 0.94, "bfloat16", (*WIDTHS[:-1], 512, 640)),
        _system("langchain_huggingface:HuggingFaceEmbeddings", 0.84, None, WIDTHS[-1:]),
    )
    return EvaluationResults(
        schema=SCHEMA,
        data=DataSummary(
            name="packages",
            task="retrieval",
            documents=40 * len(LANGUAGES),
            judgements=sum(_asked().values()),
            queries=_asked(),
            questions=40,
            document_languages=dict.fromkeys(LANGUAGES, 40),
        ),
        settings=Settings(metrics=METRICS, seed=0, resamples=1000, confidence=0.95),
        systems=systems,
        comparisons=tuple(
            _compare(systems[0], other, language)
            for other in systems[1:]
            for language in (None, *LANGUAGES, MIXED)
        ),
        recommendation=(
            "F2LLM-v2-80M: 128 dimensions keep 98 % of nDCG@10 in your 5 languages.",
            "F2LLM-v2-80M, int8 reaches 0.883 nDCG@10, 0.009 less than F2LLM-v2-80M.",
        ),
        command="f2llm eval 80M packages.jsonl --model 160M --dtype float32 --dtype int8",
    )


def _asked() -> dict[str, int]:
    """Queries by language: all go to every other language, the mixed ones to Japanese."""
    return {**dict.fromkeys(LANGUAGES, _QUERIES * (len(LANGUAGES) - 1)), MIXED: _QUERIES}


def _system(name: str, best: float, dtype: str | None, widths: tuple[int, ...]) -> SystemResult:
    ours = dtype is not None
    model = name.partition(",")[0] if ours else "F2LLM-v2-80M"
    speed = {"float32": Speed(61.2, 84.0), "int8": Speed(48.0, 130.5), "bfloat16": None}
    fingerprint = {"model": "codefuse-ai/F2LLM-v2@0123456789", "pooling": "last token"}
    return SystemResult(
        name=name,
        model=model,
        kind="f2llm" if ours else "baseline",
        dtype=dtype,
        full_width=widths[-1],
        query_prompt=PROMPT if ours else None,
        document_prompt="" if ours else None,
        fingerprint=fingerprint if ours else None,
        speed=speed[dtype] if dtype else None,
        scores=tuple(score for width in widths for score in _scores(best, width)),
        worst=_worst(),
    )


def _scores(best: float, width: int) -> list[Score]:
    quality = best * (1 - 2.4 / width)
    found = [_score(width, None, None, quality)]
    found += [_score(width, None, one, quality - _difficulty(one) / 2) for one in LANGUAGES]
    for asked in (*LANGUAGES, MIXED):
        mean = quality - _difficulty(asked)
        found.append(_score(width, asked, None, mean))
        found += [
            _score(width, asked, to, mean - _difficulty(to))
            for to in (LANGUAGES if asked != MIXED else ("ja",))
            if to != asked  # so that the table has cells without a value
        ]
    return found


def _difficulty(language: str) -> float:
    return {"ar": 0.16, "de": 0.0, "en": 0.01, "ja": 0.08, "ko": 0.05, MIXED: 0.04}[language]


def _score(width: int, asked: str | None, to: str | None, mean: float) -> Score:
    pairs = (len(LANGUAGES) if asked is None else 1) * (len(LANGUAGES) - 1 if to is None else 1)
    spread = 0.06 / (pairs**0.5)
    higher = (("nDCG@10", mean), ("R@100", mean + 0.05), ("RR@10", mean - 0.03))
    metrics = {
        name: Estimate(round(v, 4), round(max(0.0, v - spread), 4), round(min(1.0, v + spread), 4))
        for name, v in ((name, max(0.0, min(1.0, value))) for name, value in higher)
    }
    return Score(width, asked, to, (1 if asked == MIXED else pairs) * _QUERIES, metrics)


def _compare(system: SystemResult, other: SystemResult, language: str | None) -> Comparison:
    ours, theirs = system.score(None, language), other.score(None, language)
    assert ours is not None
    assert theirs is not None
    difference = ours.metrics[METRICS[0]].mean - theirs.metrics[METRICS[0]].mean
    return Comparison(
        system=system.name,
        baseline=other.name,
        metric=METRICS[0],
        width=system.full_width,
        baseline_width=other.full_width,
        query_language=language,
        queries=ours.queries,
        difference=round(difference, 4),
        low=round(difference - 0.02, 4),
        high=round(difference + 0.02, 4),
        p_value=0.001 if abs(difference) > 0.02 else 0.21,
        p_holm=0.005 if abs(difference) > 0.02 else 0.21,
        better=ours.queries // 3,
        worse=ours.queries // 5,
    )


def _worst() -> tuple[WorstQuery, ...]:
    """Queries in several scripts, one of them hostile to a page that does not escape it."""
    texts = {
        "en": "View the night sky <script>document.title = 'taken over'</script>",
        "ar": "يعرض سماء الليل مع النجوم والكواكب",
        "ja": "夜空を描画するプログラム。" * 12,
    }
    found = (
        Document("abook/de", "Textbasiertes Adressbuch & <b>mehr</b>", "de", 1, 0.512, False),
        Document("kstars/ko", "데스크톱 플라네타륨", "ko", 2, 0.498, False),
    )
    relevant = {
        "en": Document("stars/ja", "プラネタリウム", "ja", 41, 0.31, True),
        "ar": Document("stars/de", "Planetarium für den Schreibtisch", "de", None, None, True),
        "ja": Document("stars/ar", "قبة سماوية لسطح المكتب", "ar", 12, 0.44, True),
    }
    return tuple(
        WorstQuery(f"stars/{one}", text, one, relevant[one].language, 0.0, (relevant[one],), found)
        for one, text in texts.items()
    )
