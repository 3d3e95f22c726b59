"""Accuracy against coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.evaluation import selective_curve


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 2**31))
def test_each_point_is_the_accuracy_over_the_rows_up_to_its_threshold(n, classes, seed):
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.ones(classes), size=n), rng.integers(classes, size=n)
    unsure = rng.integers(0, 5, n) / 4.0
    curve = selective_curve(y, p, unsure)
    hits = p.argmax(axis=1) == y
    for coverage, accuracy, threshold in zip(curve.coverage, curve.accuracy, curve.threshold, strict=True):
        inside = unsure <= threshold
        assert coverage == inside.mean()
        assert accuracy == pytest.approx(hits[inside].mean())
    assert curve.coverage[-1] == 1.0
    assert (np.diff(curve.threshold) > 0).all()


def test_an_oracle_gains_and_a_constant_does_not():
    p = np.tile([0.8, 0.2], (10, 1))
    y = np.array([0] * 7 + [1] * 3)
    oracle = selective_curve(y, p, y.astype(float))
    assert oracle.at(0.7) == oracle.at(0.1) == 1.0
    assert oracle.at(1.0) == pytest.approx(0.7)
    assert oracle.gain == pytest.approx(0.7 + 0.3 * 0.7 - 0.7)
    constant = selective_curve(y, p)
    assert constant.coverage.tolist() == [1.0]
    assert constant.gain == 0.0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="uncertainty"):
        selective_curve([0, 1], [[0.5, 0.5]] * 2, [0.1])
    with pytest.raises(ValueError, match="no NaN"):
        selective_curve([0], [[0.5, 0.5]], [np.nan])
    with pytest.raises(ValueError, match="coverage"):
        selective_curve([0], [[0.5, 0.5]]).at(0.0)
