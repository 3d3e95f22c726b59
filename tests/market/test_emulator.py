"""The emulator answers as the exchange is documented to."""

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fastkd.market import Candles
from fastkd.market.emulator import BybitEmulator
from fastkd.market.emulator.exchange import decimal_text

START = 1_704_067_200_000
STEP = 300_000


def get(exchange, path="kline", **params):
    reply = requests.get(f"{exchange.base_url}/v5/market/{path}", params=params, timeout=10)
    assert reply.status_code == 200
    return reply.json()


def starts(exchange, **params):
    answer = get(exchange, symbol="BTCUSDT", interval="5", **params)
    return [(int(row[0]) - START) // STEP for row in answer["result"]["list"]]


@given(st.floats(min_value=0, max_value=1e12))
def test_a_decimal_reads_back_as_the_same_float_without_an_exponent(value):
    text = decimal_text(value)
    assert float(text) == value
    assert "e" not in text


def test_rows_are_seven_strings_newest_first_with_the_server_time(candles):
    with BybitEmulator(candles) as exchange:
        answer = get(exchange, symbol="BTCUSDT", interval="5", limit="3")
        assert (answer["retCode"], answer["time"]) == (0, exchange.now_ms)
        assert answer["result"]["category"] == "linear"
        rows = answer["result"]["list"]
        assert [len(row) for row in rows] == [7, 7, 7]
        assert [float(text) for text in rows[0]] == [float(value) for value in candles[-1]]
        assert [int(row[0]) for row in rows] == candles.start_ms[:-4:-1].tolist()


def test_which_rows_a_request_gets(candles):
    at = [START + STEP * i for i in range(3000)]
    with BybitEmulator(candles) as exchange:
        assert starts(exchange) == list(range(2999, 2799, -1))  # 200 by default
        assert starts(exchange, limit=2) == [2999, 2998]
        assert starts(exchange, start=at[5], limit=2) == [6, 5]  # forward from start
        assert starts(exchange, end=at[5], limit=2) == [5, 4]
        assert starts(exchange, start=at[5], end=at[7]) == [7, 6, 5]  # both inclusive
        assert starts(exchange, start=at[5] + 8000, end=at[7]) == [7, 6, 5]  # start goes back to its candle
        assert starts(exchange, start=at[5], end=at[99], limit=2) == [99, 98]  # the newest of a larger window
        assert starts(exchange, start=at[5] // 1000, end=at[99] // 1000) == []  # seconds are 1970
        assert starts(exchange, start=at[-1] + STEP) == []
    with BybitEmulator(candles, oldest_of_window=True) as exchange:
        assert starts(exchange, start=at[5], end=at[99], limit=2) == [6, 5]


def test_the_open_candle_grows_with_the_clock(candles):
    with BybitEmulator(candles, now_ms=START + 10 * STEP + STEP // 2) as exchange:
        newest = get(exchange, symbol="BTCUSDT", interval="5", limit="1")["result"]["list"][0]
        assert int(newest[0]) == START + 10 * STEP
        assert float(newest[5]) == candles.volume[10] / 2
        exchange.now_ms += STEP // 2
        newest = get(exchange, symbol="BTCUSDT", interval="5", limit="2")["result"]["list"]
        assert [float(row[5]) for row in newest] == [0.0, candles.volume[10]]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"symbol": "NOPEUSDT", "interval": "5"}, "params error: Symbol Is Invalid"),
        ({"symbol": "btcusdt", "interval": "5"}, "params error: Symbol Is Invalid"),
        ({"symbol": "NOPEUSDT", "interval": "5", "category": "spot"}, "Not supported symbols"),
        ({"symbol": "BTCUSDT", "interval": "5m"}, "params error: interval is invalid"),
        ({"symbol": "BTCUSDT", "interval": "5", "limit": 1001}, "params error: limit is invalid"),
    ],
)
def test_refusals_come_with_http_200_and_code_10001(candles, params, message):
    with BybitEmulator(candles) as exchange:
        answer = get(exchange, **params)
        assert (answer["retCode"], answer["retMsg"], answer["result"]) == (10001, message, {})


def test_time_instruments_and_unknown_paths(candles):
    with BybitEmulator({"linear": candles, "spot": candles}) as exchange:
        assert get(exchange, "time")["result"]["timeSecond"] == str(exchange.now_ms // 1000)
        listed = get(exchange, "instruments-info", category="spot")["result"]
        assert [entry["symbol"] for entry in listed["list"]] == ["BTCUSDT"]
        assert get(exchange, "instruments-info")["retCode"] == 10001  # the category is required here
        assert requests.get(exchange.base_url + "/v5/other", timeout=10).status_code == 404
        assert [request.number for request in exchange.requests] == [1, 2, 3, 4]


def test_more_than_600_requests_in_5_seconds_are_forbidden(candles):
    with BybitEmulator(candles, max_per_5s=3) as exchange:
        for _ in range(3):
            get(exchange, "time")
        reply = requests.get(exchange.base_url + "/v5/market/time", timeout=10)
        assert reply.status_code == 403
        assert "access too frequent" in reply.text


def test_it_listens_on_loopback_only_and_only_while_it_runs(candles):
    exchange = BybitEmulator(candles)
    with pytest.raises(ValueError, match="not running"):
        exchange.requests  # noqa: B018
    with exchange:
        assert exchange._rest.server_address[0] == "127.0.0.1"


def test_candles_without_a_symbol_cannot_be_served():
    ones = [1.0]
    with pytest.raises(ValueError, match="symbol"):
        BybitEmulator(Candles([START], ones, ones, ones, ones, ones, interval="5m"))
    with pytest.raises(ValueError, match="category"):
        BybitEmulator({"option": []})
