"""What the run prints: status lines, answers with their passages, and the recall table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from answers import Answer, Hit, Question
from model import describe
from recall import TOP, LanguageRecall, Recall
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from f2llm_core import Fingerprint
from f2llm_core.indexing import IndexReport

LANGUAGES = {
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pl": "Polish",
    "pt_BR": "Portuguese (Brazil)",
    "ru": "Russian",
    "sk": "Slovak",
    "uk": "Ukrainian",
    "zh_CN": "Chinese (simplified)",
}

console = Console(highlight=False)


def shorten(path: Path | str) -> str:
    """Return a path as seen from the current folder, where it lies below it."""
    path = Path(path).resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def say(line: str) -> None:
    """Print one line of status."""
    console.print(line, markup=False, soft_wrap=True)


def describe_changes(done: IndexReport) -> str:
    """Return what an update of the index did, in one line."""
    if not done.added + done.changed + done.removed:
        return f"Nothing to do: all {done.unchanged:,} passages are in the index already."
    counts = {
        "added": done.added,
        "replaced": done.changed,
        "removed": done.removed,
        "unchanged": done.unchanged,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"Passages: {said} ({done.seconds:.1f} s)."


def show_answers(question: Question, answers: Mapping[str, Answer]) -> None:
    """Print a question, the passages that were found and the answer.

    Args:
        question: As it was asked.
        answers: By framework, at least one; what is the same is printed once.
    """
    console.print()
    heading = Text(question.text, "bold")
    console.print(heading.append(f"  ({question.lang})", "dim") if question.lang else heading)
    ids: list[str] | None = None
    for framework, answer in answers.items():
        if answer.ids != ids:
            ids = answer.ids
            for number, hit in enumerate(answer.hits, 1):
                console.print(Padding(_describe_hit(number, hit), (0, 0, 0, 2)))
        same = all(a.text == answer.text and a.ids == ids for a in answers.values())
        label = "Answer: " if same else f"{framework}'s answer: "
        console.print(Padding(Text.assemble((label, "bold"), answer.text), (0, 0, 0, 2)))
        if same:
            break


def _describe_hit(number: int, hit: Hit) -> Table:
    table = Table.grid(padding=(0, 1))
    for width in (3, 5, 5):
        table.add_column(width=width, no_wrap=True)
    table.add_column()
    title, source = hit.metadata["title"], hit.metadata["source"]
    about = Text.assemble((source, "green"), f": {title}" if title else "")
    table.add_row(f"\\[{number}]", f"{hit.score:.2f}", hit.metadata["lang"], about)
    text = Text(" ".join(hit.text.split()), "dim", no_wrap=True, overflow="ellipsis")
    table.add_row("", "", "", text)
    if hit.also_in:
        table.add_row("", "", "", Text(f"also found in {', '.join(hit.also_in)}", "dim"))
    return table


def show_totals(asked: Sequence[tuple[Question, Mapping[str, Answer]]]) -> None:
    """Print how far the frameworks agree, and how often the passage that was meant came first."""
    console.print()
    found = [[answer.ids for answer in answers.values()] for _, answers in asked]
    if len(found[0]) > 1:
        same = sum(ids[0] == ids[1] for ids in found)
        say(f"LangChain and LlamaIndex found the same passages: {same} of {len(asked)} questions.")
    firsts = [
        next(iter(answers.values())).hits[0].metadata["parallel"] == question.expects
        for question, answers in asked
        if question.expects
    ]
    if firsts:
        say(f"The passage a question was written for came first: {sum(firsts)} of {len(firsts)}.")


def show_recall(rows: Sequence[LanguageRecall], model: Fingerprint) -> None:
    """Print the recall table, with what was measured under it."""
    pivot = rows[0].pivot
    table = Table(title="Cross-language recall on this corpus", title_justify="left")
    table.add_column("language xx")
    for heading in ("queries", f"{pivot}→xx @1", f"@{TOP}", f"xx→{pivot} @1", f"@{TOP}"):
        table.add_column(heading, justify="right")
    for row in rows:
        name = LANGUAGES.get(row.lang, "")
        cells = (str(row.to_lang.queries), *_percent(row.to_lang), *_percent(row.from_lang))
        table.add_row(f"{row.lang:<5} {name}", *cells)
    table.add_section()
    to_lang, from_lang = _mean([r.to_lang for r in rows]), _mean([r.from_lang for r in rows])
    table.add_row("mean", "", *_percent(to_lang), *_percent(from_lang))
    console.print()
    console.print(table)
    console.print(
        f"{pivot}→xx: a title in {LANGUAGES.get(pivot, pivot)} is the question, the same text's "
        "passage in the other language the right answer, sought among all passages of that "
        f"language. xx→{pivot}: the other way round, among {rows[0].from_lang.candidates}. "
        f"@1: it came first; @{TOP}: among the first {TOP}. By chance: "
        f"{_chance(rows, 1):.1%} @1, {_chance(rows, TOP):.0%} @{TOP}. "
        f"Model: {describe(model)}.",
        markup=False,
    )


def _percent(recall: Recall) -> tuple[str, str]:
    return f"{recall.first:.0%}", f"{recall.top:.0%}"


def _mean(recalls: Sequence[Recall]) -> Recall:
    """Return the mean over languages, each of which counts alike."""
    count = len(recalls)
    first, top = sum(r.first for r in recalls) / count, sum(r.top for r in recalls) / count
    return Recall(sum(r.queries for r in recalls), 0, first, top)


def _chance(rows: Sequence[LanguageRecall], top: int) -> float:
    """Return the mean recall of a random order, over languages and both directions."""
    both = [r for row in rows for r in (row.to_lang, row.from_lang)]
    return sum(min(1.0, top / r.candidates) for r in both) / len(both)
