import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import FeatureSet
from fastkd.market import CandleError, Candles, synthetic_market

MARKET = synthetic_market(300, random_state=0)


@st.composite
def candles(draw, max_size=12):
    n = draw(st.integers(0, max_size))
    price = st.floats(0.5, 2.0)
    o, c = (np.array(draw(st.lists(price, min_size=n, max_size=n))) for _ in range(2))
    up, down = (np.array(draw(st.lists(st.sampled_from([0.0, 0.1, 0.3]), min_size=n, max_size=n))) for _ in range(2))
    volume = draw(st.lists(st.sampled_from([0.0, 5e-324, 1e-3, 1.0, 7.0, 1e300]), min_size=n, max_size=n))
    same = draw(st.booleans())  # candles without any range
    c = o if same else c
    return Candles(60_000 * np.arange(n), o, np.maximum(o, c) + up, np.minimum(o, c) - down, c, volume, interval="1m")


@given(candles(), st.sampled_from(["clip", "log1p", "raw"]))
def test_every_row_is_finite_and_in_bounds(some, volume_change):
    X, known_at_ms = FeatureSet("ohlcv4", volume_change=volume_change).transform(some)
    rows = max(len(some) - 1, 0)
    assert X.shape == (rows, 4)
    assert X.dtype == np.float64
    assert known_at_ms.shape == (rows,)
    assert known_at_ms.dtype == np.int64
    assert np.isfinite(X).all()
    assert ((X[:, 1:3] >= 0) & (X[:, 1:3] <= 1)).all()
    upper_limit = {"clip": 10.0, "log1p": np.log1p(10.0), "raw": np.inf}[volume_change]
    assert ((X[:, 3] >= 0) & (X[:, 3] <= upper_limit)).all()


@given(st.integers(0, 300), st.sampled_from(["clip", "log1p", "raw"]))
def test_a_prefix_gives_the_same_rows_bit_for_bit(n, volume_change):
    features = FeatureSet("ohlcv4", volume_change=volume_change)
    whole, whole_known = features.transform(MARKET)
    X, known_at_ms = features.transform(MARKET[:n])
    assert X.tobytes() == whole[: max(n - 1, 0)].tobytes()
    assert known_at_ms.tobytes() == whole_known[: max(n - 1, 0)].tobytes()


def test_hand_values():
    #                           open  high  low  close  volume
    rows = np.array([[10, 12, 9, 11, 4], [10, 14, 9, 12, 6], [8, 8, 8, 8, 3], [8, 9, 4, 5, 0], [5, 5, 5, 5, 0.0]])
    candles = Candles(300_000 * np.arange(5), *rows.T)
    X, known_at_ms = FeatureSet("ohlcv4").transform(candles)
    expected = [[0.2, 0.4, 0.4, 1.5], [0.0, 0.0, 0.0, 0.5], [-0.375, 0.6, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_allclose(X, expected, rtol=1e-15)
    assert known_at_ms.tolist() == [600_000, 900_000, 1_200_000, 1_500_000]


@pytest.mark.parametrize(("volume_change", "expected"), [("clip", 10.0), ("log1p", np.log(11)), ("raw", 50.0)])
def test_a_jump_of_volume(volume_change, expected):
    ones = np.ones(3)
    candles = Candles([0, 60_000, 120_000], ones, ones, ones, ones, [0.0, 2.0, 100.0])
    X, _ = FeatureSet("ohlcv4", volume_change=volume_change).transform(candles)
    assert X[1, 3] == pytest.approx(expected, rel=1e-15)
    assert X[0, 3] == pytest.approx(np.log(11) if volume_change == "log1p" else 10.0)  # after no volume


def test_names_and_warm_up():
    features = FeatureSet("ohlcv4")
    assert features.names == ("return", "body_ratio", "upper_shadow", "volume_change")
    assert features.n_warmup == 1
    assert repr(FeatureSet("ohlcv4", volume_change="raw")) == "FeatureSet('ohlcv4', volume_change='raw')"


def test_wrong_names_and_options_are_refused():
    with pytest.raises(ValueError, match="'nope'; there is 'ohlcv4'"):
        FeatureSet("nope")
    with pytest.raises(ValueError, match="'clip', 'log1p' or 'raw'; got 'sqrt'"):
        FeatureSet("ohlcv4", volume_change="sqrt")
    with pytest.raises(TypeError, match="volume_chance"):
        FeatureSet("ohlcv4", volume_chance="raw")


def test_unusable_candles_are_refused():
    ones = np.ones(3)
    features = FeatureSet("ohlcv4")
    with pytest.raises(CandleError, match=r"row 2 .*earlier"):
        features.transform(Candles([0, 120_000, 60_000], ones, ones, ones, ones, ones))
    with pytest.raises(CandleError, match=r"row 1 .*close is not a positive"):
        features.transform(Candles([0, 60_000, 120_000], ones, ones, ones, [1.0, np.nan, 1.0], ones))
    with pytest.raises(TypeError, match="from_frame"):
        features.transform(MARKET.to_frame())
