"""What is embedded: documents and queries in many languages, cut to lengths in tokens."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import NormalDist

import numpy as np
from tokenizers import Tokenizer

from benchmarks.engines import read_query_prompt

CORPUS = Path(__file__).resolve().parent.parent / "examples/multilingual_rag/data/debian.jsonl"
MEDIAN_TOKENS = 180  # of documents; passages of a few sentences
SIGMA = 0.7  # of the logarithm of document lengths
LONGEST = 512  # tokens, EOS included
SHORTEST = 8
QUERY_TOKENS = (8, 16)  # about 12, without the instruction


@dataclass(frozen=True)
class Workload:
    """Texts and their lengths in tokens, as the model sees them: prompt and EOS included.

    Attributes:
        documents: Distinct, without newlines, which one of the peers would rewrite.
        document_tokens: One count for each.
        queries: Distinct, without newlines.
        query_tokens: One count for each, the instruction included.
        prompt_tokens: How many of these are the instruction.
        languages: How many there are.
    """

    documents: list[str]
    document_tokens: list[int]
    queries: list[str]
    query_tokens: list[int]
    prompt_tokens: int
    languages: int


def make_workload(folder: Path, documents: int, queries: int, *, seed: int = 0) -> Workload:
    """Make the texts of a run; the same arguments give the same texts.

    Args:
        folder: Checkpoint, whose tokenizer decides how long a text is.
        documents: How many documents, log-normal in length.
        queries: How many queries.
        seed: Of the lengths and of the order of the corpus.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    random = np.random.default_rng(seed)
    records = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    order = [records[i] for i in random.permutation(len(records))]
    normal = NormalDist(math.log(MEDIAN_TOKENS), SIGMA)
    drawn = np.exp([normal.inv_cdf((i + 0.5) / documents) for i in range(documents)])
    lengths = np.clip(random.permutation(drawn), SHORTEST, LONGEST).astype(int) - 1  # and an EOS
    short = random.integers(QUERY_TOKENS[0], QUERY_TOKENS[1], queries, endpoint=True)
    chosen = _cut(tokenizer, _by_language(order, "text"), lengths.tolist())
    asked = _cut(tokenizer, _by_language(order, "title"), short.tolist())
    prompt = read_query_prompt(folder)
    return Workload(
        documents=chosen,
        document_tokens=_count(tokenizer, chosen),
        queries=asked,
        query_tokens=_count(tokenizer, [prompt + text for text in asked]),
        prompt_tokens=len(_ends(tokenizer, prompt.rstrip(" "))),
        languages=len({record["lang"] for record in records}),
    )


def _by_language(records: list[dict[str, str]], field: str) -> Iterator[Iterator[str]]:
    """Yield endless streams of texts in one language each, the languages taking turns."""
    texts = defaultdict(list)
    for record in records:
        texts[record["lang"]].append(" ".join(record[field].split()))
    return cycle([cycle(of_one) for of_one in texts.values()])


def _cut(tokenizer: Tokenizer, streams: Iterator[Iterator[str]], lengths: list[int]) -> list[str]:
    """Return distinct texts of the given lengths in tokens, or a few less."""
    cut: dict[str, None] = {}  # keeps the order
    for length in lengths:
        before = len(cut)
        while len(cut) == before:
            stream = next(streams)
            text = next(stream)
            while len(ends := _ends(tokenizer, text)) < length:
                text = f"{text} {next(stream)}"
            short = text[: ends[length - 1]].strip()
            while len(_ends(tokenizer, short)) > length:  # a character can take several tokens
                short = short[:-1]
            cut[short] = None
    return list(cut)


def _ends(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return for each token the position in the text behind it."""
    return [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]


def _count(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [len(encoding.ids) + 1 for encoding in encodings]
