"""Vectors as the frameworks take them: lists of Python floats."""

from __future__ import annotations

import asyncio

from f2llm_core.matryoshka import Vectors

_QUICK = 2**15  # numbers that are converted in a few milliseconds


async def to_lists(rows: Vectors) -> list[list[float]]:
    """Convert vectors without blocking the event loop.

    Args:
        rows: `(n, dimensions)` float32.

    Returns:
        `n` lists of `dimensions` floats.
    """
    if rows.size <= _QUICK:
        return list(rows.tolist())
    # By row, as one conversion of all would hold the interpreter, and with it the loop, to its end.
    return await asyncio.to_thread(lambda: [row.tolist() for row in rows])
