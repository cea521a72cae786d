"""A vector does not depend on what it is embedded with: random batches against one by one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from texts import many_texts

from f2llm_core import F2LLM
from f2llm_core.matryoshka import Vectors
from faults.figures import Tally
from faults.stubs import batches

BUDGETS = (1, 7, 50, 300, 2_048, 10_000)  # tokens: from less than any text to more than any batch
SIDES = ("query", "document")


@dataclass(frozen=True)
class Batch:
    """Texts to embed together.

    Attributes:
        side: Queries have the instruction before them, documents nothing.
        budget: `max_batch_tokens`.
        texts: In order.
    """

    side: str
    budget: int
    texts: list[str]

    def replace(self, **changes) -> Batch:
        return dataclasses.replace(self, **changes)


def random_batches(count, seed=0):
    """Return batches of the shapes that went wrong elsewhere."""
    rng = random.Random(seed)
    pool = many_texts()
    long = [" ".join(rng.sample(pool, 12)) for _ in range(4)]
    equal = [[text[:size].ljust(size, "x") for text in pool[:40]] for size in (1, 9, 30)]

    def mixed():
        return rng.sample(pool, rng.randint(2, 24))

    def equal_lengths():
        return rng.sample(rng.choice(equal), rng.randint(2, 24))

    def one_long_among_short():
        short = rng.choices([text[: rng.randint(0, 8)] for text in pool], k=rng.randint(1, 16))
        return [*short, rng.choice(long)]

    def duplicates():
        return rng.choices(rng.sample(pool, 4), k=rng.randint(2, 20))

    def alone():
        return [rng.choice(pool + long)]

    shapes = (mixed, equal_lengths, one_long_among_short, duplicates, alone)
    for i in range(count):
        texts = shapes[i % len(shapes)]()
        rng.shuffle(texts)
        yield Batch(rng.choice(SIDES), rng.choice(BUDGETS), texts)


def embedder(checkpoint) -> Callable[[Batch], Vectors]:
    """Return the product as batch -> rows; each budget is an encoder of its own."""
    encoders = {b: F2LLM(checkpoint, dtype="float32", max_batch_tokens=b) for b in BUDGETS}

    def embed(batch):
        encoder = encoders[batch.budget]
        encode = encoder.encode_query if batch.side == "query" else encoder.encode_document
        return encode(batch.texts)

    return embed


def check_batches(embed, one_by_one, batches):
    """Compare every row of every batch with that of its text alone.

    Args:
        embed: `Batch` to rows; under test.
        one_by_one: `(side, text)` to its row.
        batches: To embed.
    """
    tally = Tally("batches")
    for batch in batches:
        tally.tried += 1
        rows = embed(batch)
        assert len(rows) == len(batch.texts)
        for text, row in zip(batch.texts, rows, strict=True):
            alone = one_by_one(batch.side, text).astype(float)
            tally.measure("worst cosine", float(row.astype(float) @ alone))
    return tally


@pytest.fixture(scope="module")
def one_by_one(checkpoint):
    encoder = F2LLM(checkpoint, dtype="float32")

    @cache
    def embed(side, text):
        return getattr(encoder, f"encode_{side}")(text)

    return embed


def test_random_batches_equal_one_by_one(checkpoint, one_by_one, amount, prove):
    batches = random_batches(amount(1_000, 60))
    prove(check_batches(embedder(checkpoint), one_by_one, batches))


@pytest.mark.parametrize(
    "broken",
    [
        batches.embed_with_padding_seen,
        batches.embed_with_rows_by_length,
        batches.embed_with_equal_lengths_uncausal,
        batches.embed_with_nan_now_and_then,
    ],
)
def test_a_broken_batch_is_found(checkpoint, one_by_one, broken):
    tally = check_batches(broken(embedder(checkpoint)), one_by_one, random_batches(20))
    assert tally.missed()
