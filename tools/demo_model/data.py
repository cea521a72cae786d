"""Split the package-description corpus so that nothing measured was ever trained on.

    python -m tools.demo_model.data --heldout heldout.jsonl.gz --work work

reads the trainable rows (``--corpus``) and the held-out rows, drops every training package that
repeats a held-out one, sets a development part aside, and writes ``train.jsonl.gz``,
``dev.jsonl.gz``, ``heldout.jsonl.gz`` and ``split.json`` into the work folder.
"""

import argparse
import collections
import gzip
import json
import re
from pathlib import Path
from typing import TypedDict

CORPUS = Path("../shared/corpora/debian_train.jsonl.gz")
HELDOUT_BYTES = range(26)  # the corpus's own rule: first byte of the group's SHA-1
DEV_BYTES = range(26, 34)  # ours: for choosing settings, never trained on
SHINGLE_WORDS = 5
BOILERPLATE_GROUPS = 20  # a shingle in more groups than this says nothing about the package
NEAR_DUPLICATE = 0.5  # share of the shorter text's telling shingles that the other one has


class Row(TypedDict):
    """One package description in one language; ``id`` joins its translations."""

    id: str
    group: str
    lang: str
    package: str
    title: str
    text: str


def read_rows(path: Path) -> list[Row]:
    """Reads one JSON object a line from a gzip file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes one JSON object a line, with a fixed time stamp so that equal rows are equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def group_byte(row: Row) -> int:
    """The byte, 0 to 255, that decides which part a row's whole group belongs to."""
    return int(row["group"][:2], 16)


def normalise(text: str) -> str:
    """Lower-cases and keeps only words, so that punctuation and layout can't hide a repeat."""
    return " ".join(re.findall(r"\w+", text.lower()))


def shingles(text: str) -> set[int]:
    """Hashes of all runs of ``SHINGLE_WORDS`` words (of the whole text where it is shorter)."""
    words = normalise(text).split()
    last = max(1, len(words) - SHINGLE_WORDS + 1)
    return {hash(tuple(words[i : i + SHINGLE_WORDS])) for i in range(last)}


def telling_shingles(rows: list[Row]) -> dict[str, set[int]]:
    """Maps each package id to its text's shingles, less those that are boilerplate."""
    by_id = {row["id"]: shingles(row["text"]) for row in rows}
    groups: dict[int, set[str]] = collections.defaultdict(set)
    for row in rows:
        for shingle in by_id[row["id"]]:
            if len(groups[shingle]) <= BOILERPLATE_GROUPS:
                groups[shingle].add(row["group"])
    common = {s for s, members in groups.items() if len(members) > BOILERPLATE_GROUPS}
    return {key: own - common for key, own in by_id.items()}


def repeats(train: list[Row], heldout: list[Row]) -> dict[str, set[str]]:
    """Finds the training packages that repeat a held-out one, by their English rows.

    Args:
        train: Rows that may be trained on.
        heldout: Rows that are measured on.

    Returns:
        Sets of package ids by reason: ``title`` and ``text`` (equal when normalised), ``near``
        (shares half of its telling shingles with one held-out text).
    """
    english = [r for r in train if r["lang"] == "en"]
    measured = [r for r in heldout if r["lang"] == "en"]
    titles = {normalise(r["title"]) for r in measured}
    texts = {normalise(r["text"]) for r in measured}
    own = telling_shingles(english + measured)
    holders: dict[int, list[str]] = collections.defaultdict(list)
    for row in measured:
        for shingle in own[row["id"]]:
            holders[shingle].append(row["id"])
    found: dict[str, set[str]] = {"title": set(), "text": set(), "near": set()}
    for row in english:
        mine = own[row["id"]]
        shared = collections.Counter(h for s in mine for h in holders.get(s, ()))
        if normalise(row["title"]) in titles:
            found["title"].add(row["id"])
        if normalise(row["text"]) in texts:
            found["text"].add(row["id"])
        limit = NEAR_DUPLICATE
        if any(n >= limit * min(len(mine), len(own[h])) for h, n in shared.items()):
            found["near"].add(row["id"])
    return found


def split(rows: list[Row], heldout: list[Row]) -> tuple[list[Row], list[Row], dict[str, int]]:
    """Takes out repeats of held-out packages and sets the development part aside.

    Returns:
        The training rows, the development rows, and the counts to report.

    Raises:
        ValueError: A training row belongs to a held-out group.
    """
    if any(group_byte(row) in HELDOUT_BYTES for row in rows):
        msg = "the training file holds rows of held-out groups"
        raise ValueError(msg)
    found = repeats(rows, heldout)
    dropped = set().union(*found.values())
    clean = [row for row in rows if row["id"] not in dropped and row["title"] and row["text"]]
    dev = [row for row in clean if group_byte(row) in DEV_BYTES]
    train = [row for row in clean if group_byte(row) not in DEV_BYTES]
    seen = repeats(train, dev)
    repeated = set().union(*seen.values())
    dev_twins = [row for row in train if row["id"] in repeated]
    train = [row for row in train if row["id"] not in repeated]
    counts = {f"packages dropped: {reason}": len(ids) for reason, ids in found.items()}
    counts["packages dropped, any reason"] = len(dropped)
    counts["rows dropped"] = sum(row["id"] in dropped for row in rows)
    counts["rows dropped as repeats of the development part"] = len(dev_twins)
    counts |= {"train rows": len(train), "dev rows": len(dev), "held-out rows": len(heldout)}
    return train, dev, counts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--heldout", type=Path, required=True, help="held-out rows, for measuring")
    parser.add_argument("--work", type=Path, default=Path("work"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    heldout = read_rows(args.heldout)
    train, dev, counts = split(read_rows(args.corpus), heldout)
    for name, rows in (("train", train), ("dev", dev), ("heldout", heldout)):
        write_rows(args.work / f"{name}.jsonl.gz", rows)
    (args.work / "split.json").write_text(json.dumps(counts, indent=2) + "\n")
    print(json.dumps(counts, indent=2))


if __name__ == "__main__":
    main()
