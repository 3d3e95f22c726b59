"""Both sides of the emulator under one clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastkd.market.candles import Candles
from fastkd.market.emulator.exchange import Exchange
from fastkd.market.emulator.rest_server import FaultScript, Request, RestServer
from fastkd.market.emulator.stream_server import StreamServer

__all__ = ["BybitEmulator"]


class BybitEmulator:
    """A local exchange that serves given candles as Bybit does, on loopback only. A context manager.

    Parameters
    ----------
    candles : Candles, iterable of Candles, or mapping of a category to these
        Each with symbol and interval; without a category they are linear. Prices are sent as the shortest decimals
        that read back as the same floats; an unknown turnover (NaN) is sent empty.
    now_ms : int or callable, optional
        The exchange's clock. Later candles do not exist yet, and the one it stands in is open, with values in
        proportion to the time passed. Default: ten seconds after the last candle has closed.
    faults : mapping of request number (from 1) to Fault, or callable (Request) -> Fault or None
    oldest_of_window : bool
        Where a window holds more than `limit` candles, serve its oldest instead of its newest ones.
    max_per_5s : int
        Requests in 5 seconds above which the answer is HTTP 403.
    instruments : mapping of a category to entries of instruments-info
        In addition to those of `candles`.
    drop_after : sequence of int
        The k-th WebSocket connection is cut when it is due one more push than ``drop_after[k]``.
    on_subscribe : callable (emulator, topics), optional
        Called after each acknowledged subscription; may call `advance` to push candles.

    Attributes
    ----------
    base_url : str
        For `BybitClient`.
    requests : list of Request
        Every HTTP request so far.
    now_ms : int
        The clock, settable.

    Examples
    --------
    >>> import requests
    >>> from fastkd.market import Candles
    >>> minute = Candles([0, 60_000], [5.0, 6.0], [7.0, 7.0], [5.0, 5.5], [6.0, 7.0], [10.0, 20.0],
    ...                  symbol="XUSDT", interval="1m")
    >>> with BybitEmulator(minute, now_ms=90_000) as exchange:
    ...     reply = requests.get(exchange.base_url + "/v5/market/kline", timeout=5,
    ...                          params={"symbol": "XUSDT", "interval": "1"})
    ...     reply.json()["result"]["list"][0]  # newest first, and half of it is still to come
    ['60000', '6', '6.5', '6', '6.5', '10', '']
    """

    def __init__(
        self,
        candles: Candles | Iterable[Candles] | Mapping[str, Candles | Iterable[Candles]],
        *,
        now_ms: int | Callable[[], int] | None = None,
        faults: FaultScript | None = None,
        oldest_of_window: bool = False,
        max_per_5s: int = 600,
        instruments: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        drop_after: Sequence[int] = (),
        on_subscribe: Callable[[BybitEmulator, Sequence[str]], object] | None = None,
    ) -> None:
        self.exchange = Exchange(candles, now_ms, oldest_of_window, instruments or {})
        self._faults = faults if faults is not None else {}
        self._max_per_5s = max_per_5s
        self._drop_after, self._on_subscribe = drop_after, on_subscribe
        self._rest: RestServer | None = None
        self._stream: StreamServer | None = None

    def __enter__(self) -> Self:
        self._rest = RestServer(self.exchange, self._faults, self._max_per_5s)
        self._thread = threading.Thread(target=self._rest.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._rest is not None:
            self._rest.stopping.set()
            self._rest.shutdown()
            self._rest.server_close()
            self._thread.join()
            self._rest = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._running().server_address[1]}"

    @property
    def stream_url(self) -> str:
        """For `BybitStream`; the category is appended by it. Needs the package websockets."""
        return f"ws://127.0.0.1:{self._streaming().port}/v5/public"

    @property
    def requests(self) -> list[Request]:
        return list(self._running().requests)

    @property
    def stream_messages(self) -> list[dict[str, Any]]:
        """Every WebSocket message received so far."""
        return list(self._streaming().received)

    @property
    def now_ms(self) -> int:
        return self.exchange.now_ms

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        self.exchange.now_ms = value

    def advance(self, now_ms: int, *, confirmations: int = 1) -> None:
        """Move the clock on, and push each candle that closes on the way: once while open, then as confirmed.

        `confirmations` above 1 repeats the confirmed message, as the exchange sometimes does; 0 leaves it out.
        """
        before, self.now_ms = self.now_ms, now_ms
        due = []
        for (category, symbol, interval), candles in self.exchange.series.items():
            closes = candles.close_ms
            first, stop = np.searchsorted(closes, [before, now_ms], side="right").tolist()
            due += [(int(closes[i]), category, symbol, interval, i) for i in range(first, stop)]
        for close_ms, category, symbol, interval, row in sorted(due):
            self._streaming().publish(category, symbol, interval, row, close_ms - 1)
            for _ in range(confirmations):
                self._streaming().publish(category, symbol, interval, row, close_ms)

    def drop_connections(self) -> None:
        """Cut every WebSocket connection without a farewell."""
        self._streaming().drop()

    def _running(self) -> RestServer:
        if self._rest is None:
            raise ValueError("the emulator is not running: use it in a with statement")
        return self._rest

    def _streaming(self) -> StreamServer:
        self._running()
        if self._stream is None:
            script = self._on_subscribe
            notify = None if script is None else lambda topics: script(self, topics)
            self._stream = StreamServer(self.exchange, self._drop_after, notify)
        return self._stream
