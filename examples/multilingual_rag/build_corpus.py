"""Choose the shipped corpus from Debian's package descriptions and their translations.

The input holds one JSON object a line, optionally gzipped: `id`, `group`, `lang`, `package`,
`title` and `text`, where one `id` in several languages is one description and its translations,
and `group` is the SHA-1 of the English first paragraph, which packages built from one source share.

Only groups whose first byte is below 26 are taken: the demo model never saw those, so that what is
measured on the corpus is no memory. The choice is made by rules alone: one package per group, no
libraries or mere data packages, and the packages with the most translations first.

    python build_corpus.py HELDOUT.jsonl.gz data/debian.jsonl
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

#: The languages with at least 40 descriptions among the chosen packages.
LANGUAGES = (
    "en", "cs", "da", "de", "es", "fr", "it", "ja", "ko", "pl", "pt_BR", "ru", "sk", "uk", "zh_CN",
)  # fmt: skip
HELD_OUT = 26  # of 256 values of a group's first byte
PACKAGES = 220
MIN_CHARS, MAX_CHARS = 60, 800  # of the English text: no stubs, nothing that takes a page
DULL = re.compile(r"^lib|-(base|bin|cross|common|data|dev|doc|l10n|runtime)$")

Row = dict[str, str]
#: The passages of one package by language.
Package = Mapping[str, Row]


def main() -> None:
    """Read the held-out descriptions and write the corpus."""
    parser = argparse.ArgumentParser(description="Choose the shipped corpus.")
    parser.add_argument("heldout", type=Path, help="held-out descriptions, .jsonl or .jsonl.gz")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    packages = choose(read_packages(args.heldout))
    passages = [passage(rows[lang]) for rows in packages for lang in LANGUAGES if lang in rows]
    with args.out.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in passages)
    print(f"{len(passages)} passages of {len(packages)} packages: {args.out.stat().st_size} bytes")


def read_packages(path: Path) -> Iterator[Package]:
    """Yield each description with its translations, where it is held out and of use here."""
    translations: dict[str, dict[str, Row]] = defaultdict(dict)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if int(row["group"][:2], 16) < HELD_OUT and row["lang"] in LANGUAGES:
                translations[row["id"]][row["lang"]] = row
    for rows in translations.values():
        english = rows.get("en")
        if english and is_useful(english):
            yield {lang: row for lang, row in rows.items() if is_translation(row, english)}


def is_useful(english: Row) -> bool:
    """Tell whether somebody might ask for this package."""
    return (
        not DULL.search(english["package"])
        and "dummy" not in english["title"]
        and MIN_CHARS <= len(english["text"]) <= MAX_CHARS
    )


def is_translation(row: Row, english: Row) -> bool:
    """Tell whether both parts of a row are translated: unfinished ones keep the English."""
    if row["lang"] == "en":
        return True
    parts = ("title", "text")
    return all(row[p] != english[p] and "<trans>" not in row[p] for p in parts)


def choose(packages: Iterator[Package]) -> list[Package]:
    """Return the packages with the most translations, one of each group."""
    chosen: list[Package] = []
    taken: set[str] = set()
    for rows in sorted(packages, key=lambda rows: (-len(rows), rows["en"]["package"])):
        names = {rows["en"]["group"], rows["en"]["package"]}  # versions differ in the former only
        if not names & taken:
            chosen.append(rows)
            taken |= names
    return chosen[:PACKAGES]


def passage(row: Row) -> Row:
    """Return a line of the corpus, whose id names the package and the language."""
    return {
        "id": f"{row['package']}/{row['lang']}",
        "parallel": row["package"],
        "group": row["group"],
        "lang": row["lang"],
        "title": row["title"].strip(),
        "text": row["text"].strip(),
        "source": f"Debian package {row['package']}",
    }


if __name__ == "__main__":
    main()
