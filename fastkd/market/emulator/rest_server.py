"""The emulator's HTTP side: counts and records requests, applies the fault script, answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from fastkd.market.emulator.exchange import Exchange, Refused
from fastkd.market.emulator.faults import Fault, encode, envelope, replace_answer

__all__ = ["Request", "RestServer"]

WINDOW_SECONDS = 5.0


class Request(NamedTuple):
    """A request as it arrived: its number from 1, path, parameters, and headers with names in lower case."""

    number: int
    path: str
    params: dict[str, str]
    headers: dict[str, str]


FaultScript = Mapping[int, Fault] | Callable[[Request], Fault | None]


class RestServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        exchange: Exchange,
        faults: FaultScript,
        max_per_5s: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exchange = exchange
        self.faults = faults
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._max, self._clock = max_per_5s, clock
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self, path: str, params: dict[str, str], headers: dict[str, str]) -> tuple[Request, Fault | None]:
        """Record a request and say what is to go wrong with it."""
        with self._lock:
            request = Request(len(self.requests) + 1, path, params, headers)
            self.requests.append(request)
            now = self._clock()
            self._recent.append(now)
            while self._recent[0] <= now - WINDOW_SECONDS:
                self._recent.popleft()
            if len(self._recent) > self._max:
                return request, Fault.FORBIDDEN
        return request, self.faults(request) if callable(self.faults) else self.faults.get(request.number)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RestServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        request, fault = self.server.admit(
            parts.path, dict(parse_qsl(parts.query)), {name.lower(): text for name, text in self.headers.items()}
        )
        now_ms = self.server.exchange.now_ms
        if fault is Fault.SLOW:
            self.server.stopping.wait()  # answers nobody any more
            self.close_connection = True
            return
        if fault is Fault.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()  # with lingering off this sends a reset
            self.close_connection = True
            return
        replaced = replace_answer(fault, now_ms) if fault is not None else None
        status, headers, body = replaced or self._answer(request, fault, now_ms)
        if fault is Fault.TRUNCATED_JSON:
            body = body[: len(body) // 2]
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, request: Request, fault: Fault | None, now_ms: int) -> tuple[int, dict[str, str], bytes]:
        exchange = self.server.exchange
        try:
            if request.path == "/v5/market/kline":
                result = exchange.klines(request.params, now_ms, fault)
            elif request.path == "/v5/market/instruments-info":
                result = exchange.instruments_page(request.params)
            elif request.path == "/v5/market/time":
                result = {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}
            else:
                return 404, {}, encode(envelope(10017, "Route not found.", {}, now_ms))
        except Refused as refusal:
            return 200, {}, encode(envelope(refusal.code, str(refusal), {}, now_ms))
        return 200, {}, encode(envelope(0, "OK", result, now_ms))

    def log_message(self, format: str, *args: object) -> None:
        """Requests are recorded, not printed."""
