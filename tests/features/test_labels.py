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


@given(closes, st.integers(1, 4), st.integers(1, 6), st.sampled_from([0.0, 0.5, 2.0]))
def test_volatility_thresholds_agree_with_a_plain_loop(close, horizon, window, factor):
    labels = direction_labels(close, "volatility", horizon, window=window, factor=factor)
    for t in range(len(close)):
        if t < window or t + horizon >= len(close):
            assert labels[t] == -1
            continue
        returns = np.diff(np.log(close[t - window : t + 1]))
        limit = factor * np.sqrt(horizon) * np.sqrt((returns**2).mean())
        move = close[t + horizon] / close[t] - 1.0
        if abs(abs(move) - limit) > 1e-12:
            assert labels[t] == (0 if move < -limit else 2 if move > limit else 1)


@given(st.integers(1, 4), st.integers(3, 12), st.floats(0.01, 0.49))
def test_trailing_quantiles_agree_with_a_plain_loop(horizon, window, share):
    close = 1.0 + np.random.default_rng(window).random(60)
    labels = direction_labels(close, "quantile", horizon, window=window, share=share)
    moves = forward_returns(close, horizon)
    for t in range(60):
        known = moves[: max(t - horizon + 1, 0)][-window:]  # outcomes that close t has shown
        if len(known) < window or np.isnan(moves[t]):
            assert labels[t] == -1
            continue
        ordered, rank = np.sort(known), min(int(share * window), (window - 1) // 2)
        assert labels[t] == (0 if moves[t] < ordered[rank] else 2 if moves[t] > ordered[-1 - rank] else 1)


def test_quantiles_of_the_training_part_balance_it_and_never_see_the_rest():
    close = synthetic_market(2000, random_state=0).close
    labels = direction_labels(close, "quantile", 3, n_train=1500)
    np.testing.assert_allclose(np.bincount(labels[:1497]) / 1497, 1 / 3, atol=0.002)
    assert (labels[:1997] >= 0).all()
    changed = close.copy()
    changed[1500:] *= 1.5
    assert (direction_labels(changed, "quantile", 3, n_train=1500)[:1497] == labels[:1497]).all()


@pytest.mark.parametrize("options", [{"threshold": "volatility"}, {"threshold": "quantile"}])
def test_learned_thresholds_never_change_a_known_label_and_balance_the_classes(options):
    close = synthetic_market(3000, random_state=0).close
    whole = direction_labels(close, **options)
    for n in (700, 1500, 2999):
        part = direction_labels(close[:n], **options)
        assert (part[: n - 1] == whole[: n - 1]).all()
        assert part[-1] == -1
    shares = np.bincount(whole[whole >= 0]) / (whole >= 0).sum()
    assert ((shares > 0.2) & (shares < 0.5)).all()


def test_constant_prices_are_flat_under_every_threshold():
    for options in ({}, {"threshold": "volatility", "window": 3}, {"threshold": "quantile", "window": 3}):
        labels = direction_labels([5.0] * 12, **options)
        assert set(labels) <= {-1, 1}
        assert (labels == 1).sum() >= 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold": "fixed"}, "'volatility' or 'quantile'; got 'fixed'"),
        ({"threshold": "volatility", "window": 0}, "window must be at least 1"),
        ({"threshold": "volatility", "factor": -1.0}, "factor must be"),
        ({"threshold": "volatility", "factor": np.nan}, "factor must be"),
        ({"threshold": "quantile", "share": 0.5}, "share must lie between"),
        ({"threshold": "quantile", "n_train": 1}, r"2 \.\. 4; got 1"),
        ({"threshold": "quantile", "n_train": 5}, "got 5"),
        ({"n_train": 3}, "n_train belongs to"),
    ],
)
def test_bad_options_of_thresholds_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        direction_labels([1.0, 2.0, 1.0, 2.0], **options)


@pytest.mark.parametrize("threshold", ["0.001", -0.001, np.nan, np.inf, None, True, [0.001]])
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
