"""Intervals and tests: what they must say where the right answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from f2llm_core import ConfigurationError
from f2llm_core.evaluation import Resampling, statistics
from f2llm_core.evaluation.statistics import holm, number_groups

ALONE = np.arange(400)


def draw(count=400, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, 1))


def test_an_interval_is_that_of_the_normal_distribution():
    values = draw()
    [low], [high] = Resampling(resamples=4000).intervals(values, ALONE)
    error = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - error, abs=error / 10)
    assert high == pytest.approx(values.mean() + error, abs=error / 10)


def test_confidence_widens_it():
    narrow, wide = (Resampling(confidence=c).intervals(draw(), ALONE) for c in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_same_query_ten_times_is_one_observation():
    values = draw(40)
    groups = np.arange(40)
    once = Resampling().intervals(values, groups)
    often = Resampling().intervals(np.repeat(values, 10, axis=0), np.repeat(groups, 10))
    np.testing.assert_allclose(once, often)
    apart = Resampling().intervals(np.repeat(values, 10, axis=0), np.arange(400))
    assert (apart[1] - apart[0]) < (once[1] - once[0]) / 2


def test_groups_of_unequal_size_weigh_by_their_queries():
    values = np.array([[1.0]] * 9 + [[0.0]])
    low, high = Resampling().intervals(values, np.array([0] * 9 + [1]))
    assert (low, high) == ([0.0], [1.0])
    assert Resampling().intervals(values[:9], np.arange(9)) == ([1.0], [1.0])


def test_a_seed_decides_however_much_is_held_at_a_time(monkeypatch):
    values = draw()
    first = (
        Resampling(seed=3).intervals(values, ALONE),
        Resampling(seed=3).p_value(values[:, 0] - 0.48, ALONE),
    )
    monkeypatch.setattr(statistics, "_CELLS", 7 * 400)
    again = (
        Resampling(seed=3).intervals(values, ALONE),
        Resampling(seed=3).p_value(values[:, 0] - 0.48, ALONE),
    )
    assert first == again
    assert Resampling(seed=4).intervals(values, ALONE) != first[0]


def test_a_p_value_is_the_share_of_all_signs():
    differences = np.array([0.9, 0.4, -0.1, 0.3, 0.2])
    signs = np.array(list(product([1, -1], repeat=5)))
    exact = (abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    found = Resampling(resamples=20_000).p_value(differences, np.arange(5))
    assert found == pytest.approx(exact, abs=0.01)
    assert Resampling().p_value(np.zeros(5), np.arange(5)) == 1.0
    assert Resampling().p_value(np.ones(40), np.arange(40)) == pytest.approx(1 / 1001)
    assert Resampling().p_value(np.ones(40), np.zeros(40, int)) == 1.0  # one observation


def test_a_p_value_that_will_be_corrected_is_drawn_more_often():
    alone, of_many = (Resampling().p_value(np.ones(40), np.arange(40), tests=n) for n in (1, 50))
    assert of_many == pytest.approx(1 / 50_001)
    assert max(holm([of_many] * 50)) < alone * 1.001  # as small as if it were the only one


def test_holms_correction():
    # By hand: 4 x 0.01, then 3 x 0.02, 2 x 0.03 and 0.04, none below the one before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.001, 0.9]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"resamples": 0}, {"confidence": 1.0}, {"confidence": 95}]
)
def test_what_is_no_resampling(wrong):
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}=.*: expected a"):
        Resampling(**wrong)


def test_groups_by_name():
    assert number_groups(["b", "a", "b"]).tolist() == [0, 1, 0]
