"""Rate limits, faults and refusals: what is tried again, how long is waited, and what stops everything."""

import contextlib
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fastkd.market import AccessDenied, BybitClient, BybitError, RateLimited, RequestGate, Retry, UnknownSymbol
from fastkd.market.emulator import BybitEmulator, Fault
from fastkd.market.retry import BadAnswer, TooFast, read_answer

START = 1_704_067_200_000

PASSING = [
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_WITH_RESET,
    Fault.TOO_MANY_REQUESTS,
    Fault.BAD_GATEWAY,
    Fault.SERVER_TIMEOUT,
    Fault.SERVER_ERROR,
    Fault.TRUNCATED_JSON,
    Fault.SLOW,
    Fault.RESET,
    Fault.WRONG_SYMBOL,
]


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_changes_nothing_but_the_time(candles, connect, fake_time, fault):
    faults = {1: fault, 3: fault, 4: fault}
    with BybitEmulator(candles, faults=faults) as exchange:
        got = connect(exchange, timeout=0.3 if fault is Fault.SLOW else 10).klines("BTCUSDT", "5m", START)
        assert got == candles
        assert len(exchange.requests) == 3 + 3
    assert len(fake_time.slept) >= 3


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in PASSING and fault is not Fault.FORBIDDEN])
def test_spoiled_rows_are_repaired(candles, connect, fault):
    with BybitEmulator(candles, faults={2: fault}) as exchange:
        assert connect(exchange).klines("BTCUSDT", "5m", START) == candles


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault.RATE_LIMIT, RateLimited, "10006"),
        (Fault.TOO_MANY_REQUESTS, RateLimited, "429"),
        (Fault.SERVER_ERROR, BybitError, "10016"),
        (Fault.TRUNCATED_JSON, BybitError, "not JSON"),
        (Fault.RESET, BybitError, "reset|aborted"),
    ],
)
def test_when_all_attempts_fail_the_last_cause_is_told(candles, connect, fault, error, words):
    with BybitEmulator(candles, faults=lambda request: fault) as exchange:
        with pytest.raises(error, match=f"3 attempts.*({words})") as caught:
            connect(exchange, retry=Retry(attempts=3)).klines("BTCUSDT", "5m", START)
        assert caught.value.__cause__ is not None
        assert len(exchange.requests) == 3


def test_a_reset_header_is_honored_by_the_servers_clock(candles, connect, fake_time):
    with BybitEmulator(candles, faults={1: Fault.RATE_LIMIT_WITH_RESET}) as exchange:
        connect(exchange).klines("BTCUSDT", "5m", START, START + 1)
    assert 2.0 <= sum(fake_time.slept) <= 2.3


def test_without_a_reset_header_a_second_or_two_is_waited(candles, connect, fake_time):
    with BybitEmulator(candles, faults={1: Fault.RATE_LIMIT}) as exchange:
        connect(exchange).klines("BTCUSDT", "5m", START, START + 1)
    assert 1.0 <= sum(fake_time.slept) <= 2.0


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_waits_grow_have_jitter_and_are_capped(failures, uniform):
    retry = Retry(base=0.5, cap=30.0)
    full = min(30.0, 0.5 * 2.0 ** (failures - 1))
    assert full / 2 <= retry.delay(failures, uniform) <= full
    assert retry.delay(failures, 0.9) > retry.delay(failures, 0.1)


@given(st.floats(0.5, 500), st.integers(1, 20), st.lists(st.floats(0, 0.5), min_size=1, max_size=60))
def test_the_bucket_never_gives_more_than_it_holds_and_gains(per_second, burst, pauses):
    now = [0.0]
    gate = RequestGate(per_second, burst=burst, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    passed = []
    for pause in pauses:
        now[0] += pause
        gate.wait()
        passed.append(now[0])
    for i, first in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= burst + (passed[j] - first) * per_second + 1e-6


def test_threads_share_one_bucket(candles, other_candles, connect, fake_time):
    with BybitEmulator([candles, other_candles]) as exchange:
        client = connect(exchange, gate=fake_time.gate(10))
        with ThreadPoolExecutor(4) as pool:
            end = int(other_candles.start_ms[-1])
            jobs = [pool.submit(client.klines, s, "5m", START, end, limit=100) for s in ("BTCUSDT", "ETHUSDT") * 2]
            assert [len(job.result()) for job in jobs] == [1500] * 4
        n = len(exchange.requests)
    assert n == 4 * 15
    assert fake_time.now - 1000.0 >= (n - 1) / 10 - 1e-6


def test_when_one_thread_is_too_fast_all_pause(fake_time):
    gate = fake_time.gate(10)
    gate.wait()
    gate.pause(5.0)  # as another thread would
    gate.wait()
    assert fake_time.now >= 1005.0


def test_a_403_stops_everything_and_names_both_causes(candles, connect, fake_time):
    with BybitEmulator(candles, faults={2: Fault.FORBIDDEN}) as exchange:
        client = connect(exchange)
        with pytest.raises(AccessDenied, match=r"(?s)too many requests.*10 minutes.*does not serve") as caught:
            client.klines("BTCUSDT", "5m", START)
        assert caught.value.code == 403
        for _ in range(3):
            with pytest.raises(AccessDenied, match="nothing is sent"):
                client.server_time()
        assert len(exchange.requests) == 2
        fake_time.sleep(601)  # the block is lifted after ten minutes
        assert client.server_time() == exchange.now_ms


def test_a_403_stops_every_thread(candles, connect):
    with BybitEmulator(candles, faults=lambda request: Fault.FORBIDDEN if request.number >= 5 else None) as exchange:
        client = connect(exchange)
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(client.klines, "BTCUSDT", "5m", START, limit=50) for _ in range(8)]
            assert all(isinstance(job.exception(), AccessDenied) for job in jobs)
        assert len(exchange.requests) <= 4 + 4  # at most the requests already under way


