"""What a model makes of a few texts, rightly and in the usual wrong ways, to hold a server against.

Made where the weights are, and kept in a file for where they are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from f2llm_core.audit_variants import Variant, Workshop, differences
from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError
from f2llm_core.matryoshka import Vectors, truncate

_RIVER = "{}. The river floods the fields every spring, and the farmers wait for it.\n"
_SKY = "{}. A telescope in orbit sees the infrared light of the first galaxies.\n"

#: The long ones come last; they end in another subject than they begin with, or a cut would hardly
#: show. The first two are the shortest, since a mean over all tokens costs as many forward passes.
TEXTS = (
    "What does the telescope see?",
    "def add(a, b):\n    return a + b\n",
    "고래는 노래로 서로를 찾는다.",
    "  El tren a Sevilla sale a las nueve.  ",
    "Zwei Absätze.\n\nDer zweite handelt von etwas anderem: von Brot.",
    "".join(_RIVER.format(i) for i in range(30)) + "".join(_SKY.format(i) for i in range(20)),
    "".join(_RIVER.format(i) for i in range(60)) + "".join(_SKY.format(i) for i in range(80)),
)

#: Where the long ones begin.
LONG = 5

_LIMITS = (256, 512, 1024, 2048)  # tokens that servers cut at by default
_FORMAT = 1
_DIGITS = 6  # of a unit vector's numbers in a file


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the texts' vectors.

    Attributes:
        kind: What is wrong with it, in a word or two; empty for the right way.
        said: The same as the predicate of a sentence about vectors.
        rows: `(len(TEXTS), width)` float32 of unit length; NaN where the way was not gone, since
            it shows in other texts as well.
    """

    kind: str
    said: str
    rows: Vectors


@dataclass(frozen=True, slots=True)
class Golden:
    """What a model makes of `TEXTS`.

    Attributes:
        model: Hub id, or the folder's own name.
        width: Full embedding width.
        ways: The right one first.
    """

    model: str
    width: int
    ways: tuple[Way, ...]


def make_golden(encoder: F2LLM) -> Golden:
    """Embed `TEXTS` as documents in all ways, with the checkpoint's own prompts, at full width.

    Raises:
        ConfigurationError: The model does not run in this process.
        ModelError: It cannot be loaded.
    """
    plain = encoder.with_options(task=None, dimensions=None, max_length=None)
    workshop = Workshop(plain)
    right = _unit(workshop.rows(TEXTS, workshop.right))
    ways = [Way("", "are right", right)]
    for variant in _wrong(workshop.right, plain.prompts.query):
        rows = _rows(workshop, variant, right)
        for kind, said in differences(variant, workshop.right, plain.prompts.query):
            ways.append(Way(kind, said, rows))
    ways.append(Way("with two EOS", "were made with two EOS at the end", _twice(workshop)))
    return Golden(name_of(encoder), encoder.width, tuple(ways))


def write_golden(path: Path, golden: Golden) -> None:
    """Write a file of JSON lines: what it is of, then a line for each way.

    Raises:
        OSError: It cannot be written.
    """
    head = {"format": _FORMAT, "model": golden.model, "width": golden.width, "texts": list(TEXTS)}
    lines: list[dict[str, Any]] = [head]
    for way in golden.ways:
        rows = [
            [round(float(x), _DIGITS) for x in row] if np.isfinite(row).all() else None
            for row in way.rows
        ]
        lines.append({"kind": way.kind, "said": way.said, "rows": rows})
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def read_golden(path: Path) -> Golden:
    """Read what `write_golden` has written.

    Raises:
        ConfigurationError: There is no such file, or it is damaged or of another version.
    """
    try:
        head, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        current = head["format"] == _FORMAT and head["texts"] == list(TEXTS)
        ways = tuple(_read_way(line, head["width"]) for line in lines)
        if current and ways and not ways[0].kind:
            return Golden(str(head["model"]), int(head["width"]), ways)
        problem = "is damaged, or of another version of f2llm-core"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"is not readable ({type(error).__name__}: {error!s:.100})"
    msg = f"{path} {problem}. Make it again: f2llm doctor MODEL --write-golden {path}."
    raise ConfigurationError(msg)


def name_of(encoder: F2LLM) -> str:
    """Return what a model is called on every machine."""
    folder = encoder._source.folder
    return encoder.model if folder is None else folder.name


def _wrong(right: Variant, query_prompt: str) -> list[Variant]:
    """Return ways that depart from the right one in one thing."""
    return [
        replace(right, eos=False),
        replace(right, pooling="mean"),
        replace(right, prompt=query_prompt),
        replace(right, text="newlines"),
        replace(right, text="stripped"),
        *(
            replace(right, max_length=limit, eos_cut=eos_cut)
            for limit, eos_cut in product(_LIMITS, (False, True))
            if limit < right.max_length
        ),
    ]


def _rows(workshop: Workshop, variant: Variant, right: Vectors) -> Vectors:
    """Return what a variant makes of the short texts, and of the long ones if it cuts them."""
    if variant.max_length == workshop.right.max_length:
        rows = np.full_like(right, np.nan)
        rows[:LONG] = _unit(workshop.rows(TEXTS[:LONG], variant))
    else:
        rows = right.copy()
        rows[LONG:] = _unit(workshop.rows(TEXTS[LONG:], variant))
    return rows


def _twice(workshop: Workshop) -> Vectors:
    sequences = [(*ids, ids[-1]) for ids in workshop.ids(TEXTS[:LONG], workshop.right)]
    rows = np.full((len(TEXTS), workshop.width), np.nan, dtype=np.float32)
    rows[:LONG] = _unit(workshop.embed_ids(sequences))
    return rows


def _unit(rows: Vectors) -> Vectors:
    unit = np.full_like(rows, np.nan)
    there = np.isfinite(rows).all(axis=1)
    unit[there] = truncate(rows[there])
    return unit


def _read_way(line: dict[str, Any], width: int) -> Way:
    rows = [np.full(width, np.nan) if row is None else row for row in line["rows"]]
    array = np.array(rows, dtype=np.float32)
    if array.shape != (len(TEXTS), width):
        msg = f"rows of shape {array.shape}"
        raise ValueError(msg)
    return Way(str(line["kind"]), str(line["said"]), array)
