import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastkd.market import Candle, CandleError, Candles

FIELDS = Candle._fields
MINUTE = 60_000


def make(n=5, step=MINUTE, **options):
    rng = np.random.default_rng(n)
    close = 100.0 + rng.random(n)
    open_ = 100.0 + rng.random(n)
    high, low = np.maximum(open_, close) + 0.5, np.minimum(open_, close) - 0.5
    return Candles(step * np.arange(n), open_, high, low, close, rng.random(n), rng.random(n), **options)


def test_columns_are_read_only_copies():
    close = np.array([1.0, 2.0])
    candles = Candles([0, 1000], close, close, close, close, close)
    close[:] = 7.0
    assert candles.close.tolist() == [1.0, 2.0]
    for name in FIELDS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(candles, name)[0] = 3
    with pytest.raises(AttributeError, match="immutable"):
        candles.close = close
    with pytest.raises(AttributeError, match="immutable"):
        del candles.close


def test_dtypes_and_unknown_turnover():
    candles = Candles(*np.ones((6, 1), dtype=np.float32))
    assert candles.start_ms.dtype == np.int64
    assert candles.close.dtype == np.float64
    assert np.isnan(candles.turnover).all()
    assert candles.check().ok


@pytest.mark.parametrize("rows", [slice(None), slice(1, 3), slice(-2, None), slice(3, 3), slice(0, 99)])
def test_a_slice_equals_the_slices_of_its_columns(rows):
    candles = make(symbol="XY")
    part = candles[rows]
    for name in FIELDS:
        assert getattr(part, name).tolist() == getattr(candles, name)[rows].tolist()
    assert (part.symbol, part.interval) == ("XY", "1m")


def test_integer_index_and_iteration_give_the_same_records():
    candles = make()
    assert list(candles) == [candles[i] for i in range(len(candles))]
    assert candles[-1] == candles[np.int64(4)]
    assert isinstance(candles[0].start_ms, int)
    assert candles[2].close == candles.close[2]
    with pytest.raises(IndexError):
        candles[5]


def test_other_indices_are_refused():
    candles = make()
    with pytest.raises(TypeError, match="integer or a slice"):
        candles[candles.close > 0]
    with pytest.raises(TypeError, match="integer or a slice"):
        candles["close"]
    with pytest.raises(ValueError, match="step -1"):
        candles[::-1]


def test_equality_sees_every_column_symbol_and_interval():
    candles = make(symbol="XY")
    assert candles == make(symbol="XY")
    assert candles == copy.deepcopy(candles)
    assert candles != make(symbol="XZ")
    assert candles != make(symbol="XY", interval="5m")
    assert candles != candles[1:]
    assert candles != 3
    for name in FIELDS:
        columns = {field: getattr(candles, field).copy() for field in FIELDS}
        columns[name][1] += 1
        assert Candles(**columns, symbol="XY", interval="1m") != candles
    with pytest.raises(TypeError):
        hash(candles)


def test_interval_is_the_most_common_step():
    def interval(*starts):
        return Candles(starts, *np.ones((5, len(starts)))).interval

    assert interval(0, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE) == "5m"
    assert interval(0, 10 * MINUTE, 15 * MINUTE) == "5m"  # equally common: the shorter
    assert interval(10 * MINUTE, 0, 5 * MINUTE) == "5m"
    assert interval(0, 0) is None
    assert interval() is None
    with pytest.raises(CandleError, match="pass interval="):
        make(1).interval_ms  # noqa: B018
    assert make(1, interval="240").interval_ms == 240 * MINUTE


def test_bad_columns_are_named():
    good = np.ones(2)
    with pytest.raises(CandleError, match=r"'low' has 3 rows, start_ms has 2"):
        Candles([0, 1], good, good, np.ones(3), good, good)
    with pytest.raises(CandleError, match=r"'high'.*\(2, 2\)"):
        Candles([0, 1], good, np.ones((2, 2)), good, good, good)
    with pytest.raises(TypeError, match="'close'"):
        Candles([0, 1], good, good, good, ["1", "2"], good)
    with pytest.raises(TypeError, match="'volume'"):
        Candles([0, 1], good, good, good, good, good * 1j)
    with pytest.raises(CandleError, match="row 1: start_ms"):
        Candles([0.0, 0.5], good, good, good, good, good)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_round_trip(kind):
    candles = make(symbol="XY")
    frame = candles.to_frame(kind)
    assert isinstance(frame, pd.DataFrame if kind == "pandas" else pl.DataFrame)
    assert tuple(frame.columns) == FIELDS
    assert Candles.from_frame(frame, symbol="XY") == candles
    assert np.isnan(Candles.from_frame(frame[list(FIELDS[:-1])]).turnover).all()


def test_frames_with_times_are_read_as_utc():
    candles = make()
    frame = candles.to_frame()
    times = pd.to_datetime(frame["start_ms"], unit="ms")
    for column in (times, times.dt.tz_localize("UTC"), times.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
        assert Candles.from_frame(frame.assign(start_ms=column)) == candles
    zoned = candles.to_frame("polars").with_columns(
        pl.from_epoch("start_ms", time_unit="ms").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    )
    assert Candles.from_frame(zoned) == candles
    with pytest.raises(CandleError, match=r"row 0: .*NaT"):
        Candles.from_frame(frame.assign(start_ms=times.mask(times == times[0])))


def test_frame_faults_are_named():
    with pytest.raises(CandleError, match=r"lacks the column\(s\) low, volume; it has"):
        Candles.from_frame(make().to_frame().drop(columns=["low", "volume"]))
    with pytest.raises(ValueError, match="'pandas' or 'polars'; got 'arrow'"):
        make().to_frame("arrow")


def test_a_mapping_is_a_frame():
    candles = make()
    assert Candles.from_frame({name: getattr(candles, name) for name in FIELDS}) == candles


@pytest.mark.parametrize("start", [2**53 + 2, -(2**62), 1e300])
def test_start_times_beyond_all_calendars(start):
    with pytest.raises(CandleError, match="start_ms"):
        Candles([0, start], *[[1.0, 1.0]] * 5)
