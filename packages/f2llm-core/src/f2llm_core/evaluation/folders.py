"""Folders of a corpus, queries and judgements: BEIR's layout, and that of MTEB's retrieval sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from f2llm_core.errors import DataError, MissingExtraError
from f2llm_core.evaluation.data import Dataset, DatasetBuilder, check_id
from f2llm_core.evaluation.reading import Line, id_of, language_of, read_lines

_DEFAULT_SPLIT = "test"
_COLUMNS = ("query-id", "corpus-id", "score")  # of qrels
_QRELS = ("qrels", "default", "data")  # what the hub calls the folder of a set without subsets


def read_beir(folder: Path, split: str | None) -> Dataset:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv` or `.jsonl`, as the hub has some.

    Arguments of `read_dataset`.
    """
    builder = DatasetBuilder(folder.resolve().name)
    for line in read_lines(folder / "corpus.jsonl", "text"):
        _add_passage(builder, line)
    for line in read_lines(folder / "queries.jsonl", "text"):
        _add_query(builder, line)
    qrels = folder / "qrels"
    files = {p.stem: p for p in sorted([*qrels.glob("*.jsonl"), *qrels.glob("*.tsv")])}
    path = _choose(qrels, files, split)
    for line in _read_tsv(path) if path.suffix == ".tsv" else read_lines(path, "query-id"):
        _judge(builder, line)
    return builder.build()


def read_mteb(folder: Path, split: str | None) -> Dataset:
    """Read folders `corpus`, `queries` and `qrels`, or `NAME-corpus` … for each subset.

    They hold Parquet files or JSON lines, as the hub stores them. A subset's name is the language
    of its queries and passages, unless these have a field for it; its queries are searched among
    its own passages.
    """
    builder = DatasetBuilder(folder.resolve().name)
    for corpus in sorted(path for path in folder.glob("*corpus") if path.is_dir()):
        subset = corpus.name.removesuffix("corpus").removesuffix("-")
        own = f"{subset}-" if subset else ""
        queries, qrels = folder / f"{own}queries", folder / f"{own}qrels"
        if not subset:
            qrels = next((p for p in (folder / n for n in _QRELS) if p.is_dir()), qrels)
        for line in _read_tables(corpus, None):
            _add_passage(builder, line, subset)
        for line in _read_tables(queries, None):
            _add_query(builder, line, subset)
        for line in _read_tables(qrels, split or _DEFAULT_SPLIT, required=split is not None):
            _judge(builder, line, subset)
    return builder.build()


def _add_passage(builder: DatasetBuilder, line: Line, subset: str = "") -> None:
    title, text = line.fields.get("title"), line.text
    if isinstance(title, str) and isinstance(text, str):
        text = f"{title} {text}".strip()  # as MTEB does, so that figures can be compared
    language = language_of(line.fields)
    language = (subset or None) if language is None else language
    builder.passage(line.place, id_of(line, "_id", "id"), text, language, subset)


def _add_query(builder: DatasetBuilder, line: Line, subset: str = "") -> None:
    language = language_of(line.fields)
    language = (subset or None) if language is None else language
    id_ = _query_id(id_of(line, "_id", "id"), subset)
    builder.query(line.place, id_, line.text, language, subset)


def _judge(builder: DatasetBuilder, line: Line, subset: str = "") -> None:
    """Add a judgement, whose query id is the line's text."""
    grade = line.fields.get("score")
    if isinstance(grade, float) and grade.is_integer():
        grade = int(grade)
    if type(grade) is not int:
        msg = f"{line.place}: the score is a whole number, not {grade!r}."
        raise DataError(msg)
    query_id = check_id(line.place, str(line.text) if type(line.text) is int else line.text)
    passage_id = id_of(line, "corpus-id")
    builder.judge(line.place, _query_id(query_id, subset), passage_id, grade)


def _query_id(id_: str, subset: str) -> str:
    """Return an id that is unique among all subsets, which may use the same ones."""
    return f"{subset}/{id_}" if subset else id_


def _choose(folder: Path, files: dict[str, Path], split: str | None) -> Path:
    wanted = split or _DEFAULT_SPLIT
    if wanted in files:
        return files[wanted]
    if split is None and len(files) == 1:
        return next(iter(files.values()))
    if not files:
        msg = f"{folder}: no qrels; a file {wanted}.tsv there says which passage answers a query."
        raise DataError(msg)
    msg = f"{folder}: no split {wanted!r}; it has {', '.join(files)}: choose one with --split."
    raise DataError(msg)


def _read_tsv(path: Path) -> Iterator[Line]:
    """Yield judgements, as lines with the query id as their text; the first may be a head."""
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            place = f"{path}:{number}"
            try:
                cells = raw.removeprefix(b"\xef\xbb\xbf").decode().rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                msg = f"{place}: not UTF-8 (byte 0x{raw[error.start]:02x})."
                raise DataError(msg) from None
            if cells == [""]:
                continue
            if len(cells) != len(_COLUMNS):
                msg = f"{place}: {len(cells)} columns; expected {', '.join(_COLUMNS)}, by tabs."
                raise DataError(msg)
            query_id, passage_id, score = cells[0], cells[1], _number(cells[2])
            if number > 1 or not isinstance(score, str):
                yield Line(place, query_id, {"corpus-id": passage_id, "score": score})


def _number(score: str) -> float | str:
    try:
        return float(score)
    except ValueError:
        return score


def _read_tables(folder: Path, split: str | None, *, required: bool = False) -> Iterator[Line]:
    """Yield the rows of a folder's files: of one split if there are any, else of all."""
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.parquet")])
    own = [path for path in files if split and path.stem.partition("-")[0] == split]
    if not files or (required and not own):
        wanted = f"{split}*" if split else "*"
        msg = f"{folder}: no {wanted}.parquet or {wanted}.jsonl there, which MTEB's layout has."
        raise DataError(msg)
    text_field = "text" if split is None else "query-id"
    for path in own or files:
        if path.suffix == ".jsonl":
            yield from read_lines(path, text_field)
        else:
            yield from _read_parquet(path, text_field)


def _read_parquet(path: Path, text_field: str) -> Iterator[Line]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        feature = "A Parquet file"
        raise MissingExtraError(feature, "mteb") from error
    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        msg = f"{path}: not a Parquet file ({error})"
        raise DataError(msg) from error
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            place = f"{path}:{number}"
            if row.get(text_field) is None:
                msg = f"{place}: no field {text_field!r}; it has {', '.join(map(repr, row))}."
                raise DataError(msg)
            text = row.pop(text_field)
            yield Line(place, text, {k: v for k, v in row.items() if v is not None})
