import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import Direction, direction_labels, forward_returns
from fastkd.market import synthetic_market

closes = st.lists(st.floats(0.5, 2.0), max_size=20)


@given(closes, st.integers(1, 25), st.sampled_from([0.0, 0.001, 0.5]))
def test_labels_and_returns_agree_with_a_plain_loop(close, horizon, threshold):
    returns = forward_returns(close, horizon)
    labels = direction_labels(close, threshold, horizon)
    assert len(returns) == len(labels) == len(close)
    assert labels.dtype == np.int64
    for t, now in enumerate(close):
        if t + horizon >= len(close):
            assert np.isnan(returns[t])
            assert labels[t] == -1
        else:
            move = close[t + horizon] / now - 1.0
            assert returns[t] == move
            assert labels[t] == (0 if move < -threshold else 2 if move > threshold else 1)


@given(closes, closes)
def test_a_known_label_never_changes_when_candles_are_added(close, more):
    known = direction_labels(close)[:-1]
    assert (direction_labels(close + more)[: len(known)] == known).all()


def test_hand_values():
    assert direction_labels([100, 100.2, 100.2, 100.0, 50.0]).tolist() == [2, 1, 0, 0, -1]
    assert direction_labels([1.0, 1.5, 0.75], threshold=0.5).tolist() == [1, 1, -1]  # a move of the threshold is FLAT
    assert direction_labels([1.0, 9.0, 2.0, 9.0], horizon=2).tolist() == [2, 1, -1, -1]
    assert (Direction.DOWN, Direction.FLAT, Direction.UP) == (0, 1, 2)


def test_candles_arrays_and_series_are_alike():
    market = synthetic_market(50, random_state=0)
    expected = direction_labels(market)
    for close in (market.close, pd.Series(market.close, index=range(50, 0, -1)), market.close.tolist()):
        assert (direction_labels(close) == expected).all()


def test_the_input_stays_as_it_was():
    close = np.array([3, 2, 1])
    forward_returns(close)
    assert close.tolist() == [3, 2, 1]


@pytest.mark.parametrize("threshold", ["volatility", "0.001", -0.001, np.nan, np.inf, None, True, [0.001]])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="finite number >= 0"):
        direction_labels([1.0, 2.0], threshold)


def test_other_arguments_are_refused():
    with pytest.raises(ValueError, match="row 1 is nan"):
        direction_labels([1.0, np.nan])
    with pytest.raises(ValueError, match=r"row 0 is 0\.0"):
        forward_returns([0.0, 1.0])
    with pytest.raises(ValueError, match="horizon must be at least 1 row; got 0"):
        forward_returns([1.0], 0)
    with pytest.raises(TypeError):
        forward_returns([1.0], 1.5)
    with pytest.raises(TypeError, match="real numbers"):
        forward_returns(["1"])
    with pytest.raises(ValueError, match="one dimension"):
        forward_returns([[1.0]])
