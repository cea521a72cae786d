"""A small task in two languages, whose answers a random model sometimes finds."""

from __future__ import annotations

import json

import pytest

from f2llm_core.evaluation import read_dataset

WORDS = ("star", "train", "bread", "river", "table", "horse", "cloud", "stone", "glass", "music")


@pytest.fixture
def parallel_file(tmp_path):
    path = tmp_path / "things.jsonl"
    lines = [
        {"id": word, "lang": lang, "text": f"{mark} {word} {place}", "query": f"{word} {place}?"}
        for place, word in enumerate(WORDS)
        for lang, mark in (("en", "about the"), ("de", "über"))
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def things(parallel_file):
    """40 queries, 20 of each language, among 10 passages of each."""
    return read_dataset(parallel_file, format="parallel")
