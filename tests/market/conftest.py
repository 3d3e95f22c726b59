"""A clock that does not wait, candles of a synthetic market, and clients of a local exchange."""

import threading

import pytest

from fastkd.market import BybitClient, Candle, Candles, RequestGate, synthetic_market


class FakeTime:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []
        self._lock = threading.Lock()

    def clock(self):
        with self._lock:
            return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds

    def gate(self, per_second=1e6, **options):
        return RequestGate(per_second, clock=self.clock, sleep=self.sleep, **options)


@pytest.fixture
def fake_time():
    return FakeTime()


def plain(market, symbol, interval):
    columns = [getattr(market, name) for name in Candle._fields]
    return Candles(*columns, symbol=symbol, interval=interval)


@pytest.fixture(scope="session")
def candles():
    """3,000 five-minute candles of BTCUSDT from 2024-01-01 on."""
    return plain(synthetic_market(3000, random_state=0), "BTCUSDT", "5m")


@pytest.fixture(scope="session")
def other_candles():
    return plain(synthetic_market(1500, random_state=1), "ETHUSDT", "5m")


@pytest.fixture
def connect(fake_time):
    """Make a client of an emulator that waits for nothing."""

    def make(exchange, **options):
        options.setdefault("gate", fake_time.gate())
        return BybitClient(exchange.base_url, random_state=0, **options)

    return make
