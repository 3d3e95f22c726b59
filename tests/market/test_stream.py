"""Live candles: each closed one exactly once and in order, whatever the connection does."""

import itertools
import json
import threading
from http import HTTPStatus

import pytest

from fastkd.market import AccessDenied, BybitError, BybitStream, Candles, CandleStore, Retry, UnknownSymbol
from fastkd.market.emulator import BybitEmulator, Fault
from fastkd.market.rate_limit import RequestGate
from fastkd.market.retry import BadAnswer

websockets = pytest.importorskip("websockets")

START = 1_704_067_200_000
STEP = 300_000


def playing(steps, confirmations=1):
    """A script: after the k-th subscription the clock moves on by steps[k] candles, one after the other."""
    remaining = iter(steps)

    def play(exchange, topics):
        for _ in range(next(remaining, 0)):
            exchange.advance(exchange.now_ms + STEP, confirmations=confirmations)

    return {"now_ms": START + 10 * STEP + 5000, "on_subscribe": play}


def first(n, stream):
    """The first n candles; a stream that gives none for a minute is closed, so the test fails and does not hang."""
    watch = threading.Timer(60, stream.close)
    watch.start()
    try:
        return list(itertools.islice(stream, n))
    finally:
        watch.cancel()


def take(n, exchange, client, symbols="BTCUSDT", **options):
    options = {"url": exchange.stream_url, "random_state": 0, **options}
    return first(n, BybitStream(symbols, "5m", client=client, **options))


def test_candles_are_handed_out_as_they_close(candles, connect):
    with BybitEmulator(candles, **playing([20])) as exchange:
        got = take(20, exchange, connect(exchange))
        assert [live.candle for live in got] == list(candles[10:30])
        assert {(live.symbol, live.interval) for live in got} == {("BTCUSDT", "5m")}
        (message,) = exchange.stream_messages
        assert (message["op"], message["args"]) == ("subscribe", ["kline.5.BTCUSDT"])


