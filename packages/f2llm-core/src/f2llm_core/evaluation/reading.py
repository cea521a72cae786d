"""Evaluation data on disk: which form it has, and the pieces that all readers need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from f2llm_core.errors import ConfigurationError, DataError, InputError
from f2llm_core.evaluation.data import Dataset, check_id
from f2llm_core.indexing.jsonl import read_jsonl
from f2llm_core.options import check_choice

#: `"beir"` and `"mteb"` are folders, `"pairs"` and `"parallel"` files of JSON lines.
Format = Literal["beir", "mteb", "pairs", "parallel"]


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the fields in a file of JSON lines.

    Attributes:
        id: Of a text; in parallel data the same in every language.
        query: The query. Parallel data without it asks for a text's translations.
        text: The passage.
        language: None is `"language"` or `"lang"`, whichever there is.
        document_language: Of the passage, where it differs from the query's.
    """

    id: str = "id"
    query: str = "query"
    text: str = "text"
    language: str | None = None
    document_language: str = "document_language"

    @classmethod
    def of(cls, renamed: Mapping[str, str]) -> Fields:
        """Return the usual names with some replaced.

        Raises:
            ConfigurationError: A field that there is not.
        """
        known = tuple(cls.__dataclass_fields__)
        for name in renamed:
            check_choice("field", name, known)
        return cls(**renamed)


class Line(NamedTuple):
    """One JSON object of a file.

    Attributes:
        place: `"path:line"`.
        text: Its text.
        fields: All others that are not null.
    """

    place: str
    text: Any
    fields: dict[str, Any]


def read_dataset(
    path: str | Path,
    *,
    format: Format | None = None,  # noqa: A002  (the term that users know)
    fields: Mapping[str, str] | None = None,
    split: str | None = None,
    languages: Collection[str] | None = None,
    code_switch: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Read evaluation data.

    Args:
        path: A folder in BEIR's layout (`corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`) or in that
            of MTEB's retrieval sets (folders `corpus`, `queries`, `qrels`, or `de-corpus` … for
            each subset); or a file of JSON lines: pairs of `query` and `text`, or parallel texts
            with `id`, `lang` and `text`.
        format: One of these four; by default what the folder or the first line looks like.
        fields: Names of a file's fields, where they are others: those of `Fields`.
        split: Of the judgements; by default `"test"`, or the only one.
        languages: Only these.
        code_switch: A language, words of which are swapped into the queries of all others; for
            parallel data.
        seed: Chooses these words.

    Raises:
        DataError: The data is broken or incomplete; names file and line.
        ConfigurationError: Options that do not fit it.
        MissingExtraError: It is in Parquet, and pyarrow is not installed.
    """
    from f2llm_core.evaluation.folders import read_beir, read_mteb
    from f2llm_core.evaluation.pairs import read_pairs
    from f2llm_core.evaluation.parallel import read_parallel

    path = Path(path)
    names = Fields.of(fields or {})
    if format is None:
        format = _recognise(path, names)  # noqa: A001
    check_choice("format", format, get_args(Format))
    _check_options(format, fields=fields, split=split, code_switch=code_switch)
    if format == "beir":
        dataset = read_beir(path, split)
    elif format == "mteb":
        dataset = read_mteb(path, split)
    elif format == "pairs":
        dataset = read_pairs(path, names)
    else:
        dataset = read_parallel(path, names, code_switch, seed)
    return dataset if languages is None else dataset.only(languages)


def read_lines(path: Path, text_field: str) -> Iterator[Line]:
    """Yield the lines of a file of JSON objects.

    Raises:
        DataError: The file is missing, or a line is broken.
    """
    if not path.is_file():
        msg = f"{path}: there is no such file."
        raise DataError(msg)
    # With the text named as the id, too, no id is taken out of the other fields.
    for place, found in read_jsonl(path, text_field=text_field, id_field=text_field):
        if isinstance(found, InputError):
            msg = f"{place}: {found}"
            raise DataError(msg)
        _, text, fields = cast("tuple[Any, Any, dict[str, Any]]", found)
        yield Line(place, text, fields)


def id_of(line: Line, *names: str) -> str:
    """Return the id in the first of some fields that the line has; an integer as a string.

    Raises:
        DataError: It has none of them, or what stands there is no id.
    """
    for name in names:
        if name in line.fields:
            found = line.fields[name]
            return check_id(line.place, str(found) if type(found) is int else found)
    msg = f"{line.place}: no field {' or '.join(map(repr, names))}."
    raise DataError(msg)


def language_of(fields: Mapping[str, Any], name: str | None = None) -> Any:  # noqa: ANN401
    """Return the language of a line, unchecked; None if it has none."""
    if name is not None:
        return fields.get(name)
    return fields.get("language", fields.get("lang"))


def _recognise(path: Path, fields: Fields) -> Format:
    if path.is_dir():
        if (path / "corpus.jsonl").is_file():
            return "beir"
        if any(path.glob("*corpus")):
            return "mteb"
        msg = (
            f"{path}: neither BEIR's layout (corpus.jsonl, queries.jsonl, qrels/*.tsv) nor that of "
            "MTEB's retrieval sets (folders corpus, queries, qrels)."
        )
        raise DataError(msg)
    for line in read_lines(path, fields.text):
        if fields.query in line.fields:
            return "pairs"
        if fields.id in line.fields and language_of(line.fields, fields.language) is not None:
            return "parallel"
        found = ", ".join(map(repr, (fields.text, *line.fields)))
        msg = (
            f"{line.place}: fields {found}; expected {fields.query!r} beside {fields.text!r} "
            f"(pairs), or {fields.id!r} and 'lang' (parallel texts). Other names: --field."
        )
        raise DataError(msg)
    msg = f"{path}: no lines."
    raise DataError(msg)


def _check_options(format: Format, **given: object) -> None:  # noqa: A002
    allowed = {
        "fields": ("pairs", "parallel"),
        "split": ("beir", "mteb"),
        "code_switch": ("parallel",),
    }
    for name, value in given.items():
        if value and format not in allowed[name]:
            msg = f"{name} is for data in the format {' or '.join(allowed[name])}, not {format}."
            raise ConfigurationError(msg)
