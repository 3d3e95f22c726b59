"""Value at risk, expected shortfall and coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fastkd.evaluation import coverage, expected_shortfall, value_at_risk

LOSSES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
LEVELS = st.floats(0.01, 0.99)


@given(LOSSES, LEVELS)
def test_value_at_risk_is_the_smallest_loss_with_its_share_at_or_below(losses, level):
    found = value_at_risk(losses, level)
    losses = np.array(losses)
    assert found in losses
    assert (losses <= found).mean() >= level - 1e-9
    assert (losses < found).mean() < level + 1e-9


@given(LOSSES, LEVELS)
def test_expected_shortfall_minimizes_the_function_of_rockafellar_and_uryasev(losses, level):
    """ES = min over v of v + mean(max(loss - v, 0)) / (1 - level), and the minimum is at the value at risk."""
    losses = np.array(losses)

    def objective(v):
        return v + np.maximum(losses - v, 0).mean() / (1 - level)

    scale = 1e-6 + np.abs(losses).max()
    found = expected_shortfall(losses, level)
    assert abs(found - min(objective(v) for v in losses)) <= 1e-9 * scale / (1 - level)
    assert value_at_risk(losses, level) <= found + 1e-9 * scale <= losses.max() + 2e-9 * scale


def test_hand_values():
    assert value_at_risk([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert expected_shortfall([3.0, 1.0, 2.0, 4.0], 0.5) == 3.5
    assert expected_shortfall([3.0, 1.0, 2.0, 4.0], 0.6) == pytest.approx((4.0 + 0.6 * 3.0) / 1.6)
    assert value_at_risk([7.0]) == expected_shortfall([7.0]) == 7.0


def test_coverage_tells_a_right_forecast_from_a_wrong_one():
    rng = np.random.default_rng(0)
    losses, right = rng.normal(size=5000), np.full(5000, 2.326)
    found = coverage(losses, right)
    assert found.expected == pytest.approx(50)
    assert found.p_value > 0.05
    assert found.p_value == pytest.approx(binomtest(found.exceeded, 5000, 0.01).pvalue, abs=0.1)
    assert coverage(losses, 0.8 * right).p_value < 1e-3 > coverage(losses, 1.5 * right).p_value
    assert coverage([1.0, 2.0], [3.0, 3.0]).exceeded == 0
    assert coverage([1.0, 2.0], [0.0, 0.0]).p_value < 0.01


@pytest.mark.parametrize("call", [value_at_risk, expected_shortfall, lambda x, level: coverage(x, x, level)])
def test_bad_arguments_are_named(call):
    for losses in ([], [[1.0]], [1.0, np.nan], [np.inf]):
        with pytest.raises(ValueError, match="losses"):
            call(losses, 0.9)
    with pytest.raises(TypeError, match="losses"):
        call(["a"], 0.9)
    for level in (0.0, 1.0, 2.0, np.nan):
        with pytest.raises(ValueError, match="level"):
            call([1.0], level)
    with pytest.raises(ValueError, match="same length"):
        coverage([1.0, 2.0], [1.0])
