"""The emulator's WebSocket side: acknowledges subscriptions, answers pings, pushes candles, drops connections."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastkd.market.emulator.exchange import BYBIT_TO_NAME, Exchange, decimal_text, row_values

__all__ = ["StreamServer"]

SPOT_TOPICS = 10  # of one request


class StreamServer:
    """Serves ``/v5/public/{category}`` on loopback.

    `drop_after` lists, connection by connection, after how many pushes it is cut; later ones stay. `on_subscribe` is
    called after each acknowledged subscription, in the thread of its connection.
    """

    def __init__(
        self, exchange: Exchange, drop_after: Sequence[int], on_subscribe: Callable[[Sequence[str]], object] | None
    ) -> None:
        from websockets.sync.server import serve

        self._exchange = exchange
        self._drop_after = list(drop_after)
        self._on_subscribe = on_subscribe
        self._lock = threading.RLock()
        self._open: dict[Any, _Subscriber] = {}
        self.received: list[dict[str, Any]] = []
        self._server = serve(self._serve, "127.0.0.1", 0, ping_interval=None)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.drop()
        self._server.shutdown()
        self._thread.join()

    def drop(self) -> None:
        """Cut every connection without a farewell."""
        with self._lock:
            for connection in list(self._open):
                _cut(connection)

    def publish(self, category: str, symbol: str, interval: str, row: int, now_ms: int) -> None:
        """Push one candle as far as it has come at a time to everybody who subscribed to it."""
        candles = self._exchange.series[category, symbol, interval]
        values, closed = row_values(candles, row, now_ms)
        open_, high, low, close, volume, turnover = map(decimal_text, values)
        if category == "inverse":
            volume, turnover = turnover, volume
        start = int(candles.start_ms[row])
        prices = {"open": open_, "close": close, "high": high, "low": low, "volume": volume, "turnover": turnover}
        times = {"start": start, "end": int(candles.close_ms[row]) - 1, "interval": interval}
        data = [{**times, **prices, "confirm": closed, "timestamp": now_ms}]
        topic = f"kline.{interval}.{symbol}"
        message = json.dumps({"topic": topic, "data": data, "ts": now_ms, "type": "snapshot"})
        with self._lock:
            for connection, subscriber in list(self._open.items()):
                if subscriber.category == category and topic in subscriber.topics:
                    self._push(connection, subscriber, message)

    def _push(self, connection: Any, subscriber: _Subscriber, message: str) -> None:
        from websockets.exceptions import ConnectionClosed

        if subscriber.pushes_left == 0:
            _cut(connection)
            return
        if subscriber.pushes_left is not None:
            subscriber.pushes_left -= 1
        try:
            connection.send(message)
        except ConnectionClosed:
            self._open.pop(connection, None)

    def _serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        category = urlsplit(connection.request.path).path.rpartition("/")[2]
        subscriber = _Subscriber(category)
        with self._lock:
            subscriber.pushes_left = self._drop_after.pop(0) if self._drop_after else None
            self._open[connection] = subscriber
        try:
            with contextlib.suppress(ConnectionClosed):
                for text in connection:
                    self._handle(connection, subscriber, json.loads(text))
        finally:
            with self._lock:
                self._open.pop(connection, None)

    def _handle(self, connection: Any, subscriber: _Subscriber, message: dict[str, Any]) -> None:
        self.received.append(message)
        operation, topics = message.get("op"), message.get("args", [])
        answer = {"success": True, "ret_msg": "", "conn_id": subscriber.id, "req_id": message.get("req_id", "")}
        if operation == "ping":
            connection.send(json.dumps({**answer, "ret_msg": "pong", "op": "ping"}))
        elif operation == "subscribe":
            fault = self._fault(subscriber.category, topics)
            if not fault and subscriber.category == "spot":
                answer["ret_msg"] = "subscribe"
            if fault:
                answer |= {"success": False, "ret_msg": fault}
            else:
                with self._lock:
                    subscriber.topics.update(topics)
            connection.send(json.dumps({**answer, "op": "subscribe"}))
            if not fault and self._on_subscribe is not None:
                self._on_subscribe(topics)

    def _fault(self, category: str, topics: Sequence[str]) -> str:
        """One unknown topic fails the whole request."""
        if category == "spot" and len(topics) > SPOT_TOPICS:
            return "args size >10"
        for topic in topics:
            kind, _, rest = topic.partition(".")
            interval, _, symbol = rest.partition(".")
            known = (category, symbol, interval) in self._exchange.series
            if kind != "kline" or interval not in BYBIT_TO_NAME or not known:
                return f"error:handler not found,topic:{topic}"
        return ""


class _Subscriber:
    def __init__(self, category: str) -> None:
        self.category = category
        self.id = str(uuid.uuid4())
        self.topics: set[str] = set()
        self.pushes_left: int | None = None


def _cut(connection: Any) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        connection.socket.shutdown(socket.SHUT_RDWR)
