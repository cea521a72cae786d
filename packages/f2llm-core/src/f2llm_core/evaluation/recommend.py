"""What the figures say, in sentences."""

from __future__ import annotations

import math

from f2llm_core.evaluation.results import (
    BYTES_PER_NUMBER,
    Comparison,
    EvaluationResults,
    SystemResult,
    is_mixed,
    languages_of,
)

#: Share of the primary metric at full width that the advised width keeps over all queries.
KEEP = 0.98
#: Share below which a language is named as an exception at that width.
EXCEPTION = 0.95
#: Questions below which the figures are called rough.
FEW = 100
#: Queries below which a language is not called the weakest.
SOME = 5
#: Corrected p-value below which a difference is called one.
SURE = 0.05


def recommend(results: EvaluationResults) -> tuple[str, ...]:
    """Return sentences, the advice first; they follow from the results alone."""
    first = results.systems[0]
    said = [_width(results, first)]
    said += [
        _compared(results, comparison)
        for comparison in results.comparisons
        if comparison.query_language is None
    ]
    said += [*_weakest(results, first), *_code_switched(results, first), *_caution(results)]
    return tuple(said)


def _width(results: EvaluationResults, system: SystemResult) -> str:
    """Advise the smallest width that keeps enough."""
    primary = results.settings.primary
    full = _mean(system, primary)
    if full == 0:
        return f"{system.name} found nothing at all: no width can be advised."
    if len(system.widths) == 1:
        return f"{system.name} reaches {full:.3f} {primary} at {system.full_width} dimensions."
    width = next(w for w in system.widths if _mean(system, primary, w) >= KEEP * full)
    if width == system.full_width:
        return (
            f"{system.name}: keep all {width} dimensions; no smaller width of those evaluated "
            f"keeps {KEEP:.0%} of {primary} ({full:.3f})."
        ).replace("%", " %")
    plain = [one for one in results.query_languages if not is_mixed(one)]
    shares = {one: _share(system, primary, width, one) for one in plain}
    weak = {one: share for one, share in shares.items() if share < EXCEPTION}
    many = f" in your {len(plain)} languages" if len(plain) > 1 else ""
    cost = f"{width * BYTES_PER_NUMBER:,} instead of {system.full_width * BYTES_PER_NUMBER:,} bytes"
    said = (
        f"{system.name}: {width} dimensions keep {_percent(_share(system, primary, width))} of "
        f"{primary}{many} at {_percent(width / system.full_width)} of the bytes "
        f"({cost} a vector)"
    )
    if not weak:
        return f"{said}."
    named = ", ".join(f"{one} ({_percent(share)})" for one, share in weak.items())
    return f"{said}; {named} {'is the exception' if len(weak) == 1 else 'are the exceptions'}."


def _compared(results: EvaluationResults, found: Comparison) -> str:
    """Say how another system stands to the first."""
    other = next(system for system in results.systems if system.name == found.baseline)
    width = "" if found.baseline_width == found.width else f" at {found.baseline_width} dimensions"
    reached = f"{other.name}{width} reaches {_mean(other, found.metric):.3f} {found.metric}"
    if found.p_holm >= SURE:
        return f"{reached}, not to be told apart from {found.system} (p = {found.p_holm:.2g})."
    less = found.difference > 0
    low, high = (found.low, found.high) if less else (-found.high, -found.low)
    level = f"{results.settings.confidence:.0%}".replace("%", " %")
    return (
        f"{reached}, {abs(found.difference):.3f} {'less' if less else 'more'} than {found.system} "
        f"({level} interval {low:.3f} to {high:.3f}, p = {found.p_holm:.2g})."
    )


def _weakest(results: EvaluationResults, system: SystemResult) -> list[str]:
    """Name the pair of languages, or the language, that the first system does worst on."""
    primary = results.settings.primary
    whole = [s for s in system.scores if s.width == system.full_width and s.query_language]
    pairs = [score for score in whole if score.document_language is not None]
    scores = [score for score in pairs or whole if score.queries >= SOME]
    if len(scores) < 2:
        return []
    weakest = min(scores, key=lambda score: score.metrics[primary].mean)
    to = f" for documents in {weakest.document_language}" if pairs else ""
    mean = weakest.metrics[primary].mean
    return [f"Weakest: queries in {weakest.query_language}{to}, {mean:.3f} {primary}."]


def _code_switched(results: EvaluationResults, system: SystemResult) -> list[str]:
    """Compare code-switched queries with plain ones of the same first language."""
    primary = results.settings.primary
    said = []
    for language in results.query_languages:
        base = system.score(None, languages_of(language)[0])
        if is_mixed(language) and base is not None:
            mixed, plain = _mean(system, primary, None, language), base.metrics[primary].mean
            said.append(f"{language} {mixed:.3f} (plain {plain:.3f})")
    return [f"Code-switched queries, {primary}: {', '.join(said)}."] if said else []


def _caution(results: EvaluationResults) -> list[str]:
    count = results.data.questions
    if count >= FEW:
        return []
    rough = "differences smaller than the intervals mean nothing"
    return [f"Only {count} {'question' if count == 1 else 'questions'}: {rough}."]


def _mean(
    system: SystemResult, metric: str, width: int | None = None, language: str | None = None
) -> float:
    score = system.score(width, language)
    return 0.0 if score is None else score.metrics[metric].mean


def _share(system: SystemResult, metric: str, width: int, language: str | None = None) -> float:
    """Return which part of the metric at full width is kept; 1 where there was nothing to keep."""
    full = _mean(system, metric, None, language)
    return _mean(system, metric, width, language) / full if full else 1.0


def _percent(share: float) -> str:
    """Round down, so that nothing is promised that is not kept."""
    return f"{math.floor(share * 100 + 1e-9)} %"
