"""Two processes that index into one collection of Chroma at once.

Run as `python -m faults.together FOLDER CHROMA HOW TIMES`. Prints what it found, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter

from f2llm_core import F2LLM
from faults.indexer import Indexer

# So many that both would write Chroma's files of vectors, if nothing kept them apart.
RECORDS = [(f"{i // 5}.txt", f"Chunk {i} of many.") for i in range(4500)]
# Each brings two thirds, so that a third comes twice.
PARTS = [RECORDS[:3000], RECORDS[1500:]]


def play(model, folder, how):
    """Index both parts at once; return what is wrong afterwards."""
    place = tempfile.mkdtemp(dir=folder)
    first = Indexer(how, model, place)
    first.request("compare", [])  # that makes the database, which two at once cannot
    first.answer()
    both = [first, Indexer(how, model, place)]
    for one, records in zip(both, PARTS, strict=True):
        one.request("index", records, {"batch_size": 256})
    found = Counter()
    for one in both:
        found.update(_answer_of(one))
    third = Indexer(how, model, place)
    third.request("compare", RECORDS)
    found.update(_answer_of(third))
    return found


def _answer_of(indexer):
    try:
        return indexer.answer()
    except EOFError:
        return {"errors": 1}
    finally:
        indexer.kill()


def main(checkpoint, folder, how, times):
    model = F2LLM(checkpoint, dtype="float32")
    model.encode_document("loaded")
    counts = Counter(lost=0, doubled=0, changed=0, errors=0)
    for _ in range(int(times)):
        counts.update(play(model, folder, how))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
