import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import FeatureSet, windows
from fastkd.market import synthetic_market


@given(st.integers(0, 12), st.integers(1, 6), st.integers(1, 15))
def test_each_window_ends_with_its_row(rows, features, steps):
    X = np.arange(rows * features, dtype=np.float32).reshape(rows, features)
    W = windows(X, steps)
    assert W.shape == (max(rows - steps + 1, 0), steps, features)
    assert W.dtype == np.float32
    for i, window in enumerate(W):
        assert (window == X[i : i + steps]).all()


def test_a_window_is_known_when_its_last_row_is():
    market = synthetic_market(60, random_state=0)
    X, known_at_ms = FeatureSet("ohlcv4").transform(market)
    W = windows(X, 8)
    assert len(W) == len(known_at_ms[7:])
    early = windows(FeatureSet("ohlcv4").transform(market[:40])[0], 8)
    assert early.tobytes() == W[: len(early)].tobytes()


def test_it_is_a_view_that_cannot_be_written():
    X = np.zeros((1000, 3))
    W = windows(X, 100)
    assert np.shares_memory(X, W)
    with pytest.raises(ValueError, match="read-only"):
        W[0, 0, 0] = 1


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        windows([[1.0]], 0)
    with pytest.raises(ValueError, match=r"two-dimensional .* got shape \(2,\)"):
        windows([1.0, 2.0], 1)
