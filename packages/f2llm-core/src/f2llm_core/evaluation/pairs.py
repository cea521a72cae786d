"""One file of pairs: a query, a text that answers it, and their language."""

from __future__ import annotations

from pathlib import Path

from f2llm_core.errors import DataError
from f2llm_core.evaluation.data import Dataset, DatasetBuilder
from f2llm_core.evaluation.reading import Fields, id_of, language_of, read_lines


def read_pairs(path: Path, fields: Fields) -> Dataset:
    """Read pairs; arguments and errors of `read_dataset`.

    A text that stands in several lines is one passage, a query one query, and every passage is
    searched for every query. Ids, where lines have them, are those of the queries.
    """
    builder = DatasetBuilder(path.stem)
    passages: dict[tuple[object, object], str] = {}
    queries: dict[tuple[object, object], str] = {}
    used: set[str] = set()
    judged: set[tuple[str, str]] = set()
    for number, line in enumerate(read_lines(path, fields.text), 1):
        language = language_of(line.fields, fields.language)
        of_text = language_of(line.fields, fields.document_language)
        of_text = language if of_text is None else of_text
        asked = line.fields.get(fields.query)
        query, passage = (f"{asked}", f"{language}"), (f"{line.text}", f"{of_text}")
        if passage not in passages:
            passages[passage] = f"p{number}"
            builder.passage(line.place, f"p{number}", line.text, of_text)
        if query not in queries:
            id_ = id_of(line, fields.id) if fields.id in line.fields else f"q{number}"
            if id_ in used:
                msg = (
                    f"{line.place}: the id {id_!r} was used before, and ids are those of queries. "
                    "Parallel texts, which have one id in several languages: --format parallel."
                )
                raise DataError(msg)
            builder.query(line.place, id_, asked, language)  # type: ignore[arg-type]  # checked there
            queries[query] = id_
            used.add(id_)
        pair = (queries[query], passages[passage])
        if pair not in judged:
            judged.add(pair)
            builder.judge(line.place, *pair)
    return builder.build()
