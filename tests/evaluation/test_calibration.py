"""Temperature scaling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.evaluation import fit_temperature, log_loss
from fastkd.losses import softmax


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 20.0), st.integers(2, 5), st.integers(0, 2**31))
def test_it_minimizes_the_log_loss(factor, classes, seed):
    rng = np.random.default_rng(seed)
    z = 2.0 * rng.normal(size=(400, classes))
    y = (rng.random((400, 1)) > np.cumsum(softmax(z), axis=1)[:, :-1]).sum(axis=1)
    best = fit_temperature(factor * z, y)
    at = log_loss(y, softmax(factor * z, best))
    for other in (0.97, 1.03):
        assert at <= log_loss(y, softmax(factor * z, other * best)) + 1e-12
    assert best == pytest.approx(factor * fit_temperature(z, y), rel=1e-6)
    assert best == pytest.approx(factor, rel=0.5)


def test_the_ends_of_the_range():
    z = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(z, [0, 1]) == pytest.approx(1e-3)
    assert fit_temperature(z, [1, 0]) == pytest.approx(1e3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="logits must be finite"):
        fit_temperature([[np.inf, 0.0]], [0])
    with pytest.raises(ValueError, match="logits must be finite"):
        fit_temperature(np.zeros((0, 2)), [])
    with pytest.raises(ValueError, match="same rows"):
        fit_temperature([[1.0, 0.0]], [0, 1])
