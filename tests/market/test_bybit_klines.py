"""Klines over HTTP: ranges, paging, closed candles, spellings, validation (the exchange's documented behavior)."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastkd.market import (
    BybitClient,
    BybitError,
    Candle,
    Candles,
    MissingCandlesWarning,
    UnknownSymbol,
    fetch_bybit_klines,
    interval_to_ms,
)
from fastkd.market.bybit_messages import INTERVALS, parse_klines, parse_row
from fastkd.market.emulator import BybitEmulator, Fault
from fastkd.market.grid import Grid
from fastkd.market.paging import AGAIN_AFTER
from fastkd.market.retry import BadAnswer

START = 1_704_067_200_000  # 2024-01-01
STEP = 300_000
DAY = 86_400_000


def days(symbol, first_ms, n):
    ones = np.ones(n)
    return Candles(first_ms + DAY * np.arange(n), ones, ones, ones, ones, ones, symbol=symbol, interval="1d")


@pytest.fixture(scope="module", params=[False, True], ids=["newest-of-window", "oldest-of-window"])
def either_exchange(request, candles):
    with BybitEmulator(candles, oldest_of_window=request.param, max_per_5s=10**6) as exchange:
        yield exchange


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-30, 3000), st.integers(0, 3000), st.integers(0, STEP - 1), st.sampled_from([7, 100, 999, 1000]))
def test_any_range_is_right_under_both_paging_semantics(either_exchange, connect, candles, first, length, shift, limit):
    start, end = START + first * STEP + shift, START + (first + length) * STEP + shift
    client = connect(either_exchange)
    got = client.klines("BTCUSDT", "5m", start, end, limit=max(limit, length // 20 + 1))
    wanted = [candle for candle in candles if start <= candle.start_ms <= end]
    assert list(got) == wanted
    assert (got.symbol, got.interval) == ("BTCUSDT", "5m")


@pytest.mark.parametrize("workers", [1, 3])
def test_no_window_holds_more_candles_than_the_limit_and_no_page_is_counted_twice(candles, connect, workers):
    with BybitEmulator(candles) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START, limit=700, workers=workers)
        assert got == candles
        asked = sorted((int(r.params["start"]), int(r.params["end"])) for r in exchange.requests)
        assert len(asked) == 5
        assert all(end - start < 700 * STEP for start, end in asked)
        assert all(later[0] == earlier[1] + STEP for earlier, later in itertools.pairwise(asked))


def test_start_is_moved_back_by_the_server_but_no_earlier_candle_is_returned(candles, connect):
    with BybitEmulator(candles) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START + 8000, START + 3 * STEP)
    assert got.start_ms.tolist() == [START + STEP, START + 2 * STEP, START + 3 * STEP]


def test_both_ends_are_inclusive(candles, connect):
    with BybitEmulator(candles) as exchange:
        got = connect(exchange).klines("BTCUSDT", "5m", START + 5 * STEP, START + 5 * STEP)
    assert list(got) == [candles[5]]


def test_the_open_candle_is_left_out_by_the_servers_clock(candles, connect):
    with BybitEmulator(candles, now_ms=START + 20 * STEP - 1) as exchange:
        client = connect(exchange, settle_ms=0)  # the clock of this machine is in another year
        assert client.klines("BTCUSDT", "5m", START) == candles[:19]
        exchange.now_ms += 1
        assert client.klines("BTCUSDT", "5m", START) == candles[:20]
        assert client.klines("BTCUSDT", "5m", START, START + 10**9) == candles[:20]


def test_a_candle_that_has_only_just_closed_is_fetched_once_more(candles, connect, fake_time):
    with BybitEmulator(candles, now_ms=START + 20 * STEP + 300) as exchange:
        assert connect(exchange, settle_ms=1000).klines("BTCUSDT", "5m", START) == candles[:20]
        assert [request.params["start"] for request in exchange.requests] == [str(START), str(START + 19 * STEP)]
    assert 0.7 in fake_time.slept


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_in_both_spellings(connect, interval):
    grid = Grid(interval)
    first = grid.first_from(START)
    starts = [grid.start_ms(first + i) for i in range(30)]
    ones = np.ones(30)
    served = Candles(starts, ones, ones, ones, ones, ones, ones, symbol="XUSDT", interval=interval)
    with BybitEmulator(served) as exchange:
        client = connect(exchange)
        for spelling in (interval, INTERVALS[interval]):
            assert client.klines("XUSDT", spelling, starts[0], starts[-1], limit=7) == served
        assert {request.params["interval"] for request in exchange.requests} == {INTERVALS[interval]}


def test_times_are_taken_in_every_form(candles, connect):
    forms = [
        START,
        np.int64(START),
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        date(2024, 1, 1),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=3))),
        np.datetime64("2024-01-01"),
    ]
    with BybitEmulator(candles) as exchange:
        for start in forms:
            assert connect(exchange).klines("BTCUSDT", "5m", start, START + 9 * STEP) == candles[:10]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("BTCUSDT", "5m", START // 1000), {}, "milliseconds.*as seconds it would be"),
        (("BTCUSDT", "5m", START, START // 1000), {}, "end.*milliseconds"),
        (("BTCUSDT", "5m", START, START - 1), {}, "start must not be later than end"),
        (("BTCUSDT", "5m", "yesterday"), {}, "ISO 8601"),
        (("btcusdt", "5m", START), {}, "upper-case.*'BTCUSDT'"),
        (("BTC/USDT", "5m", START), {}, "upper-case"),
        (("", "5m", START), {}, "upper-case"),
        (("BTCUSDT", "7m", START), {}, "no candles of '7m'"),
        (("BTCUSDT", "5x", START), {}, "interval"),
        (("BTCUSDT", "5m", START), {"limit": 1001}, "1 to 1000"),
        (("BTCUSDT", "5m", START), {"limit": 0}, "1 to 1000"),
        (("BTCUSDT", "5m", START), {"workers": 0}, "workers"),
        (("BTCUSDT", "5m", START), {"category": "option"}, "category"),
        (("BTCUSDT", "5m", START), {"category": "inverse"}, "use category='linear'"),
    ],
)
def test_nothing_is_sent_before_the_arguments_are_right(candles, connect, arguments, options, words):
    with BybitEmulator(candles) as exchange:
        with pytest.raises(ValueError, match=words):
            connect(exchange).klines(*arguments, **options)
        assert exchange.requests == []


def test_other_types_are_refused():
    client = BybitClient("http://127.0.0.1:9")
    for start in (1.7e12, True, None, [START]):
        with pytest.raises(TypeError, match="start"):
            client.klines("BTCUSDT", "5m", start)
    with pytest.raises(ValueError, match="base_url"):
        BybitClient("api.bybit.com")


@pytest.mark.parametrize("category", ["linear", "spot"])
def test_an_unknown_symbol_is_named_whatever_the_message(candles, connect, category):
    with BybitEmulator(candles) as exchange:
        with pytest.raises(UnknownSymbol, match="NOPEUSDT") as caught:
            connect(exchange).klines("NOPEUSDT", "5m", START, category=category)
        assert len(exchange.requests) == 1  # it is not tried again
    assert caught.value.code == 10001
    assert isinstance(caught.value, BybitError)


def test_an_answer_for_another_symbol_is_never_taken(candles, connect):
    with BybitEmulator(candles, faults={1: Fault.WRONG_SYMBOL}) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START, START + STEP) == candles[:2]
    with (
        BybitEmulator(candles, faults=lambda request: Fault.WRONG_SYMBOL) as exchange,
        pytest.raises(BybitError, match="WRONGUSDT"),
    ):
        connect(exchange).klines("BTCUSDT", "5m", START, START + STEP)


def test_ranges_before_listing_and_after_now_are_empty_without_complaint(candles, connect):
    with BybitEmulator(candles) as exchange:
        client = connect(exchange)
        before = client.klines("BTCUSDT", "5m", START - 100 * STEP, START - 50 * STEP)
        after = client.klines("BTCUSDT", "5m", exchange.now_ms + 10 * STEP, exchange.now_ms + 9000 * STEP)
        across = client.klines("BTCUSDT", "5m", START - 2500 * STEP, START + 2500 * STEP, workers=2)
        assert len(before) == len(after) == 0
        assert before.interval == "5m"
        assert across == candles[:2501]


def test_years_before_listing_are_skipped_by_looking_up_the_first_day(candles, connect):
    with BybitEmulator([candles, days("BTCUSDT", START, 10)]) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", "2015-01-01") == candles
        assert len(exchange.requests) < 25  # instead of a thousand
    with BybitEmulator(candles) as exchange:  # without daily candles every window is asked for
        assert connect(exchange).klines("BTCUSDT", "5m", START - 12_000 * STEP) == candles


def test_a_symbol_that_was_listed_today_costs_no_request_for_each_window_of_the_years_before(candles, connect):
    today = candles[:30]
    with BybitEmulator([today, days("BTCUSDT", START, 1)], now_ms=START + 30 * STEP + 60_000) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", "2019-01-01") == today
        assert len(exchange.requests) < 15  # instead of three for each of 500 windows
        assert {request.params["interval"] for request in exchange.requests} == {"5", "D"}


def test_the_day_of_listing_is_remembered_for_every_interval_and_category(candles, connect):
    hours = Candles(*[getattr(candles, name)[::12] for name in Candle._fields], symbol="BTCUSDT", interval="1h")
    with BybitEmulator([candles, days("BTCUSDT", START, 10), hours]) as exchange:
        client = connect(exchange)
        assert client.klines("BTCUSDT", "5m", "2020-01-01") == candles
        asked = len(exchange.requests)
        assert client.klines("BTCUSDT", "5m", "2020-01-01", START + 9 * STEP) == candles[:10]
        assert len(exchange.requests) == asked + 1
        assert client.klines("BTCUSDT", "1h", "2021-06-01") == hours
        assert len(exchange.requests) == asked + 2
        assert len(client.klines("BTCUSDT", "5m", "2021-01-01", "2022-01-01")) == 0
        assert len(exchange.requests) == asked + 2
        assert len(client.klines("BTCUSDT", "5m", "2019-12-31", "2020-01-01")) == 0  # before what was looked at
        assert len(exchange.requests) > asked + 2


def test_candles_before_a_pause_are_found_though_the_day_after_it_is_remembered(candles, connect):
    """A symbol that was taken off and listed again: the search that began in the pause knows nothing of before."""
    earlier_ms = START - 1000 * DAY
    columns = [getattr(candles[:50], name) for name in Candle._fields]
    earlier = Candles(columns[0] - 1000 * DAY, *columns[1:])
    both = [np.concatenate([getattr(part, name) for part in (earlier, candles)]) for name in Candle._fields]
    whole = Candles(*both, symbol="BTCUSDT", interval="5m")
    daily = Candles(
        np.concatenate([[earlier_ms], START + DAY * np.arange(11)]), *np.ones((5, 12)), symbol="BTCUSDT", interval="1d"
    )
    with BybitEmulator([whole, daily]) as exchange:
        client = connect(exchange)
        assert client.klines("BTCUSDT", "5m", START - 500 * DAY, START + 2999 * STEP) == candles
        assert client.klines("BTCUSDT", "5m", earlier_ms, earlier_ms + 49 * STEP) == whole[:50]


def test_there_is_a_moment_between_asking_and_asking_again(candles, connect, fake_time):
    holes = Candles(*[getattr(candles[:20], name)[np.arange(20) != 7] for name in Candle._fields],
                    symbol="BTCUSDT", interval="5m")  # fmt: skip
    with BybitEmulator(holes) as exchange:
        with pytest.warns(MissingCandlesWarning):
            connect(exchange).klines("BTCUSDT", "5m", START, START + 19 * STEP)
        assert len(exchange.requests) == 3
    assert fake_time.slept.count(AGAIN_AFTER) == 2
    fake_time.slept.clear()
    with BybitEmulator(candles) as exchange:
        connect(exchange).klines("BTCUSDT", "5m", START, START + 19 * STEP)
    assert AGAIN_AFTER not in fake_time.slept


def test_decimal_strings_are_parsed_exactly(connect):
    texts = ["0.19701", "0.00001234", "71234.5", "0.1", "123456789.123456789", "0.000000000001"]
    prices = [float(text) for text in texts]
    starts = START + 60_000 * np.arange(6)
    served = Candles(starts, prices, prices, prices, prices, prices, prices, symbol="XUSDT", interval="1m")
    with BybitEmulator(served) as exchange:
        got = connect(exchange).klines("XUSDT", "1", START)
    assert got.close.tolist() == prices
    assert got.close.dtype == np.float64


def test_inverse_volume_is_in_coin_and_turnover_in_dollars(connect):
    starts = [1670601600000, 1670605200000, 1670608800000]
    rows = [
        [17086.5, 17088, 16978, 17071.5, 0.37288112, 6356],
        [17071.5, 17071.5, 17061, 17071, 0.24469757, 4177],
        [17071, 17073, 17027, 17055.5, 15.74462667, 268611],
    ]
    served = Candles(starts, *zip(*rows), symbol="BTCUSD", interval="1h")
    with BybitEmulator({"inverse": served}) as exchange:
        assert exchange.exchange.klines(
            {"category": "inverse", "symbol": "BTCUSD", "interval": "60"}, 2 * 10**12, None
        )["list"][0] == [
            "1670608800000",
            "17071",
            "17073",
            "17027",
            "17055.5",
            "268611",
            "15.74462667",
        ]  # as documented
        assert connect(exchange).klines("BTCUSD", "60", starts[0], starts[-1], "inverse") == served


def test_the_newest_candles_as_the_chapters_ask_for_them(candles, connect):
    with BybitEmulator(candles, now_ms=START + 2500 * STEP + STEP // 2) as exchange:
        client = connect(exchange)
        assert fetch_bybit_klines("BTCUSDT", "5", 200, client=client) == candles[2300:2500]
        assert client.fetch_klines("BTCUSDT", "5m", 1700) == candles[800:2500]
        assert client.fetch_klines("BTCUSDT", "5m", 10**4) == candles[:2500]
        with pytest.raises(ValueError, match="limit"):
            client.fetch_klines("BTCUSDT", "5m", 0)


def test_instruments_of_every_page(candles, connect):
    entries = [{"symbol": f"X{i}USDT", "status": "Trading", "launchTime": "1585526400000"} for i in range(2345)]
    entries.append({"symbol": "GONEUSDT", "status": "Closed", "deliveryTime": "1600000000000"})
    with BybitEmulator(candles, instruments={"linear": entries}) as exchange:
        client = connect(exchange)
        found = client.instruments()
        assert len(found) == 2346
        assert {"BTCUSDT", "X0USDT", "X2344USDT"} <= {one.symbol for one in found}
        assert found[0].launch_ms == 1585526400000
        assert [one.delivery_ms for one in client.instruments(status="Closed")] == [1600000000000]
        assert client.instrument("X7USDT").raw["status"] == "Trading"
        with pytest.raises(UnknownSymbol, match="NOPEUSDT"):
            client.instrument("NOPEUSDT")
        assert client.server_time() == exchange.now_ms


def test_holes_that_the_server_keeps_are_reported(candles, connect):
    holes = np.r_[100, 999:1003, 2000]
    keep = np.setdiff1d(np.arange(3000), holes)
    served = Candles(*(getattr(candles, name)[keep] for name in Candle._fields), symbol="BTCUSDT", interval="5m")
    with BybitEmulator(served) as exchange:
        with pytest.warns(MissingCandlesWarning, match=r"6 candle\(s\) in 3 place\(s\)"):
            got = connect(exchange).klines("BTCUSDT", "5m", START)
        assert got == served
        assert [gap.missing for gap in got.check().gaps] == [1, 4, 1]


def test_recorded_candles_come_back_bit_for_bit(data_dir, connect):
    for path in sorted(data_dir.glob("*.csv.gz")):
        symbol, interval = path.name.removesuffix(".csv.gz").split("_")[2:4]
        recorded = Candles.read_csv(path, symbol=symbol, interval=interval)[-4000:]
        step = interval_to_ms(interval)
        with BybitEmulator(recorded, max_per_5s=10**6) as exchange:
            pages = connect(exchange).pages(symbol, interval, int(recorded.start_ms[0]) - 5 * step)
            table = np.concatenate([page.table for page in pages], axis=1)
        for row, name in zip(table, Candle._fields):
            assert row.tobytes() == getattr(recorded, name).astype(np.float64).tobytes(), (path.name, name)


@pytest.mark.parametrize("time", [0, -5, True, 10**12, 2**60])
def test_an_answer_without_a_sensible_clock_is_none(time):
    answer = {"result": {"list": [], "symbol": "BTCUSDT", "category": "linear"}, "time": time}
    with pytest.raises(BadAnswer):
        parse_klines(answer, "BTCUSDT", "linear", Grid("5m"))


def test_impossible_candles_are_as_good_as_none():
    rows = [["1704067200000", "1", "2", "0.5", "1.5", "3", "4"], ["1704067500000", "1", "0.4", "0.5", "1.5", "3", "4"]]
    answer = {"result": {"list": rows, "symbol": "BTCUSDT", "category": "linear"}, "time": 1_704_070_000_000}
    table, _ = parse_klines(answer, "BTCUSDT", "linear", Grid("5m"))
    assert table[0].tolist() == [1_704_067_200_000]


@pytest.mark.parametrize("price", [True, "1_0", 1.5, None])
def test_prices_are_decimal_strings(price):
    with pytest.raises(BadAnswer):
        parse_row(["1704067200000", price, "2", "0.5", "1.5", "3", "4"], "linear")
