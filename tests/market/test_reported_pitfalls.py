"""Problems that users of exchange clients have reported, one test each."""

import numpy as np
import pytest

from fastkd.features import FeatureSet
from fastkd.market import (
    AccessDenied,
    BybitError,
    Candle,
    Candles,
    CandleStore,
    MissingCandlesWarning,
    RateLimited,
    Retry,
    UnknownSymbol,
)
from fastkd.market.emulator import BybitEmulator, Fault

START = 1_704_067_200_000
STEP = 300_000


def without(candles, rows):
    keep = np.setdiff1d(np.arange(len(candles)), rows)
    columns = (getattr(candles, name)[keep] for name in Candle._fields)
    return Candles(*columns, symbol=candles.symbol, interval=candles.interval)


def changed(candles, row, **values):
    columns = {name: getattr(candles, name).copy() for name in Candle._fields}
    for name, value in values.items():
        columns[name][row] = value
    return Candles(**columns, symbol=candles.symbol, interval=candles.interval)


def test_1_an_open_candle_is_never_stored_as_final(candles, connect, tmp_path):
    """Four of four symbols of one collector had such a row: half of the volume of the final candle."""
    with (
        BybitEmulator(candles, now_ms=START + 100 * STEP + STEP // 2) as exchange,
        CandleStore(tmp_path / "c.db") as store,
    ):
        for _ in range(4):
            store.download(connect(exchange), "BTCUSDT", "5m", START)
            assert store.read("BTCUSDT", "5m") == candles[: (exchange.now_ms - START) // STEP]
            exchange.now_ms += STEP


def test_1_a_wrong_last_candle_is_overwritten_by_the_next_download(candles, connect, tmp_path):
    """Keeping the first of two candles with one start would freeze the wrong one."""
    with BybitEmulator(candles) as exchange, CandleStore(tmp_path / "c.db") as store:
        half = changed(candles[:50], 49, close=candles.open[49], volume=candles.volume[49] / 2)
        store.write(half)
        store.download(connect(exchange), "BTCUSDT", "5m", START)
        assert store.read("BTCUSDT", "5m") == candles


def test_2_newest_first_lists_lose_the_open_candle_and_not_the_oldest(candles, connect):
    with BybitEmulator(candles, now_ms=START + 10 * STEP + 1) as exchange:
        got = connect(exchange, settle_ms=0).klines("BTCUSDT", "5m", START)
    assert got == candles[:10]
    assert (np.diff(got.start_ms) > 0).all()


def test_3_start_is_the_open_time_and_features_are_known_at_the_close(candles, connect):
    with BybitEmulator(candles) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START, START + 20 * STEP)
    assert got[0].start_ms == START
    _, known_at_ms = FeatureSet("ohlcv4").transform(got)
    assert known_at_ms[0] == got.start_ms[1] + STEP


@pytest.mark.parametrize("oldest", [False, True])
def test_4_paging_forward_loses_nothing(candles, connect, oldest):
    with BybitEmulator(candles, oldest_of_window=oldest) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START, exchange.now_ms) == candles


def test_5_page_boundaries_neither_overlap_nor_skip(candles, connect):
    with BybitEmulator(candles) as exchange:
        for limit in (999, 1000, 500, 1):
            n = 3 * limit
            got = connect(exchange).klines("BTCUSDT", "5m", START, START + (n - 1) * STEP, limit=limit)
            assert got.start_ms.tolist() == [START + i * STEP for i in range(n)]


def test_5_duplicated_rows_are_removed(candles, connect):
    with BybitEmulator(candles, faults=lambda request: Fault.DUPLICATED_ROW) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START)
    assert got == candles
    assert not got.check().duplicates


def test_6_limits_without_headers_and_bans_without_body_are_typed_errors(candles, connect):
    with BybitEmulator(candles, faults=lambda request: Fault.RATE_LIMIT) as exchange, pytest.raises(RateLimited):
        connect(exchange, retry=Retry(attempts=2)).klines("BTCUSDT", "5m", START)
    with BybitEmulator(candles, faults=lambda request: Fault.FORBIDDEN) as exchange, pytest.raises(AccessDenied):
        connect(exchange).klines("BTCUSDT", "5m", START)


@pytest.mark.parametrize("workers", [1, 4])
def test_7_an_empty_list_is_not_taken_for_the_end(candles, connect, workers):
    faults = lambda request: Fault.EMPTY if request.number in (2, 5) else None  # noqa: E731
    with BybitEmulator(candles, faults=faults) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START, limit=300, workers=workers) == candles


