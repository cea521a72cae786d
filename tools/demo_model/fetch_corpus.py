"""Fetch the corpus anew from Debian's translation indexes, for those without the stored file.

    python -m tools.demo_model.fetch_corpus --out work/corpus

Debian's translators render package descriptions into many languages; apt carries the results as
one index a language, joined to the English text by its MD5. This asks apt for these indexes (in a
private folder: the system's own lists stay as they are) and writes ``train.jsonl.gz`` and
``heldout.jsonl.gz``. Needs ``apt-get`` (Debian or a derivative with Debian's sources) and the
``lz4`` package.
"""

import argparse
import hashlib
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lz4.frame

from .data import HELDOUT_BYTES, Row, group_byte, write_rows

LANGS = (
    "en",
    "da",
    "de",
    "fr",
    "it",
    "ja",
    "ko",
    "pt_BR",
    "ru",
    "sk",
    "uk",
    "pl",
    "cs",
    "es",
    "zh_CN",
    "fi",
    "sr",
    "nl",
    "sv",
    "hu",
    "vi",
    "tr",
    "eu",
    "hr",
    "el",
    "ca",
    "id",
    "ro",
    "km",
)


def fetch(folder: Path) -> None:
    """Lets apt download the indexes of all languages into ``folder``.

    Raises:
        subprocess.CalledProcessError: apt failed; its own message says why.
    """
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = (f"Dir::State::Lists={folder}", f"Acquire::Languages={','.join(LANGS)}")
    flags = [part for option in options for part in ("-o", option)]
    subprocess.run(["apt-get", "--quiet", *flags, "update"], check=True)


def indexes(folder: Path, lang: str) -> list[Path]:
    """The release's main index of a language; updates and security only repeat parts of it."""
    name = f"*_main_i18n_Translation-{lang.replace('_', '%5f')}.lz4"
    return [
        path
        for path in sorted(folder.glob(name))
        if not re.search(r"-(updates|security|backports)_|debian-security", path.name)
    ]


def flow(lines: list[str]) -> str:
    """Undoes the control file's layout.

    A line " ." ends a paragraph; a line with a second space stands alone, as a list item does; all
    others flow together.
    """
    paragraphs = [""]
    for line in lines:
        if line.strip() == ".":
            paragraphs.append("")
        elif line.startswith("  "):
            paragraphs += [line.strip(), ""]
        else:
            paragraphs[-1] = f"{paragraphs[-1]} {line.strip()}".strip()
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def entries(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yields (md5, package, title, text) of one index."""
    with lz4.frame.open(path, "rb") as raw:
        stanzas = io.TextIOWrapper(raw, encoding="utf-8").read().split("\n\n")
    for stanza in stanzas:
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.split("\n"):
            if line.startswith(" "):
                fields[name].append(line)
            elif line:
                name, _, value = line.partition(":")
                name = "Description" if re.match(r"Description-(?!md5)", name) else name
                fields[name] = [value.strip()]
        if {"Description-md5", "Description"} <= fields.keys() and fields["Description"][0]:
            title, *body = fields["Description"]
            yield fields["Description-md5"][0], fields["Package"][0], title, flow(body)


def rows(folder: Path) -> Iterator[Row]:
    """Yields all rows, English first; a group is the SHA-1 of the English first paragraph."""
    groups: dict[str, str] = {}
    for lang in LANGS:
        own = {e[0]: e for path in indexes(folder, lang) for e in entries(path)}
        for md5, package, title, text in own.values():
            if lang == "en":
                first = text.split("\n")[0] or title
                groups[md5] = hashlib.sha1(first.encode(), usedforsecurity=False).hexdigest()
            if md5 in groups:
                yield Row(
                    id=md5, group=groups[md5], lang=lang, package=package, title=title, text=text
                )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("work/corpus"))
    parser.add_argument("--lists", type=Path, help="a folder that already holds the indexes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.lists or Path(scratch)
        if not args.lists:
            fetch(folder)
        made = list(rows(folder))
    for name, held in (("train", False), ("heldout", True)):
        part = [row for row in made if (group_byte(row) in HELDOUT_BYTES) == held]
        write_rows(args.out / f"{name}.jsonl.gz", part)
        print(f"{name}: {len(part)} rows")


if __name__ == "__main__":
    main()
