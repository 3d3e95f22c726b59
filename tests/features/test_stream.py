"""One candle at a time gives the bits of the whole table, also across gaps, restarts and without volume."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd import reference
from fastkd.features import FeatureSet
from fastkd.market import CandleError, Candles, synthetic_market

MARKET = synthetic_market(260, random_state=0)
RICH = FeatureSet("rich", horizons=(2, 5), windows=(3, 4), volume_window=3)
ALL = [
    *(FeatureSet("ohlcv4", volume_change=way) for way in ("clip", "log1p", "raw")),
    *(FeatureSet(name) for name in ("regime3", "condense6", "rich")),
    *(FeatureSet(name).fit(MARKET[:120]) for name in ("ohlcv4", "regime3", "condense6", "rich")),
    RICH,
]
every_recipe = pytest.mark.parametrize("features", ALL, ids=lambda f: f"{f!r}{'+scaler' * hasattr(f, 'scaler_')}")


def streamed(features, candles):
    stream = features.stream()
    rows = [stream.push(candle) for candle in candles]
    assert all(row is None for row in rows[: features.n_warmup])
    return np.array(rows[features.n_warmup :]).reshape(-1, len(features.names))


@st.composite
def rough_candles(draw):
    """Gaps, candles without volume or range, and wild prices."""
    n = draw(st.integers(0, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = 60_000 * np.cumsum(rng.choice([1, 1, 1, 2, 500], n))
    price = np.exp(rng.choice([1e-9, 1e-3, 1.0, 30.0]) * rng.standard_normal((2, n)))
    o, c = price if draw(st.booleans()) else (price[0], price[0])
    up, down = rng.choice([1.0, 1.0 + 1e-15, 1.001, 3.0], (2, n))
    volume = rng.choice([0.0, 5e-324, 1e-3, 7.7, 1e9, 1e300], n)
    return Candles(start, o, np.maximum(o, c) * up, np.minimum(o, c) / down, c, volume, interval="1m")


@every_recipe
def test_the_rows_of_the_batch_bit_for_bit(features):
    assert streamed(features, MARKET).tobytes() == features.transform(MARKET)[0].tobytes()


@settings(max_examples=150)
@given(
    rough_candles(),
    st.sampled_from([*ALL[:3], RICH, FeatureSet("regime3", window=3), FeatureSet("condense6", window=2)]),
)
def test_gaps_and_odd_candles_as_in_the_batch(candles, features):
    assert streamed(features, candles).tobytes() == features.transform(candles)[0].tobytes()


@every_recipe
@settings(max_examples=15)
@given(cut=st.integers(0, 120))
def test_a_restored_stream_goes_on_bit_for_bit(features, cut):
    first = features.stream(interval="5m")
    for candle in MARKET[:cut]:
        first.push(candle)
    saved = json.loads(json.dumps(first.state()))
    second = FeatureSet.from_dict(saved["features"]).stream(saved)
    assert second.state() == saved
    for candle in MARKET[cut : cut + 60]:
        one, two = first.push(candle), second.push(candle)
        assert (one is None and two is None) or one.tobytes() == two.tobytes()
        assert first.known_at_ms == second.known_at_ms == candle.start_ms + 300_000


@settings(max_examples=40)
@given(rough_candles(), st.booleans())
def test_streamed_rows_are_those_of_the_definition(candles, scaled):
    features = FeatureSet("rich", horizons=(1, 4), windows=(2, 5), volume_window=4, symbols=("ETH",))
    if scaled:
        features.fit(MARKET[:100], {"ETH": MARKET})
    stream = features.stream()
    got = [stream.push(candle, {"ETH": (candle.start_ms, *[candle.high] * 5)}) for candle in candles]
    assert [row is None for row in got] == [i < features.n_warmup for i in range(len(candles))]
    if len(candles) > features.n_warmup:
        expected = reference.candle_features("rich", features.options, candles, [candles.high])
        expected = features.scaler_.transform(expected) if scaled else expected
        assert np.array(got[features.n_warmup :]).tobytes() == expected.tobytes()


def test_an_interval_makes_gaps_and_other_starts_visible(caplog):
    market = synthetic_market(30, random_state=1, interval="5m")
    with pytest.raises(ValueError, match="needs interval"):
        RICH.stream(on_gap="raise")
    with pytest.raises(ValueError, match="'raise', 'reset' or 'bridge'"):
        RICH.stream(interval="5m", on_gap="ignore")
    strict, anew, bridge = (RICH.stream(interval="5m", on_gap=way) for way in ("raise", "reset", "bridge"))
    for stream in (strict, anew, bridge):
        with pytest.raises(CandleError, match="not a start of candles of 5m"):
            stream.push(market[0]._replace(start_ms=market[0].start_ms + 60_000))
        for candle in market[:12]:
            stream.push(candle)
        with pytest.raises(CandleError, match="not a start of candles of 5m"):
            stream.push(market[12]._replace(start_ms=market[12].start_ms + 60_000))
    with pytest.raises(CandleError, match=r"2 candle\(s\) of 5m are missing between"):
        strict.push(market[14])
    assert strict.n_gaps == 0
    assert strict.push(market[12]).tobytes() == RICH.transform(market[:13])[0][-1].tobytes()
    after = [anew.push(candle) for candle in market[14:]]
    assert [row is None for row in after] == [i < RICH.n_warmup for i in range(16)]
    assert np.array(after[RICH.n_warmup :]).tobytes() == RICH.transform(market[14:])[0].tobytes()
    pasted = Candles(
        *(np.delete(getattr(market, k), [12, 13]) for k in ("start_ms", "open", "high", "low", "close", "volume"))
    )
    bridged = np.array([bridge.push(candle) for candle in market[14:]])
    assert bridged.tobytes() == RICH.transform(pasted)[0][-16:].tobytes()
    assert (anew.n_gaps, anew.n_missing) == (bridge.n_gaps, bridge.n_missing) == (1, 2)
    assert caplog.text.count("2 candle(s) are missing before") == 2


def test_what_is_no_candle_is_refused_in_words():
    stream = FeatureSet("ohlcv4").stream()
    with pytest.raises(TypeError, match=r"expected a Candle or start_ms.*got dict"):
        stream.push({"start_ms": 0, "open": 1.0})
    with pytest.raises(TypeError, match=r"expected a Candle or start_ms.*got str"):
        stream.push("0,1,1,1,1,1")
    with pytest.raises(ValueError, match="got 3 value"):
        stream.push((0, 1.0, 1.0))
    with pytest.raises(TypeError):
        stream.push((0, "1", 1.0, 1.0, 1.0, 1.0))
    with pytest.raises(TypeError, match="whole number"):
        stream.push(("0", 1.0, 1.0, 1.0, 1.0, 1.0))
    with pytest.raises(CandleError, match="whole number"):
        stream.push((np.nan, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert stream.count == 0


def test_a_state_of_the_release_before_goes_on():
    stream = RICH.stream(interval="5m")
    for candle in MARKET[:20]:
        stream.push(candle)
    old = stream.state() | {"interval_ms": 300_000, "shortest_step": None}
    del old["interval"]
    assert RICH.stream(old).push(MARKET[20]).tobytes() == stream.push(MARKET[20]).tobytes()
    with pytest.raises(ValueError, match="candles of 5m; this stream takes 1h"):
        RICH.stream(old, interval="1h")
    with pytest.raises(ValueError, match="holds at most 6 candles"):
        RICH.stream(old | {"candles": old["candles"] * 3})


def test_the_state_holds_no_more_than_the_windows():
    stream = FeatureSet("rich").stream()
    sizes = []
    for candle in MARKET:
        stream.push(candle)
        sizes.append(len(json.dumps(stream.state())))
    assert len(stream.state()["candles"]) == 49
    assert sizes[-1] < 1.1 * sizes[60]


def test_other_symbols_as_in_the_batch():
    features = FeatureSet("rich", horizons=(1, 4), windows=(3,), volume_window=3, symbols=("ETH", "SOL"))
    eth, sol = synthetic_market(260, random_state=1), synthetic_market(260, random_state=2)
    keep = np.random.default_rng(0).random(260) < 0.8
    keep[0] = True
    eth_with_gaps = Candles(*(getattr(eth, k)[keep] for k in ("start_ms", "open", "high", "low", "close", "volume")))
    X, _ = features.transform(MARKET, {"ETH": eth_with_gaps, "SOL": sol})
    stream, rows = features.stream(), []
    for t, candle in enumerate(MARKET):
        if t == 100:
            stream = features.stream(json.loads(json.dumps(stream.state())))
        rows.append(stream.push(candle, {"ETH": eth[t] if keep[t] else None, "SOL": sol[t]}))
    assert np.array(rows[features.n_warmup :]).tobytes() == X.tobytes()

    with pytest.raises(ValueError, match="first candle needs one of 'ETH'"):
        features.stream().push(MARKET[0])
    with pytest.raises(ValueError, match="starts later"):
        features.stream().push(MARKET[0], {"ETH": eth[1], "SOL": sol[0]})


def test_numbers_of_other_kinds_are_taken_as_float64():
    stream, other = FeatureSet("ohlcv4").stream(), FeatureSet("ohlcv4").stream()
    candles = [(0, 10, 12, 9, 11, 3), (60_000, 11, 11.5, 10.25, 10.5, 4)]
    for candle in candles:
        plain = stream.push(candle)
        odd = other.push([np.int64(candle[0]), *np.array(candle[1:], dtype=np.float32)])
    assert plain.tobytes() == odd.tobytes()


def test_the_time_at_which_a_row_is_known():
    stream = FeatureSet("ohlcv4").stream()
    assert stream.known_at_ms is None
    stream.push(MARKET[0])
    assert stream.known_at_ms is None  # the length of a candle is not known yet
    stream.push(MARKET[3])
    stream.push(MARKET[4])
    assert stream.known_at_ms == MARKET.start_ms[4] + 300_000
    stream = FeatureSet("ohlcv4").stream(interval="1h")
    stream.push(MARKET[0])
    assert stream.known_at_ms == MARKET.start_ms[0] + 3_600_000


@pytest.mark.parametrize(
    ("candle", "says"),
    [
        (MARKET[3], "not after the last candle"),
        (MARKET[4], "not after the last candle"),
        (MARKET[5]._replace(close=np.nan), "impossible candle"),
        (MARKET[5]._replace(low=0.0), "impossible candle"),
        (MARKET[5]._replace(high=MARKET[5].low), "impossible candle"),
        (MARKET[5]._replace(volume=-1.0), "impossible candle"),
        (MARKET[5]._replace(volume=np.inf), "impossible candle"),
        (MARKET[5]._replace(start_ms=MARKET[5].start_ms + 0.5), "whole number"),
    ],
)
def test_bad_candles_are_refused_and_change_nothing(candle, says):
    stream = RICH.stream()
    for good in MARKET[:5]:
        stream.push(good)
    before = stream.state()
    with pytest.raises(CandleError, match=says):
        stream.push(candle)
    assert stream.state() == before
    assert stream.push(MARKET[5]).tobytes() == RICH.transform(MARKET[:6])[0].tobytes()


def test_a_scaler_fitted_on_another_interval_is_refused():
    features = FeatureSet("ohlcv4").fit(synthetic_market(50, random_state=0, interval="5m"))
    with pytest.raises(ValueError, match="fitted on candles of 5m; the stream is to take 7m"):
        features.stream(interval="7m")
    assert features.stream(interval="5").push(MARKET[0]) is None


def test_the_state_of_other_features_is_refused():
    state = FeatureSet("rich").stream().state()
    with pytest.raises(ValueError, match="other features or another scaler"):
        FeatureSet("rich", volume_window=12).stream(state)
    with pytest.raises(ValueError, match="other features or another scaler"):
        FeatureSet("rich").fit(MARKET).stream(state)


@pytest.mark.parametrize(
    "name",
    ["bybit_linear_BTCUSDT_15m_turnover", "binance_spot_BTCUSDT_1h_gaps_2020", "bybit_linear_ADAUSDT_5m_crash2025-10"],
)
def test_recorded_candles_with_gaps_and_crashes(data_dir, name):
    candles = Candles.read_csv(data_dir / f"{name}.csv.gz")
    features = FeatureSet("rich").fit(candles[:5000])
    X, _ = features.transform(candles)
    assert np.isfinite(X).all()
    assert streamed(features, candles).tobytes() == X.tobytes()


def test_months_have_their_own_lengths():
    starts = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[ms]").astype(np.int64)
    candles = Candles(starts, *[[1.0, 1.0, 1.0]] * 5, interval="1M")
    _, known_at_ms = FeatureSet("ohlcv4").transform(candles)
    assert known_at_ms.tolist() == [starts[2], starts[2] + 31 * 86_400_000]
    stream = FeatureSet("ohlcv4").stream(interval="1M")
    stream.push(candles[0])
    assert stream.known_at_ms == starts[1]


def test_a_start_beyond_all_calendars_changes_nothing():
    stream = FeatureSet("ohlcv4").stream()
    with pytest.raises(CandleError):
        stream.push((2**63, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert stream.push((0, 1.0, 1.0, 1.0, 1.0, 1.0)) is None


def test_the_same_symbol_twice_is_refused():
    with pytest.raises(ValueError, match="differ"):
        FeatureSet("rich", symbols=("A", "A"))
