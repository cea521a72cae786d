"""From raw samples to figures: medians with their spread, ratios, utilisation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, REFERENCE
from benchmarks.suite import Lane

Row = dict[str, Any]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, linear between neighbours."""
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return `median`, `low` and `high` (the extremes) of one figure per round."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def summarize(
    lanes: Sequence[Lane],
    ceilings: Sequence[dict[str, dict[str, Any]]],
    tokens: Sequence[int],
    flops: Sequence[int],
) -> dict[str, Any]:
    """Return the figures of a run, ready for JSON.

    Args:
        lanes: After `Suite.run`.
        ceilings: One for each round of documents.
        tokens: Of each round's share of the documents.
        flops: Of the whole model over each share, nominal.

    Returns:
        `ceiling` by precision, and `rows`, one for each lane.
    """
    ceiling = {
        dtype: spread([c[dtype]["gflops"] for c in ceilings])
        | {key: ceilings[0][dtype][key] for key in ("shape", "kernel")}
        for dtype in ceilings[0]
    }
    base = next((lane for lane in lanes if lane.engine == REFERENCE), None)
    rows = []
    for lane in lanes:
        row: Row = {
            "engine": lane.engine,
            "title": ENGINES[lane.engine].title,
            "dtype": lane.dtype,
            "batch_size": lane.batch_size or None,
            "tuned": lane.tuned,
            "refused": lane.refused,
        }
        for name, summary in _SUMMARIES.items():
            if lane.samples[name] and name not in lane.refused:
                row[name] = summary(lane.samples[name])
                row[name] |= _ratio(lane, base, name)
                if lane.cosines[name]:
                    row[name]["worst_cosine"] = min(lane.cosines[name])
        if "D" in row:
            seconds = lane.samples["D"]
            row["D"]["tokens_per_second"] = spread(
                [count / s for count, s in zip(tokens, seconds, strict=True)]
            )
            if lane.dtype in ceiling:  # int8 is a way to keep weights, not to multiply
                row["D"]["mfu"] = median(
                    work / s / 1e9 / c[lane.dtype]["gflops"]
                    for work, s, c in zip(flops, seconds, ceilings, strict=True)
                )
        rows.append(row)
    return {"ceiling": ceiling, "rows": rows}


def _documents(samples: list[float]) -> Row:
    return {"seconds": spread(samples)}


def _queries(samples: list[list[float]]) -> Row:
    each = [1000 * s for seconds in samples for s in seconds]
    p50 = spread([1000 * median(seconds) for seconds in samples])
    return {"p50_ms": percentile(each, 50), "p95_ms": percentile(each, 95), "p50_by_round": p50}


def _at_once(samples: list[dict[str, Any]]) -> Row:
    calls = [1000 * s for sample in samples for s in sample["calls"]]
    failed = [message for sample in samples for message in sample["failed"]]
    row: Row = {
        "served_per_second": spread([len(s["calls"]) / s["seconds"] for s in samples]),
        "served": len(calls),
        "failed": len(failed),
        "failures": sorted(set(failed))[:3],
    }
    if calls:
        row |= {"p50_ms": percentile(calls, 50), "p95_ms": percentile(calls, 95)}
    return row


def _memory(samples: list[tuple[int, int]]) -> Row:
    steady, peak = samples[0]
    return {"steady_mb": steady / 1e6, "peak_mb": peak / 1e6}


def _cold(samples: list[float]) -> Row:
    return {"seconds": spread(samples)}


_SUMMARIES: dict[str, Any] = {
    "D": _documents,
    "Q": _queries,
    "C": _at_once,
    "memory": _memory,
    "cold": _cold,
}


def _ratio(lane: Lane, base: Lane | None, name: str) -> dict[str, float]:
    """Return how many times as fast as the base a lane is; rounds are compared in pairs."""
    speed = _SPEEDS.get(name)
    if speed is None or base is None or name in base.refused or not base.samples[name]:
        return {}
    pairs = zip(lane.samples[name], base.samples[name], strict=True)
    return {"times": median(speed(mine) / max(speed(its), 1e-30) for mine, its in pairs)}


_SPEEDS: dict[str, Any] = {
    "D": lambda seconds: 1 / seconds,
    "Q": lambda seconds: 1 / median(seconds),
    "C": lambda sample: len(sample["calls"]) / sample["seconds"],
    "cold": lambda seconds: 1 / seconds,
}
