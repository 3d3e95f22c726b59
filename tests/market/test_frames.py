"""Candles from frames as ccxt, freqtrade and yfinance give them; joined, cut and resampled."""

import datetime as dt

import numpy as np
import pytest

from fastkd.features import FeatureSet, direction_labels
from fastkd.market import CandleError, Candles, synthetic_market

pandas = pytest.importorskip("pandas")
CANDLES = synthetic_market(300, random_state=0)
PRICES = ("open", "high", "low", "close", "volume")
BARE = Candles(**{name: getattr(CANDLES, name) for name in ("start_ms", *PRICES)})


def columns(names=PRICES):
    return {shown: getattr(CANDLES, name) for shown, name in zip(names, PRICES, strict=True)}


def ccxt():
    rows = [[candle.start_ms, *candle[1:6]] for candle in CANDLES]
    return pandas.DataFrame(rows, columns=["timestamp", *PRICES])


def ccxt_converted():
    frame = ccxt()
    frame["timestamp"] = pandas.to_datetime(frame["timestamp"], unit="ms")
    return frame.set_index("timestamp")


def freqtrade():
    return pandas.DataFrame({"date": pandas.to_datetime(CANDLES.start_ms, unit="ms", utc=True), **columns()})


def yfinance(zone="America/New_York"):
    index = pandas.to_datetime(CANDLES.start_ms, unit="ms", utc=True).tz_convert(zone).rename("Datetime")
    names = ("Open", "High", "Low", "Close", "Volume")
    frame = pandas.DataFrame({**columns(names), "Adj Close": 1.0, "Dividends": 0.0}, index=index)
    frame["Volume"] = frame["Volume"]
    return frame


def yfinance_download():
    frame = yfinance("UTC")
    frame.columns = pandas.MultiIndex.from_tuples(
        [(name, "BTC-USD") for name in frame.columns], names=["Price", "Ticker"]
    )
    return frame


