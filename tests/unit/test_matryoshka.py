import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from f2llm_core import ConfigurationError, NonFiniteError, UntrainedDimensionWarning, truncate
from f2llm_core.matryoshka import check_dimensions, warn_if_untrained

WIDTH = 64
ROWS = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("dimensions", range(8, WIDTH + 1))
def test_slices_then_renormalises(dimensions):
    cut = ROWS[:, :dimensions].astype(np.float64)
    expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    result = truncate(ROWS, dimensions)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


@pytest.mark.parametrize("dimensions", [20, None])
def test_rows_lie_together_however_they_came(dimensions):
    result = truncate(np.asfortranarray(ROWS), dimensions)
    assert result.flags.c_contiguous
    assert np.array_equal(result, truncate(ROWS, dimensions))


def test_none_keeps_the_width_and_still_normalises():
    np.testing.assert_allclose(np.linalg.norm(truncate(ROWS), axis=1), 1, atol=1e-6)


def test_works_on_stored_vectors_of_a_larger_width_and_on_one():
    full = truncate(ROWS)
    np.testing.assert_allclose(truncate(full, 16), truncate(ROWS, 16), atol=1e-6)
    np.testing.assert_array_equal(truncate(full[3], 16), truncate(full, 16)[3])
    np.testing.assert_allclose(truncate(full.tolist(), 16), truncate(full, 16))


def test_the_input_is_left_alone():
    before = ROWS.copy()
    truncate(ROWS, 8)
    np.testing.assert_array_equal(ROWS, before)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_extreme_scales_do_not_overflow(scale):
    np.testing.assert_allclose(
        truncate(ROWS * np.float32(scale), 32), truncate(ROWS, 32), atol=1e-6
    )


@given(st.integers(0, 49), st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
def test_a_row_that_no_index_should_hold_is_named(row, value):
    rows = ROWS.copy()
    rows[row] = value
    with pytest.raises(NonFiniteError, match=f"rows {row}") as caught:
        truncate(rows, 16)
    assert caught.value.rows == (row,)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(10, "3, 4, 5, 6, 7, 8, 9, 10, 11, 12"), (11, "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, …")],
)
def test_the_first_ten_such_rows_are_shown(count, shown):
    rows = ROWS.copy()
    rows[3 : 3 + count] = 0
    said = f"{count} of 50 vectors cannot be normalised (NaN, infinity or all zero), rows {shown}. "
    with pytest.raises(NonFiniteError, match=re.escape(said)) as caught:
        truncate(rows)
    assert caught.value.rows == tuple(range(3, 3 + count))


def test_the_smallest_width_is_a_width():
    np.testing.assert_array_equal(truncate(ROWS[:, :8]), truncate(ROWS, 8))
    np.testing.assert_array_equal(truncate(ROWS[0, :8]), truncate(ROWS[0], 8))


def test_no_rows_are_no_rows():
    assert truncate(np.empty((0, WIDTH), dtype=np.float32), 16).shape == (0, 16)


@pytest.mark.parametrize("dimensions", [0, -1, 7, WIDTH + 1, True, False, 16.0, "16", [16]])
def test_a_wrong_dimension_is_refused_with_the_range(dimensions):
    with pytest.raises(ConfigurationError, match=f"from 8 to {WIDTH}"):
        check_dimensions(dimensions, WIDTH)
    with pytest.raises(ConfigurationError, match=f"from 8 to {WIDTH}"):
        truncate(ROWS, dimensions)


def test_numpy_integers_are_integers():
    assert check_dimensions(np.int64(16), WIDTH) == 16


def test_an_array_of_another_shape_is_refused():
    for array in (ROWS[None], np.empty(0), [1.0, 2.0, 3.0], np.float32(1)):
        with pytest.raises(ConfigurationError, match=r"expected \(n, width\)"):
            truncate(array)


def test_an_untrained_width_warns_and_a_trained_one_does_not():
    with pytest.warns(UntrainedDimensionWarning, match=r"not trained at 48 .*8, 16, 32, 64"):
        warn_if_untrained(48, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dimensions in (8, 16, 32, 64):
            warn_if_untrained(dimensions, WIDTH)


@pytest.mark.parametrize(
    "wrong",
    [
        ["a"] * 8,
        [[1.0] * 8, [1.0] * 9],
        [object()] * 8,
        np.ones(8, dtype=complex),
        torch.ones(8, dtype=torch.bfloat16),
        torch.ones(8, requires_grad=True),
        np.ones(8, dtype=bool),
        ["1"] * 8,
        [10**400] * 8,
    ],
    ids=[
        "texts",
        "uneven",
        "objects",
        "complex",
        "bfloat16",
        "gradient",
        "bools",
        "numbers in texts",
        "beyond every float",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="no array of real numbers"):
        truncate(wrong)


def test_it_goes_by_no_setting_of_numpy():
    rows = ROWS.copy()
    rows[:, 3] = 1e-30
    wide = rows.astype(np.float64)
    wide[7, 5] = 1e300
    with np.errstate(all="raise"):
        cut = truncate(rows)
        with pytest.raises(NonFiniteError) as caught:
            truncate(wide, first_row=100)
    np.testing.assert_array_equal(cut, truncate(rows))
    assert caught.value.rows == (107,)