def test_7_an_empty_first_list_is_not_taken_for_the_time_before_listing(candles, connect):
    with BybitEmulator(candles, faults={1: Fault.EMPTY}) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START) == candles


def test_7_a_failed_download_raises_instead_of_ending_early(candles, connect, tmp_path):
    faults = lambda request: Fault.SERVER_ERROR if request.number > 2 else None  # noqa: E731
    with BybitEmulator(candles, faults=faults) as exchange, CandleStore(tmp_path / "c.db") as store:
        with pytest.raises(BybitError, match="10016"):
            store.download(connect(exchange), "BTCUSDT", "5m", START)
        assert store.read("BTCUSDT", "5m") == candles[:2000]  # what came before is there, and the rest can follow


def test_7_seconds_are_refused_because_the_exchange_would_answer_an_empty_list(candles, connect):
    with BybitEmulator(candles) as exchange, pytest.raises(ValueError, match="milliseconds"):
        connect(exchange).klines("BTCUSDT", "5m", START // 1000)


def test_8_parallel_downloads_leave_no_holes(candles, connect):
    faults = {3: Fault.MISSING_ROW, 7: Fault.MISSING_ROW}
    with BybitEmulator(candles, faults=faults) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START, limit=200, workers=4)
    assert len(got) == (got.start_ms[-1] - got.start_ms[0]) // STEP + 1
    assert got == candles


def test_9_real_holes_are_reported_by_client_and_store_and_asked_for_again(candles, connect, tmp_path):
    holes = without(candles, [10, 11, 1500])
    with CandleStore(tmp_path / "c.db") as store:
        with BybitEmulator(holes) as exchange:
            with pytest.warns(MissingCandlesWarning, match="3 candle"):
                connect(exchange).klines("BTCUSDT", "5m", START)
            report = store.download(connect(exchange), "BTCUSDT", "5m", START)
            assert [tuple(gap) for gap in report.gaps] == [(START + 10 * STEP, 2), (START + 1500 * STEP, 1)]
        with BybitEmulator(candles) as exchange:  # the exchange has them after all
            assert store.download(connect(exchange), "BTCUSDT", "5m", START).gaps == ()
        assert store.read("BTCUSDT", "5m") == candles


def test_10_flat_candles_without_volume_are_kept(candles, connect):
    price = candles.close[4]
    flat = changed(candles, 5, open=price, high=price, low=price, close=price, volume=0.0, turnover=0.0)
    with BybitEmulator(flat) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START)
    assert got == flat
    assert got.check().ok


def test_12_open_need_not_equal_the_last_close(candles, connect):
    jump = changed(candles, 7, open=candles.low[7])
    with BybitEmulator(jump) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START, START + 9 * STEP) == jump[:10]


def test_13_prices_keep_every_digit(connect):
    prices = [0.19701, 0.00001234, 0.00001235]
    served = Candles([START, START + 60_000, START + 120_000], *[prices] * 5, symbol="1000PEPEUSDT", interval="1m")
    with BybitEmulator(served) as exchange:
        got = connect(exchange).klines("1000PEPEUSDT", "1m", START)
    assert np.diff(got.close).tolist() == np.diff(prices).tolist()


def test_14_renamed_and_delisted_symbols_are_told(candles, connect):
    listed = {"linear": [{"symbol": "1000PEPEUSDT", "status": "Trading"}, {"symbol": "GONEUSDT", "status": "Closed"}]}
    with BybitEmulator(candles, instruments=listed) as exchange:
        client = connect(exchange)
        with pytest.raises(UnknownSymbol, match="PEPEUSDT"):
            client.klines("PEPEUSDT", "5m", START)
        assert "GONEUSDT" not in {instrument.symbol for instrument in client.instruments()}
        assert [instrument.symbol for instrument in client.instruments(status="Closed")] == ["GONEUSDT"]


def test_14_a_symbol_that_stopped_trading_ends_with_a_warning(candles, other_candles, connect):
    with (
        BybitEmulator([candles, other_candles]) as exchange,
        pytest.warns(MissingCandlesWarning, match=r"1500 candle\(s\) in 1 place"),
    ):
        assert connect(exchange).klines("ETHUSDT", "5m", START) == other_candles


@pytest.mark.parametrize("workers", [1, 4])
def test_an_empty_first_window_at_the_start_of_history_is_read_again(candles, connect, workers):
    faults = dict.fromkeys((1, 2, 3), Fault.EMPTY)
    with BybitEmulator(candles, faults=faults) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START, limit=500, workers=workers)
    assert got == candles
