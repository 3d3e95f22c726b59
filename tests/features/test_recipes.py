import json

import numpy as np
import pytest
from hypothesis import given, settings
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


RICH = FeatureSet("rich", horizons=(2, 5), windows=(3, 4), volume_window=3)
SHORT = [FeatureSet("regime3", window=3), FeatureSet("condense6", window=2), RICH]


@given(candles(), st.sampled_from(SHORT))
def test_rows_of_windows_are_finite_whatever_the_candles(some, features):
    X, known_at_ms = features.transform(some)
    assert X.shape == (max(len(some) - features.n_warmup, 0), len(features.names))
    assert known_at_ms.shape == X.shape[:1]
    assert np.isfinite(X).all()
    for column, name in enumerate(features.names):
        if name.startswith(("volatility", "parkinson", "garman_klass", "log_range", "upper_", "lower_")):
            assert (X[:, column] >= 0).all(), name
        if name.startswith(("body", "upper_", "lower_", "time_")):
            assert (np.abs(X[:, column]) <= 1 + 1e-15).all(), name
        if name == "volume_ratio":
            assert ((X[:, column] >= 0) & (X[:, column] <= features.options["window"] + 1e-12)).all()


ALL = [
    *(FeatureSet("ohlcv4", volume_change=way) for way in ("clip", "log1p", "raw")),
    *(FeatureSet(name) for name in ("regime3", "condense6", "rich")),
    RICH,
]
every_recipe = pytest.mark.parametrize("features", ALL, ids=repr)


@every_recipe
@settings(max_examples=30)
@given(n=st.integers(0, 300))
def test_a_prefix_gives_the_same_rows_bit_for_bit(features, n):
    whole, whole_known = features.transform(MARKET)
    X, known_at_ms = features.transform(MARKET[:n])
    rows = max(n - features.n_warmup, 0)
    assert X.tobytes() == whole[:rows].tobytes()
    assert known_at_ms.tobytes() == whole_known[:rows].tobytes()


@every_recipe
@settings(max_examples=30)
@given(begin=st.integers(0, 249))
def test_the_beginning_of_history_does_not_matter_bit_for_bit(features, begin):
    whole, _ = features.transform(MARKET)
    assert features.transform(MARKET[begin:])[0].tobytes() == whole[begin:].tobytes()


@every_recipe
def test_the_same_at_other_speeds_of_time_and_at_every_length(features):
    whole, known_at_ms = features.transform(MARKET)
    assert len(features.names) == len(set(features.names)) == whole.shape[1]
    np.testing.assert_array_equal(known_at_ms, MARKET.start_ms[features.n_warmup :] + 300_000)
    assert features.transform(MARKET[: features.n_warmup])[0].shape == (0, len(features.names))
    assert features.transform(MARKET[: features.n_warmup + 1])[0].tobytes() == whole[:1].tobytes()


def naive_rich(candles, t, horizons, windows, volume_window):
    """The definitions, term by term, in plain floats."""
    o, high, low, c, v = (getattr(candles, name) for name in ("open", "high", "low", "close", "volume"))
    row = [np.log(c[t] / c[t - k]) for k in horizons]
    row += [(c[t] - o[t]) / (high[t] - low[t]), (high[t] - max(o[t], c[t])) / (high[t] - low[t])]
    row += [(min(o[t], c[t]) - low[t]) / (high[t] - low[t])]
    for w in windows:
        last = slice(t - w + 1, t + 1)
        spans, bodies = np.log(high[last] / low[last]), np.log(c[last] / o[last])
        row += [np.sqrt(np.mean(np.log(c[last] / c[t - w : t]) ** 2)), np.sqrt(np.mean(spans**2) / (4 * np.log(2)))]
        row += [np.sqrt(np.mean(0.5 * spans**2 - (2 * np.log(2) - 1) * bodies**2))]
    logs = np.log1p(v[t - volume_window + 1 : t + 1])
    hour = (candles.start_ms[t] % 86_400_000) / 86_400_000 * 2 * np.pi
    return [
        *row,
        np.log1p(v[t]) - np.log1p(v[t - 1]),
        (logs[-1] - logs.mean()) / logs.std(),
        np.sin(hour),
        np.cos(hour),
    ]


def test_rich_follows_its_definitions():
    X, _ = FeatureSet("rich").transform(MARKET)
    expected = [naive_rich(MARKET, t, (1, 3, 12, 48), (12, 48), 48) for t in range(48, 300)]
    np.testing.assert_allclose(X, expected, rtol=1e-5, atol=2e-6)  # log volumes are counted in units of 1e-6
    assert X.shape == (252, 17)


def test_regime3_and_condense6_follow_their_definitions():
    X, _ = FeatureSet("regime3", window=5).transform(MARKET)
    o, high, low, c, v = (getattr(MARKET, name) for name in ("open", "high", "low", "close", "volume"))
    expected = [
        [(c[t] - o[t]) / o[t], (high[t] - low[t]) / o[t], v[t] / v[t - 4 : t + 1].mean()] for t in range(4, 300)
    ]
    np.testing.assert_allclose(X, expected, rtol=1e-12)
    X, _ = FeatureSet("condense6", window=5).transform(MARKET)
    returns = np.r_[np.nan, np.diff(np.log(c))]
    for t in (5, 17, 299):
        expected = [returns[t], np.log(high[t] / high[t - 1]), np.log(low[t] / low[t - 1])]
        expected += [
            np.sqrt((returns[t - 4 : t + 1] ** 2).mean()),
            v[t] / v[t - 4 : t + 1].mean(),
            np.log(high[t] / low[t]),
        ]
        np.testing.assert_allclose(X[t - 5], expected, rtol=1e-6, atol=1e-12)