def test_an_open_candle_is_never_handed_out(candles, connect):
    def play(exchange, topics):
        for part in (0, 1, 2, 3):
            exchange._streaming().publish("linear", "BTCUSDT", "5", 10, START + 10 * STEP + part * STEP // 4)
        exchange.advance(exchange.now_ms + STEP)

    with BybitEmulator(candles, now_ms=START + 10 * STEP + 5000, on_subscribe=play) as exchange:
        assert [live.candle for live in take(1, exchange, connect(exchange))] == [candles[10]]


def test_repeated_confirmations_are_dropped(candles, connect):
    with BybitEmulator(candles, **playing([15], confirmations=3)) as exchange:
        got = take(15, exchange, connect(exchange))
    assert [live.candle for live in got] == list(candles[10:25])


@pytest.mark.parametrize("drop_after", [[0], [1], [7], [3, 0, 5, 2, 2], [0, 0, 0, 9]])
def test_nothing_is_lost_or_repeated_across_lost_connections(candles, connect, drop_after):
    steps = [10] * (len(drop_after) + 1)
    with BybitEmulator(candles, drop_after=drop_after, **playing(steps, confirmations=2)) as exchange:
        n = 10 * len(steps)
        got = take(n, exchange, connect(exchange))
        assert [live.candle for live in got] == list(candles[10 : 10 + n])
        subscriptions = [message for message in exchange.stream_messages if message["op"] == "subscribe"]
        assert len(subscriptions) == len(drop_after) + 1


def test_a_candle_whose_confirmation_never_came_is_fetched(candles, connect):
    def play(exchange, topics):
        exchange.advance(exchange.now_ms + 5 * STEP, confirmations=0)
        exchange.advance(exchange.now_ms + STEP)

    with BybitEmulator(candles, now_ms=START + 10 * STEP + 5000, on_subscribe=play) as exchange:
        assert [live.candle for live in take(6, exchange, connect(exchange))] == list(candles[10:16])


def test_several_symbols_each_in_order(candles, other_candles, connect):
    script = playing([12, 12], confirmations=2)
    with BybitEmulator([candles, other_candles], drop_after=[17], **script) as exchange:
        got = take(48, exchange, connect(exchange), ["BTCUSDT", "ETHUSDT"])
    for symbol, served in (("BTCUSDT", candles), ("ETHUSDT", other_candles)):
        assert [live.candle for live in got if live.symbol == symbol] == list(served[10:34])


def test_it_goes_on_where_a_store_ends(candles, connect, tmp_path):
    with BybitEmulator(candles, **playing([10])) as exchange, CandleStore(tmp_path / "c.db") as store:
        store.write(candles[:5])
        last = {series.symbol: series.last_ms for series in store.series()}
        for live in take(16, exchange, connect(exchange), start=last):  # the last stored one comes again
            store.write(live.as_candles())
        assert store.read("BTCUSDT", "5m") == candles[:20]


def test_a_faulty_exchange_over_http_delays_but_loses_nothing(candles, connect):
    faults = lambda request: Fault.RESET if request.number % 2 else None  # noqa: E731
    script = playing([10, 10, 10])
    with BybitEmulator(candles, drop_after=[4, 4], faults=faults, **script) as exchange:
        assert [live.candle for live in take(30, exchange, connect(exchange))] == list(candles[10:40])


def test_a_refused_subscription_names_the_topic(candles, connect):
    with BybitEmulator(candles) as exchange, pytest.raises(UnknownSymbol, match=r"topic:kline\.5\.NOPEUSDT"):
        take(1, exchange, connect(exchange), ["BTCUSDT", "NOPEUSDT"])


def test_spot_subscribes_to_ten_topics_a_request(candles, connect):
    symbols = [f"X{i}USDT" for i in range(23)]
    columns = [candles[:30].start_ms, *(getattr(candles[:30], name) for name in ("open", "high", "low", "close"))]
    spot = [Candles(*columns, candles[:30].volume, symbol=symbol, interval="5m") for symbol in symbols]
    with BybitEmulator({"spot": spot}, now_ms=START + 10 * STEP + 5000) as exchange:
        client = connect(exchange)
        stream = BybitStream(symbols, "5m", "spot", client=client, url=exchange.stream_url, start=START + 9 * STEP)
        got = first(23, stream)
        assert [live.symbol for live in got] == symbols
        assert [len(message["args"]) for message in exchange.stream_messages] == [10, 10, 3]


def test_a_ping_is_sent_and_its_answer_ignored(candles, connect):
    """The answer to a ping has the operation "ping"; the candle comes after three of them."""
    with BybitEmulator(candles, now_ms=START + 10 * STEP + 5000) as exchange:
        stream = BybitStream(
            "BTCUSDT", "5m", client=connect(exchange, gate=_real_time()), url=exchange.stream_url, ping_seconds=0.02
        )
        handle = exchange._streaming()._handle

        def count(connection, subscriber, message):
            handle(connection, subscriber, message)
            if sum(m["op"] == "ping" for m in exchange.stream_messages) == 3 and message["op"] == "ping":
                exchange.advance(exchange.now_ms + STEP)

        exchange._streaming()._handle = count
        assert [live.candle for live in first(1, stream)] == [candles[10]]
        assert [message["op"] for message in exchange.stream_messages][:4] == ["subscribe", "ping", "ping", "ping"]


def test_a_silent_connection_is_replaced(candles, connect):
    with BybitEmulator(candles, **playing([0, 5])) as exchange:
        handle = exchange._streaming()._handle

        def deaf(connection, subscriber, message):
            if message["op"] == "ping":
                exchange._streaming().received.append(message)  # and no answer
            else:
                handle(connection, subscriber, message)

        exchange._streaming()._handle = deaf
        client = connect(exchange, gate=_real_time())
        got = take(5, exchange, client, ping_seconds=0.02)
        assert [live.candle for live in got] == list(candles[10:15])
        assert sum(message["op"] == "subscribe" for message in exchange.stream_messages) == 2


def _real_time():
    """Receiving waits in real time; so must the clock that says when the next ping is due. Nothing else waits."""
    return RequestGate(1e9, sleep=lambda seconds: None)


def test_patience_ends_with_the_last_cause(candles, connect, fake_time):
    with BybitEmulator(candles) as exchange:
        client = connect(exchange)
        with pytest.raises(BybitError, match=r"no candle in 4 connections.*refused") as caught:
            take(1, exchange, client, url="ws://127.0.0.1:9", patience=Retry(attempts=4, base=2.0, cap=5.0))
    assert caught.value.__cause__ is not None
    assert len(fake_time.slept) == 3
    assert all(1.0 <= wait <= 5.0 for wait in fake_time.slept)


def test_a_403_is_access_denied(candles, connect):
    from websockets.sync.server import serve

    def forbid(connection, request):
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    with serve(lambda connection: None, "127.0.0.1", 0, process_request=forbid) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with BybitEmulator(candles) as exchange, pytest.raises(AccessDenied, match="does not serve"):
            take(1, exchange, connect(exchange), url=f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.shutdown()
        thread.join()


def test_breaking_out_and_closing_end_the_connection(candles, connect):
    with BybitEmulator(candles, **playing([5, 5])) as exchange:
        stream = BybitStream("BTCUSDT", "5m", client=connect(exchange), url=exchange.stream_url)
        for live in stream:
            if live.candle == candles[12]:
                stream.close()
        assert live.candle.start_ms <= candles.start_ms[14]  # those already received are handed out


def test_bad_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="at least one"):
        BybitStream([], "5m")
    with pytest.raises(ValueError, match="upper-case"):
        BybitStream("btcusdt", "5m")
    with pytest.raises(ValueError, match="too many"):
        BybitStream([f"X{i}USDT" for i in range(3000)], "5m")
    with pytest.raises(ValueError, match="no candles of"):
        BybitStream("BTCUSDT", "7m")
    with pytest.raises(ValueError, match="category"):
        BybitStream("BTCUSDT", "5m", "option")


def test_the_documented_push_is_understood(candles, connect):
    push = json.loads(
        '{"topic":"kline.5.BTCUSDT","data":[{"start":1672324800000,"end":1672325099999,"interval":"5","open":"16649.5",'
        '"close":"16677","high":"16677","low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,'
        '"timestamp":1672324988882}],"ts":1672324988882,"type":"snapshot"}'
    )
    with BybitEmulator(candles) as exchange:
        stream = BybitStream("BTCUSDT", "5m", client=connect(exchange), url=exchange.stream_url, start=1672324800000)
        assert list(stream._handle(push)) == []
        push["data"][0]["confirm"] = True
        (live,) = stream._handle(push)
        assert live.candle == (1672324800000, 16649.5, 16677, 16608, 16677, 2.081, 34666.4005)
        assert list(stream._handle(push)) == []


@pytest.mark.parametrize(
    "message",
    [
        {"data": None},
        {"data": "abc"},
        {"data": [1]},
        {"data": [{"start": 10**400, "confirm": True}]},
        {"data": [{"high": "1", "low": "9"}]},
        {"data": [{"start": START + 1}]},
        {"data": [{"start": START + 10**12}]},
    ],
)
def test_a_push_that_cannot_be_true_is_not_handed_out(candles, connect, message):
    good = {"start": START, "open": "1", "high": "2", "low": "0.5", "close": "1", "volume": "1", "turnover": "1"}
    data = message["data"]
    if isinstance(data, list) and isinstance(data[0], dict):
        data = [good | {"confirm": True} | data[0]]
    with BybitEmulator(candles) as exchange:
        stream = BybitStream("BTCUSDT", "5m", client=connect(exchange), start=START)
        with pytest.raises(BadAnswer):
            list(stream._handle({"topic": "kline.5.BTCUSDT", "ts": START + STEP, "data": data}))
        assert list(stream._handle({"topic": "kline.1.BTCUSDT", "ts": START + STEP, "data": [good]})) == []
