import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import triple_barrier_labels
from fastkd.market import Candles, synthetic_market

MARKET = synthetic_market(400, random_state=0)


def plain(candles, t, horizon, above, below):
    """(label, end) of one row, candle by candle."""
    for s in range(t + 1, t + horizon + 1):
        if s >= len(candles):
            return -1, -1
        high, low = candles.high[s] >= above, candles.low[s] <= below
        if high and low:
            return -1, -1
        if high or low:
            return (2 if high else 0), s
    return 1, t + horizon


@given(st.integers(1, 12), st.floats(0.0005, 0.01), st.floats(0.0005, 0.01), st.integers(1, 80))
def test_agrees_with_a_plain_loop(horizon, up, down, n):
    candles = MARKET[:n]
    labels, end = triple_barrier_labels(candles, horizon, up=up, down=down, unit="fraction", return_end=True)
    expected = [plain(candles, t, horizon, c * (1 + up), c * (1 - down)) for t, c in enumerate(candles.close)]
    assert list(zip(labels.tolist(), end.tolist())) == expected


def test_distances_in_volatility_use_closed_candles_alone():
    horizon, window = 6, 20
    labels, end = triple_barrier_labels(MARKET, horizon, up=1.5, down=0.5, window=window, return_end=True)
    assert (labels[:window] == -1).all()
    returns = np.diff(np.log(MARKET.close))
    for t in range(window, 400):
        size = np.sqrt(horizon) * np.sqrt((returns[t - window : t] ** 2).mean())
        c = MARKET.close[t]
        assert (labels[t], end[t]) == plain(MARKET, t, horizon, c * (1 + 1.5 * size), c * (1 - 0.5 * size))
    assert set(labels) == {-1, 0, 1, 2}


@given(st.integers(21, 400))
def test_a_known_label_never_changes_when_candles_are_added(n):
    part, whole = (triple_barrier_labels(candles, 8, window=20) for candles in (MARKET[:n], MARKET))
    known = part >= 0
    assert (part[known] == whole[:n][known]).all()
    _, end = triple_barrier_labels(MARKET, 8, window=20, return_end=True)
    decided = (end[:n] >= 0) & (end[:n] < n)
    assert (known == decided).all()  # known exactly when the deciding candle has closed


def test_one_candle_across_both_barriers_decides_nothing():
    ones = np.ones(3)
    candles = Candles([0, 1, 2], ones, [1, 2, 1], [1, 0.5, 1], ones, ones)
    assert triple_barrier_labels(candles, 2, up=0.1, down=0.1, unit="fraction").tolist() == [-1, -1, -1]


def test_without_volatility_there_is_no_label():
    ones = np.ones(9)
    assert (triple_barrier_labels(Candles(range(9), ones, ones, ones, ones, ones), 2, window=3) == -1).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"horizon": 1, "up": 0.0}, "up must be a positive"),
        ({"horizon": 1, "down": np.inf}, "down must be a positive"),
        ({"horizon": 1, "unit": "ticks"}, "'volatility' or 'fraction'; got 'ticks'"),
        ({"horizon": 1, "window": 0}, "window must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        triple_barrier_labels(MARKET, **options)