def seconds():
    return {"Time": CANDLES.start_ms // 1000, **columns()}


def nanoseconds():
    return {"open_time": CANDLES.start_ms * 1_000_000, **columns()}


def microseconds():
    return {"open_time": (CANDLES.start_ms * 1000).astype(float), **columns()}


def text():
    return {
        "datetime": [dt.datetime.fromtimestamp(t / 1000, dt.UTC).isoformat() for t in CANDLES.start_ms],
        **columns(),
    }


def dates():
    return {"time": [dt.datetime.fromtimestamp(t / 1000, dt.UTC) for t in CANDLES.start_ms], **columns()}


KINDS = [ccxt, ccxt_converted, freqtrade, yfinance, yfinance_download, seconds, nanoseconds, microseconds, text, dates]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_frames_as_others_give_them(kind):
    assert Candles.from_frame(kind()) == BARE


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_frames_of_polars(zone):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"Date": CANDLES.start_ms, **columns(("OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"))})
    frame = frame.with_columns(polars.from_epoch("Date", time_unit="ms"))
    if zone:
        frame = frame.with_columns(polars.col("Date").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    assert Candles.from_frame(frame) == BARE
    assert Candles.from_frame(CANDLES.to_frame("polars"), symbol=CANDLES.symbol) == CANDLES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Open": CANDLES.open}, "two columns for 'open'"),
        ({"timestamp": np.arange(300.0)}, "no times since 1973"),
        ({"timestamp": np.full(300, np.nan)}, "not a time"),
        ({"timestamp": np.where(np.arange(300) == 7, CANDLES.start_ms // 1000, CANDLES.start_ms)}, "row 7"),
        ({"timestamp": ["soon"] * 300}, "row 0"),
        ({"timestamp": np.full(300, np.datetime64("NaT"), "M8[ms]")}, "NaT"),
    ],
)
def test_times_and_columns_that_are_none(change, says):
    frame = {"timestamp": CANDLES.start_ms, **columns(), **change}
    with pytest.raises(CandleError, match=says):
        Candles.from_frame(frame)


def test_what_is_missing_is_named():
    with pytest.raises(CandleError, match="start_ms"):
        Candles.from_frame(pandas.DataFrame(columns()))
    with pytest.raises(CandleError, match="volume"):
        Candles.from_frame(ccxt().drop(columns="volume"))
    two = yfinance_download()
    other = two.copy()
    other.columns = pandas.MultiIndex.from_tuples([(name, "ETH-USD") for name, _ in two.columns])
    with pytest.raises(CandleError, match="one market at a time"):
        Candles.from_frame(pandas.concat([two, other], axis=1))


@pytest.mark.parametrize("given", ["1h", "1m", "1M"])
def test_an_interval_that_is_not_that_of_the_candles(given, tmp_path):
    CANDLES.to_csv(tmp_path / "c.csv")
    for read in (lambda: Candles.read_csv(tmp_path / "c.csv", interval=given),
                 lambda: Candles.from_frame(CANDLES.to_frame(), interval=given)):  # fmt: skip
        with pytest.raises(CandleError, match=f"interval='{given}' was given, but most candles are 5m apart"):
            read()
    assert Candles.read_csv(tmp_path / "c.csv", interval="5").interval == "5m"


def test_a_few_candles_around_gaps_may_have_any_multiple_but_no_shorter_step():
    frame = {"start_ms": [0, 900_000, 1_200_000, 3_000_000], **{n: np.ones(4) for n in PRICES}}
    assert Candles.from_frame(frame, interval="5m").interval == "5m"


# -- joined, cut, resampled -------------------------------------------------------------------------------------------


def test_joined_tables():
    parts = [CANDLES[200:], CANDLES[:120], CANDLES[100:210]]
    assert Candles.concatenate(parts) == CANDLES
    assert Candles.concatenate([CANDLES[:0], CANDLES]) == CANDLES
    other = synthetic_market(300, random_state=1)
    with pytest.raises(CandleError, match="two different candles"):
        Candles.concatenate([CANDLES, other])
    with pytest.raises(CandleError, match="symbols"):
        Candles.concatenate([CANDLES, synthetic_market(300, random_state=0, symbol="Y")])
    with pytest.raises(CandleError, match="intervals 1h, 5m"):
        Candles.concatenate([CANDLES, synthetic_market(30, random_state=0, interval="1h")])
    with pytest.raises(ValueError, match="at least one"):
        Candles.concatenate([])


def test_cut_by_time_both_ends_included():
    first, last = int(CANDLES.start_ms[10]), int(CANDLES.start_ms[20])
    for ends in (
        (first, last),
        (dt.datetime.fromtimestamp(first / 1e3, dt.UTC), dt.datetime.fromtimestamp(last / 1e3)),
    ):
        if dt.datetime.fromtimestamp(0).hour == 0 or ends == (first, last):
            assert CANDLES.between(*ends) == CANDLES[10:21]
    assert CANDLES.between(end=first - 1) == CANDLES[:10]
    assert CANDLES.between(start=last + 1) == CANDLES[21:]
    assert len(CANDLES.between("2030-01-01")) == 0
    with pytest.raises(ValueError, match="start must not be later"):
        CANDLES.between(last, first)


@pytest.mark.parametrize("interval", ["15m", "1h", "4h", "1d", "1w", "1M"])
def test_resampled_as_pandas_does(interval):
    month = synthetic_market(12 * 24 * 70, random_state=0)
    frame = month.to_frame().set_index(pandas.to_datetime(month.start_ms, unit="ms"))
    rule = {"1M": "MS", "1w": "W-MON", "1d": "1D", "15m": "15min"}.get(interval, interval)
    options = {"label": "left", "closed": "left"}
    sums = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    want = frame.resample(rule, **options).agg(sums)
    got = month.resample(interval, incomplete="keep")
    np.testing.assert_array_equal(got.start_ms, want.index.astype("datetime64[ms]").astype(np.int64))
    for name in PRICES[:4]:
        np.testing.assert_array_equal(getattr(got, name), want[name])
    np.testing.assert_allclose(got.volume, want["volume"], rtol=1e-12)
    counts = frame["open"].resample(rule, **options).count().to_numpy()
    whole = counts * 300_000 == got.close_ms - got.start_ms
    assert month.resample(interval) == Candles(
        **{n: getattr(got, n)[whole] for n in ("start_ms", *PRICES, "turnover")}, symbol=got.symbol, interval=interval
    )


def test_a_gap_makes_a_longer_candle_incomplete():
    rows = np.delete(np.arange(300), 30)
    holed = Candles(**{n: getattr(CANDLES, n)[rows] for n in ("start_ms", *PRICES)})
    assert len(holed.resample("1h", incomplete="keep")) - len(holed.resample("1h")) == 1
    with pytest.raises(ValueError, match="5m do not make up candles of 7m"):
        CANDLES.resample("7m")
    with pytest.raises(ValueError, match="5m do not make up candles of 1m"):
        CANDLES.resample("1m")


# -- labels and features of frames ------------------------------------------------------------------------------------


def test_labels_and_features_take_frames_and_refuse_wrong_order():
    frame = CANDLES.to_frame()
    np.testing.assert_array_equal(direction_labels(frame), direction_labels(CANDLES))
    np.testing.assert_array_equal(FeatureSet("rich").transform(frame)[0], FeatureSet("rich").transform(CANDLES)[0])
    with pytest.raises(CandleError, match=r"earlier"):
        direction_labels(frame[::-1])


class TestTransformer:
    def test_names_and_frames_out(self):
        X, known = FeatureSet("rich").transform(CANDLES)
        features = FeatureSet("rich").set_output(transform="pandas")
        frame = features.transform(CANDLES)
        assert frame.columns.tolist() == features.get_feature_names_out().tolist() == list(features.names)
        np.testing.assert_array_equal(frame.to_numpy(), X)
        np.testing.assert_array_equal(frame.index.astype("datetime64[ms, UTC]").astype(np.int64), known)
        np.testing.assert_array_equal(features.set_output(transform="array").transform(CANDLES), X)
        with pytest.raises(ValueError, match="transform must be one of"):
            features.set_output(transform="list")

    def test_polars_out(self):
        pytest.importorskip("polars")
        frame = FeatureSet("ohlcv4").set_output(transform="polars").transform(CANDLES)
        assert frame.columns[-1] == "known_at_ms"

    def test_parameters_and_clone(self):
        base = pytest.importorskip("sklearn.base")
        features = FeatureSet("regime3", window=7).fit(CANDLES)
        twin = base.clone(features)
        assert twin.get_params() == {"name": "regime3", "window": 7}
        assert not hasattr(twin, "scaler_")
        assert twin.set_params(window=9).n_warmup == FeatureSet("regime3", window=9).n_warmup
        with pytest.raises(TypeError, match="horizons"):
            twin.set_params(horizons=(1,))

    def test_in_a_pipeline(self):
        pipeline = pytest.importorskip("sklearn.pipeline")
        pre = pytest.importorskip("sklearn.preprocessing")
        features = FeatureSet("ohlcv4")
        line = pipeline.make_pipeline(features.set_output(transform="array"), pre.StandardScaler())
        got = line.fit_transform(CANDLES, np.zeros(len(CANDLES)))
        X, _ = FeatureSet("ohlcv4").fit(CANDLES).transform(CANDLES)
        np.testing.assert_allclose(got, pre.StandardScaler().fit_transform(X))
        assert pipeline.Pipeline([("f", FeatureSet("ohlcv4"))]).fit(CANDLES, np.zeros(len(CANDLES)))


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "seconds"), (1e3, "microseconds"), (1e6, "nanoseconds")])
def test_start_ms_in_another_unit_is_refused(factor, unit):
    times = CANDLES.start_ms // 1000 if factor < 1 else CANDLES.start_ms * int(factor)
    for kind in (times, times.astype(np.float64)):
        with pytest.raises(CandleError, match=f"start_ms holds numbers .* {unit}"):
            Candles.from_frame({"start_ms": kind, **columns()})
    assert Candles.from_frame({"timestamp": times, **columns()}) == BARE
    assert Candles.from_frame({"start_ms": CANDLES.start_ms, **columns()}) == BARE
