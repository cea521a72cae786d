"""Passages from files: the shipped corpus, or one's own .txt, .md and .jsonl files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).parent / "data" / "debian.jsonl"
SUFFIXES = (".jsonl", ".md", ".txt")
PASSAGE_CHARS = 1000  # a few paragraphs: enough to answer a question, short enough to quote


class DemoError(Exception):
    """Something that the user can mend; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What is indexed, found and cited.

    Attributes:
        id: Names the passage in the index, and stays the same when its text changes.
        text: The passage itself.
        title: A heading, or "".
        lang: Language code, or "" where it is not known.
        source: What a citation names: a document, or a file and line.
        parallel: Passages of the same value say the same thing in different languages; or "".
    """

    id: str
    text: str
    title: str = ""
    lang: str = ""
    source: str = ""
    parallel: str = ""

    @property
    def content(self) -> str:
        """The text as it is embedded and stored: the title, if there is one, goes first."""
        return f"{self.title}\n{self.text}" if self.title else self.text


def read_documents(place: Path) -> list[Passage]:
    """Read all passages of a file, or of the files below a folder in the order of their names.

    Args:
        place: Of .txt and .md files, which are cut into passages, and .jsonl files with one
            passage a line: `text`, and optionally the other fields of `Passage`.

    Returns:
        At least one passage; the ids are unique.

    Raises:
        DemoError: Nothing there to read, or a broken file, named with its line.
    """
    folder = place if place.is_dir() else place.parent
    found = place.rglob("*") if place.is_dir() else [place]
    paths = sorted(p for p in found if p.suffix.lower() in SUFFIXES and p.is_file())
    passages: dict[str, Passage] = {}
    for path in paths:
        for where, passage in _read_file(path, path.relative_to(folder).as_posix()):
            if passage.id in passages:
                msg = f"{where}: the id {passage.id!r} is already taken by an earlier passage."
                raise DemoError(msg)
            passages[passage.id] = passage
    if not passages:
        what = "has no text in" if place.exists() else "does not exist; expected"
        msg = f"{place} {what} {', '.join(SUFFIXES)} files."
        raise DemoError(msg)
    return list(passages.values())


def _read_file(path: Path, name: str) -> Iterator[tuple[str, Passage]]:
    """Yield each passage of a file with its place, `path:line`."""
    text = _decode(path)
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                where = f"{path}:{number}"
                yield where, _read_record(line, where, f"{name}:{number}")
    else:
        for count, (number, piece) in enumerate(split_text(text), 1):
            source = f"{name}:{number}"
            yield f"{path}:{number}", Passage(f"{name}#{count}", piece, source=source)


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        msg = f"{path}:{line}: not UTF-8 text (byte 0x{error.object[error.start]:02x})."
        raise DemoError(msg) from error


def _read_record(line: str, where: str, source: str) -> Passage:
    try:
        record = json.loads(line)
    except ValueError as error:
        reason = str(error).partition(": line")[0]  # the parser counts lines from this one
        msg = f"{where}: not valid JSON ({reason})."
        raise DemoError(msg) from error
    if not isinstance(record, dict) or not str(record.get("text") or "").strip():
        msg = f'{where}: expected an object with a "text", {{"text": "…"}}.'
        raise DemoError(msg)
    fields = {key: record[key] for key in Passage.__slots__ if record.get(key) is not None}
    for key, value in fields.items():
        if not isinstance(value, str) or re.search("[\ud800-\udfff]", value):
            msg = f'{where}: "{key}" is not a text: {value!r}.'
            raise DemoError(msg)
    return Passage(**{"id": source, "source": source, **fields})


def split_text(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text into passages of at most `PASSAGE_CHARS` characters.

    Paragraphs stay together where they fit, and nothing but white space is lost.

    Args:
        text: Paragraphs with blank lines in between.

    Yields:
        The number of the line where a passage begins, counted from 1, and the passage.
    """
    start, held = 1, ""
    for line, piece in _pieces(text):
        if held and len(held) + 2 + len(piece) > PASSAGE_CHARS:
            yield start, held
            held = ""
        if not held:
            start = line
        held = f"{held}\n\n{piece}" if held else piece
    if held:
        yield start, held


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs with their line numbers; long ones in several pieces."""
    line = 1
    for block in re.split(r"(\n\s*\n)", text):
        rest = block
        while rest:
            end = _place_to_cut(rest)
            piece, rest = rest[:end], rest[end:]
            if piece.strip():
                before = len(piece) - len(piece.lstrip("\n"))
                yield line + before, piece.strip("\n")
            line += piece.count("\n")


def _place_to_cut(text: str) -> int:
    """Return where the first piece of a paragraph ends: best after a line, then a sentence."""
    if len(text) <= PASSAGE_CHARS:
        return len(text)
    for mark in ("\n", ". ", "。", " "):
        end = text.rfind(mark, PASSAGE_CHARS // 2, PASSAGE_CHARS)
        if end >= 0:
            return end + len(mark) if end + len(mark) <= PASSAGE_CHARS else end + 1
    return PASSAGE_CHARS
