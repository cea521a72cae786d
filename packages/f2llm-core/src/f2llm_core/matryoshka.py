"""Matryoshka widths: slice, then renormalise, in float32; also for vectors stored earlier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from f2llm_core.errors import ConfigurationError, NonFiniteError, UntrainedDimensionWarning, warn
from f2llm_core.models import MIN_DIMENSIONS, trained_dimensions

Vectors = npt.NDArray[np.float32]


def check_dimensions(dimensions: object, width: int | None = None) -> int:
    """Return the width to embed at.

    Args:
        dimensions: An integer from 8 to `width`, or None for the full width.
        width: Full embedding width of the model, or None if it is not known yet.

    Returns:
        The number of dimensions.

    Raises:
        ConfigurationError: Not an integer (a bool is none), or outside the range.
    """
    if dimensions is None and width is not None:
        return width
    value = -1
    if isinstance(dimensions, (int, np.integer)) and not isinstance(dimensions, bool):
        value = int(dimensions)
    if value < MIN_DIMENSIONS or (width is not None and value > width):
        limit = "the model's width" if width is None else f"{width}, the model's width"
        msg = (
            f"dimensions={dimensions!r}: allowed is an integer from {MIN_DIMENSIONS} to {limit}, "
            "or None for the full width."
        )
        raise ConfigurationError(msg)
    return value


def warn_if_untrained(dimensions: int, width: int) -> None:
    """Issue an `UntrainedDimensionWarning` if a model of `width` was not trained at a width."""
    trained = trained_dimensions(width)
    if dimensions not in trained:
        warn(
            f"The model was not trained at {dimensions} dimensions. Vectors are valid, but a "
            f"trained width serves better: {', '.join(map(str, trained))}.",
            UntrainedDimensionWarning,
        )


def truncate(
    vectors: npt.ArrayLike, dimensions: int | None = None, *, first_row: int = 0
) -> Vectors:
    """Cut vectors to their first dimensions and renormalise them to unit length.

    Works on the full-width rows of a model as well as on vectors read back from an index. Cutting
    without renormalising makes dot products and Euclidean distances meaningless.

    Args:
        vectors: Shape `(n, width)` or `(width,)`, any float type; at least 8 wide.
        dimensions: Columns to keep, 8 to `width`; None keeps all.
        first_row: What an error calls the first row, for a block of a longer list.

    Returns:
        C-contiguous float32 of shape `(n, dimensions)` or `(dimensions,)`, rows of L2 norm 1.

    Raises:
        ConfigurationError: `dimensions` outside the range, or no array of numbers, 1-D or 2-D.
        NonFiniteError: A row holds NaN or infinity, or is zero; names the rows.
    """
    array = _as_float32(vectors)
    if array.ndim not in {1, 2} or array.shape[-1] < MIN_DIMENSIONS:
        msg = f"vectors has shape {array.shape}; expected (n, width) or (width,), 8 or more wide."
        raise ConfigurationError(msg)
    dimensions = check_dimensions(dimensions, array.shape[-1])
    # In float64, since squares of 1e30 and of 1e-30 are outside of float32.
    rows = np.atleast_2d(array)[:, :dimensions].astype(np.float64, order="C")
    with np.errstate(all="ignore"):  # a caller may have numpy raise; what is wrong is found below
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        rows /= lengths[:, np.newaxis]
        result: Vectors = rows.astype(np.float32)
    good = (lengths > 0) & (lengths < np.inf)
    if not good.all():
        bad = np.flatnonzero(~good) + first_row
        shown = ", ".join(map(str, bad[:10])) + (", …" if bad.size > 10 else "")
        msg = (
            f"{bad.size} of {len(rows)} vectors cannot be normalised (NaN, infinity or all zero), "
            f"rows {shown}. Nothing was returned; float16 weights or a damaged model are likely."
        )
        raise NonFiniteError(msg, rows=[int(row) for row in bad])
    return result[0] if array.ndim == 1 else result


def _as_float32(vectors: npt.ArrayLike) -> Vectors:
    try:
        given = np.asarray(vectors)
        if given.dtype.kind in "fiuO":
            with np.errstate(all="ignore"):
                return given.astype(np.float32, copy=False)
        problem = f"they are {given.dtype}"
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch has the last
        problem = str(error).splitlines()[0]
    msg = f"vectors are no array of real numbers that numpy can read: {problem}"
    raise ConfigurationError(msg)