def test_zero_volume_and_flat_candles():
    ones = np.ones(60)
    still = Candles(60_000 * np.arange(60), ones, ones, ones, ones, 0 * ones)
    X = dict(zip(FeatureSet("rich").names, FeatureSet("rich").transform(still)[0].T))
    assert all((column == 0).all() for name, column in X.items() if not name.startswith("time"))
    assert FeatureSet("regime3").transform(still)[0][-1].tolist() == [0, 0, 1]
    assert FeatureSet("condense6").transform(still)[0][-1].tolist() == [0, 0, 0, 0, 1, 0]


def test_other_symbols_are_taken_as_of_each_candle():
    features = FeatureSet("rich", horizons=(1, 2), windows=(2,), volume_window=2, symbols=("ETH",))
    assert features.names[-2:] == ("ETH_return_1", "ETH_return_2")
    eth = synthetic_market(300, random_state=1)
    X, _ = features.transform(MARKET, {"ETH": eth})
    assert (
        X[:, :-2].tobytes() == FeatureSet("rich", **{**features.options, "symbols": ()}).transform(MARKET)[0].tobytes()
    )
    np.testing.assert_allclose(X[:, -2], np.diff(np.log(eth.close))[1:], atol=1e-15)
    keep = np.ones(300, dtype=bool)
    keep[50:53] = False  # these are missing: the last close counts on
    columns = [getattr(eth, name)[keep] for name in ("start_ms", "open", "high", "low", "close", "volume")]
    Y, _ = features.transform(MARKET, {"ETH": Candles(*columns)})
    assert (Y[48:51, -2] == 0).all()
    assert Y[51, -2] == pytest.approx(np.log(eth.close[53] / eth.close[49]))
    assert Y[:48].tobytes() == X[:48].tobytes()
    later = eth[:100]  # candles of the other symbol that come later change nothing
    assert features.transform(MARKET[:100], {"ETH": later})[0].tobytes() == X[:98].tobytes()
    assert features.transform(MARKET[:100], {"ETH": eth})[0].tobytes() == X[:98].tobytes()
    with pytest.raises(ValueError, match="pass others="):
        features.transform(MARKET)
    with pytest.raises(ValueError, match="begin both at the later time"):
        features.transform(MARKET, {"ETH": eth[3:]})
    with pytest.raises(ValueError, match="same interval, 5m; got 1h"):
        features.transform(MARKET, {"ETH": synthetic_market(9, random_state=1, interval="1h")})


@every_recipe
def test_fit_scales_by_the_training_part_alone(features):
    fitted = FeatureSet(features.name, **features.options).fit(MARKET[:150])
    again = FeatureSet(features.name, **features.options).fit(MARKET[:150])
    raw, _ = features.transform(MARKET)
    X, _ = fitted.transform(MARKET)
    n_train = 150 - features.n_warmup
    assert X.tobytes() == again.scaler_.transform(raw).tobytes()
    if features.name == "regime3":
        assert (X[:n_train].min(axis=0) == 0).all()
        assert (X[:n_train].max(axis=0) == 1).all()
        assert X.max() > 1  # later rows may leave the range
    else:
        np.testing.assert_allclose(X[:n_train].mean(axis=0), 0, atol=1e-9)
    assert fitted.fit(MARKET[:150]).transform(MARKET)[0].tobytes() == X.tobytes()  # not fitted on scaled rows


@every_recipe
def test_a_saved_feature_set_gives_the_same_bits(features):
    for original in (features, FeatureSet(features.name, **features.options).fit(MARKET[:150])):
        saved = json.loads(json.dumps(original.to_dict()))
        again = FeatureSet.from_dict(saved)
        assert again.to_dict() == saved
        assert again.transform(MARKET)[0].tobytes() == original.transform(MARKET)[0].tobytes()


def test_damaged_scalers_are_refused():
    saved = FeatureSet("regime3").fit(MARKET).to_dict()
    for scaler, says in [
        ({"offset": [0.0], "scale": [1.0]}, "1 columns"),
        ({"offset": [0.0] * 3, "scale": [1.0, 0.0, 1.0]}, "positive scale"),
        ({"offset": [float("nan")] * 3, "scale": [1.0] * 3}, "finite offset"),
    ]:
        with pytest.raises(ValueError, match=says):
            FeatureSet.from_dict({**saved, "scaler": scaler})
    with pytest.raises(ValueError, match="no row to fit on"):
        FeatureSet("rich").fit(MARKET[:48])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"horizons": ()}, "at least one"),
        ({"horizons": (0,)}, "1 .. 1024; got 0"),
        ({"windows": (3, 3)}, "each once"),
        ({"windows": (2000,)}, "got 2000"),
        ({"volume_window": 2.5}, r"got 2\.5"),
    ],
)
def test_wrong_windows_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        FeatureSet("rich", **options)
    with pytest.raises(TypeError, match="tuple of names"):
        FeatureSet("rich", symbols="ETH")


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
        features.transform(MARKET.to_frame().to_numpy())


def test_a_scaler_of_one_interval_scales_no_other():
    fine = synthetic_market(900, random_state=0, interval="5m")
    fitted = FeatureSet("rich").fit(fine)
    assert len(fitted.transform(fine)[0])
    with pytest.raises(ValueError, match=r"fitted on candles of 5m; these are of 1h"):
        fitted.transform(fine.resample("1h"))