def test_the_limit_of_600_in_5_seconds_is_met_as_access_denied(candles, connect):
    with BybitEmulator(candles, max_per_5s=10) as exchange, pytest.raises(AccessDenied, match="600 in 5 s"):
        connect(exchange).klines("BTCUSDT", "5m", START, limit=100)


def test_no_key_no_body(candles, connect):
    with BybitEmulator(candles) as exchange:
        connect(exchange).klines("BTCUSDT", "5m", START, START + 1)
        (request,) = exchange.requests
    assert not any(name.startswith("x-bapi") or name == "authorization" for name in request.headers)
    assert request.headers.get("content-length", "0") == "0"
    assert "api_key" not in request.params


@pytest.mark.parametrize("text", ["OK", "success", "SUCCESS", ""])
def test_success_is_known_by_its_code_alone(text):
    assert read_answer(200, {}, f'{{"retCode":0,"retMsg":"{text}","result":{{}}}}', "BTCUSDT")["retCode"] == 0


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (10001, UnknownSymbol),
        (10006, TooFast),
        (10018, TooFast),
        (429, TooFast),
        (10000, BadAnswer),
        (10016, BadAnswer),
        (10009, AccessDenied),
        (10024, AccessDenied),
        (10002, BybitError),
        (10017, BybitError),
        (10029, BybitError),
    ],
)
def test_every_code_has_its_error(code, error):
    with pytest.raises(error, match=str(code)):
        read_answer(200, {}, f'{{"retCode":{code},"retMsg":"any text"}}', "BTCUSDT")


@pytest.mark.parametrize("text", ["", "<html></html>", "[]", "{}", '{"retCode":"0"}', '{"retCode":0,"resu'])
def test_bodies_that_are_no_answer_are_tried_again(text):
    with pytest.raises(BadAnswer):
        read_answer(200, {}, text, None)


def test_the_published_rate_limit_answer_has_no_header_and_is_understood():
    message = "Too many visits. Exceeded the API Rate Limit."
    body = f'{{"retCode":10006,"retMsg":"{message}","result":{{}},"retExtInfo":{{}},"time":1769281203039}}'
    assert len(body) == 123
    with pytest.raises(TooFast) as caught:
        read_answer(200, {}, body, "BTCUSDT")
    assert caught.value.wait is None
    with pytest.raises(TooFast) as caught:
        read_answer(200, {"X-Bapi-Limit-Reset-Timestamp": "1769281204539"}, body, "BTCUSDT")
    assert caught.value.wait == 1.5


def test_an_exception_of_another_kind_is_not_tried_again(fake_time):
    calls = []

    def send():
        calls.append(1)
        raise KeyError("ours")

    with pytest.raises(KeyError):
        Retry().run(send, fake_time.gate(), random.Random(0), "GET")
    assert len(calls) == 1


def test_a_refused_connection_is_tried_again_and_told(fake_time):
    def send():
        raise requests.ConnectionError("refused")

    with pytest.raises(BybitError, match=r"GET x: no usable answer in 4 attempts.*refused"):
        Retry(attempts=4).run(send, fake_time.gate(), random.Random(0), "GET x")
    assert len(fake_time.slept) == 3


def test_an_answer_that_drips_in_is_given_up():
    """Each byte comes in time, the answer never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.02)

        threading.Thread(target=drip, daemon=True).start()
        client = BybitClient(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.1, retry=Retry(attempts=1))
        with pytest.raises(BybitError, match="longer than"):
            client.server_time()
