"""A parallel corpus as cross-lingual retrieval: each language asks for the texts of each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from f2llm_core.errors import DataError
from f2llm_core.evaluation.code_switch import CodeSwitcher
from f2llm_core.evaluation.data import Dataset, DatasetBuilder, check_line
from f2llm_core.evaluation.reading import Fields, id_of, language_of, read_lines
from f2llm_core.evaluation.results import MIX


@dataclass(frozen=True, slots=True)
class Parallel:
    """A text in one language.

    Attributes:
        place: Where it was read.
        query: What asks for it; the text itself where the data has no queries.
        text: What is to be found.
        own_query: Whether these are two different things.
    """

    place: str
    query: str
    text: str
    own_query: bool


def read_parallel(path: Path, fields: Fields, code_switch: str | None, seed: int) -> Dataset:
    """Read parallel texts; arguments and errors of `read_dataset`.

    A query in one language is searched among the passages of one other language, and also of its
    own, unless the query is the text itself.
    """
    texts = _read(path, fields)
    builder = DatasetBuilder(path.stem)
    for id_, by_language in texts.items():
        for language, item in by_language.items():
            builder.passage(item.place, _name(id_, language), item.text, language, language)
    for id_, by_language in texts.items():
        for language, item in by_language.items():
            targets = [to for to in by_language if to != language or item.own_query]
            _ask(builder, id_, item.place, item.query, language, targets)
    if code_switch is not None:
        _switch(builder, path, texts, code_switch, seed)
    return builder.build()


def _read(path: Path, fields: Fields) -> dict[str, dict[str, Parallel]]:
    texts: dict[str, dict[str, Parallel]] = {}
    for line in read_lines(path, fields.text):
        id_ = id_of(line, fields.id)
        language = language_of(line.fields, fields.language)
        if not (isinstance(language, str) and language.strip()):
            msg = f"{line.place}: the language is {language!r}; parallel texts need one each."
            raise DataError(msg)
        own_query = fields.query in line.fields
        query = check_line(line.place, line.fields.get(fields.query, line.text))
        item = Parallel(line.place, query, check_line(line.place, line.text), own_query)
        first = texts.setdefault(id_, {}).setdefault(language, item)
        if first is not item:
            msg = f"{line.place}: {id_!r} was in {language!r} before, at {first.place}."
            raise DataError(msg)
    return texts


def _switch(
    builder: DatasetBuilder,
    path: Path,
    texts: dict[str, dict[str, Parallel]],
    second: str,
    seed: int,
) -> None:
    if not any(second in by_language for by_language in texts.values()):
        known = sorted({language for by_language in texts.values() for language in by_language})
        msg = f"{path}: nothing is in {second!r} to swap in; it has {', '.join(known)}."
        raise DataError(msg)
    switcher = CodeSwitcher(
        {
            id_: {lang: f"{item.query}\n{item.text}" for lang, item in by_language.items()}
            for id_, by_language in texts.items()
        },
        seed=seed,
    )
    for id_, by_language in texts.items():
        for language, item in by_language.items():
            if second in by_language and language != second:
                query = switcher.mix(
                    id_, (language, item.query), (second, by_language[second].query)
                )
                targets = [to for to in by_language if to != language or item.own_query]
                if query is not None:
                    _ask(builder, id_, item.place, query, f"{language}{MIX}{second}", targets)


def _ask(
    builder: DatasetBuilder, id_: str, place: str, query: str, language: str, targets: list[str]
) -> None:
    for to in targets:
        name = _name(id_, language, to)
        builder.query(place, name, query, language, pool=to, group=id_)
        builder.judge(place, name, _name(id_, to))


def _name(id_: str, *languages: str) -> str:
    return ":".join([id_, *languages])
