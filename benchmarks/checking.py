"""No time counts unless the vectors are right, and no call unless it came back with one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]

#: Least cosine with the float32 reference, by the precision of an engine.
LEAST_COSINE = {"float32": 0.99999, "float16": 0.999, "bfloat16": 0.999, "int8": 0.99}


class WrongVectorsError(Exception):
    """What an engine returned is not what the reference has; says how far off it is."""


@dataclass(frozen=True)
class Call:
    """One query of one of many callers.

    Attributes:
        index: Which query.
        seconds: Until it came back, or failed.
        row: `(width,)` float32, or None if it failed.
        error: Type and message of the failure, or None.
    """

    index: int
    seconds: float
    row: Rows | None
    error: str | None


@dataclass(frozen=True)
class Served:
    """What came of many calls at once.

    Attributes:
        seconds: Of each call that came back with the right vector.
        failed: Messages of the calls that raised, or came back with a wrong vector.
        worst_cosine: Of those served; 1.0 if there are none.
    """

    seconds: list[float]
    failed: list[str]
    worst_cosine: float


def check(rows: Any, reference: Rows, dtype: str) -> float:  # noqa: ANN401
    """Compare vectors with the right ones.

    Args:
        rows: `(n, width)`, whatever an engine returned.
        reference: `(n, width)` float32.
        dtype: Precision of the engine; decides what is near enough.

    Returns:
        The worst cosine.

    Raises:
        WrongVectorsError: Another shape, a number that is not finite, or a vector too far off.
    """
    found = np.asarray(rows, dtype=np.float64)
    if found.shape != reference.shape:
        msg = f"shape {found.shape} instead of {reference.shape}"
        raise WrongVectorsError(msg)
    if not np.isfinite(found).all():
        msg = "numbers that are not finite"
        raise WrongVectorsError(msg)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference.astype(np.float64), axis=1)
    dots = np.einsum("nw,nw->n", found, reference)
    worst = float(np.min(dots / np.maximum(lengths, 1e-30), initial=1.0))
    if worst < LEAST_COSINE[dtype]:
        msg = f"worst cosine {worst:.6f} is below {LEAST_COSINE[dtype]}"
        raise WrongVectorsError(msg)
    return worst


def call_at_once(
    call: Callable[[str], Any], texts: Sequence[str], threads: int
) -> tuple[float, list[Call]]:
    """Let threads ask for single texts all at once; each takes every `threads`-th of them.

    Returns:
        Seconds from the common start to the last answer, and every call, failed ones included.
    """
    calls: list[Call] = []
    ready = threading.Barrier(threads + 1)

    def caller(first: int) -> None:
        ready.wait()
        for index in range(first, len(texts), threads):
            start = time.perf_counter()
            row, error = None, None
            try:
                row = np.asarray(call(texts[index]), dtype=np.float32)
            except Exception as problem:  # whatever it is, it is the finding
                error = f"{type(problem).__name__}: {problem}"
            calls.append(Call(index, time.perf_counter() - start, row, error))

    callers = [threading.Thread(target=caller, args=(first,)) for first in range(threads)]
    for thread in callers:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in callers:
        thread.join()
    return time.perf_counter() - start, calls


def count_served(calls: Sequence[Call], reference: Rows, dtype: str) -> Served:
    """Sort calls into those that came back with the right vector, and the others.

    Args:
        calls: From `call_at_once`.
        reference: `(n, width)` float32, the right vector of each query.
        dtype: As in `check`.
    """
    seconds: list[float] = []
    failed: list[str] = []
    worst = 1.0
    for call in calls:
        if call.row is None:
            failed.append(call.error or "no vector")
            continue
        try:
            cosine = check(call.row[None], reference[call.index][None], dtype)
        except WrongVectorsError as error:
            failed.append(str(error))
        else:
            worst = min(worst, cosine)
            seconds.append(call.seconds)
    return Served(seconds, failed, worst)
