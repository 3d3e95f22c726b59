"""Closed candles as they close: the exchange's WebSocket, with every gap filled over HTTP."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import random
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastkd._check import as_positive
from fastkd.market.bybit_messages import bybit_interval, check_category, check_symbol, is_possible, parse_row
from fastkd.market.candles import Candle, Candles
from fastkd.market.client import BybitClient
from fastkd.market.errors import AccessDenied, BybitError, UnknownSymbol
from fastkd.market.grid import Grid
from fastkd.market.retry import DENIED, BadAnswer, Retry
from fastkd.market.times import time_to_ms

if TYPE_CHECKING:
    from fastkd.market.client import Time

__all__ = ["BybitStream", "LiveCandle"]

LOG = logging.getLogger(__name__)

AHEAD = 1000  # candles that ``async for`` reads ahead
SPOT_TOPICS = 10  # of one request
MOST_CHARACTERS = 21_000  # of all topics of a connection
SILENT_PINGS = 2  # pings without any answer after which a connection counts as dead
SUBSCRIBE_SECONDS = 10.0  # until a subscription must be acknowledged
SILENT_SECONDS = 180.0  # without any candle, open ones included, after which a connection counts as dead
CLOCK_MS = 5000  # by which a candle may begin after the time of the message that tells of it
NEEDS = "live candles need websockets: pip install 'fastkd[live]'"
PATIENCE = Retry(attempts=20, base=2.0, cap=30.0)


class LiveCandle(NamedTuple):
    """A candle that has closed, and whose it is."""

    symbol: str
    interval: str
    candle: Candle

    def as_candles(self) -> Candles:
        """As a table of one row, as `CandleStore.write` takes it."""
        return Candles(*([value] for value in self.candle), symbol=self.symbol, interval=self.interval)


class BybitStream:
    """An endless iterator over closed candles, also for ``async for``: of each symbol every one, once, in order.

    It subscribes, sends a ping every 20 seconds, and after a lost or silent connection connects and subscribes again.
    Candles that closed meanwhile are fetched over HTTP before newer ones are handed out; repeated confirmations are
    dropped. A break in the loop closes the connection.

    Parameters
    ----------
    symbols : str or sequence of str
    interval, category
        As in `BybitClient.klines`.
    client : BybitClient, optional
        For gaps and the server's time; also lends its clock and sleep.
    start : int, datetime or str, or mapping of symbol to these, optional
        Start of the first candle to hand out; default: the one that is open now.
    url : str
        Without the category.
    ping_seconds : float
    patience : Retry
        Connections in a row without a candle before BybitError is raised, and the waits in between.

    Raises
    ------
    UnknownSymbol
        The exchange refuses a subscription; one bad symbol fails all that were asked for with it.
    AccessDenied, BybitError

    Notes
    -----
    A candle that the exchange does not serve even when asked again is skipped, with a warning in the log
    ``fastkd.market.stream``; the ones after it still come. Needs the package websockets.

    Examples
    --------
    Keep a store up to date, and go on after a stop where it ended::

        last = {s.symbol: s.last_ms for s in store.series()}
        for live in BybitStream(list(last), "5m", start=last):
            store.write(live.as_candles())

    In an event loop::

        async for live in BybitStream("BTCUSDT", "5m"):
            ...
    """

    def __init__(
        self,
        symbols: str | Sequence[str],
        interval: str | int,
        category: str = "linear",
        *,
        client: BybitClient | None = None,
        start: Time | Mapping[str, Time | None] | None = None,
        url: str = "wss://stream.bybit.com/v5/public",
        ping_seconds: float = 20.0,
        patience: Retry = PATIENCE,
        random_state: int | None = None,
    ) -> None:
        check_category(category)
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        if not names:
            raise ValueError("symbols must name at least one symbol")
        self.symbols = [check_symbol(name, category) for name in dict.fromkeys(names)]
        self.category, self.grid = category, Grid(interval)
        self._topics = [f"kline.{bybit_interval(interval)}.{name}" for name in self.symbols]
        if sum(map(len, self._topics)) > MOST_CHARACTERS:
            raise ValueError(f"{len(names)} symbols are too many for one connection: use several streams")
        self._client = BybitClient() if client is None else client
        starts = start if isinstance(start, Mapping) else dict.fromkeys(self.symbols, start)
        self._last = {  # number of the candle handed out last
            name: self.grid.first_from(time_to_ms(starts[name], "start")) - 1
            for name in self.symbols
            if starts.get(name) is not None
        }
        self._url = f"{url.rstrip('/')}/{category}"
        self._ping_seconds = as_positive(ping_seconds, "ping_seconds")
        self._patience = patience
        self._random = random.Random(random_state)
        self._connection: Any = None
        self._closed = False
        self._failures = 0
        step_ms = self.grid.start_ms(1) - self.grid.start_ms(0)
        self._push_seconds = max(SILENT_SECONDS, step_ms / 10_000)  # pushes come every 1 to 60 seconds
        self._last_push = 0.0

    def __iter__(self) -> Iterator[LiveCandle]:
        try:
            from websockets.exceptions import WebSocketException
        except ImportError:
            raise ImportError(NEEDS) from None
        if any(name not in self._last for name in self.symbols):
            closed = self.grid.last_closed(self._client.server_time())
            self._last = dict.fromkeys(self.symbols, closed) | self._last
        while not self._closed:
            try:
                yield from self._connected()
            except (AccessDenied, UnknownSymbol):
                raise
            except (OSError, WebSocketException, BadAnswer) as error:
                if not self._closed:
                    self._wait_before_next(error)

    async def __aiter__(self) -> AsyncIterator[LiveCandle]:
        """The same for ``async for``: a thread waits for the exchange, the event loop does not.

        At most `AHEAD` candles are read ahead of a consumer that is slow. The end of the loop closes the connection; to
        be sure of that after a ``break``, use ``contextlib.aclosing(aiter(stream))``.
        """
        import asyncio  # here: it takes a third of the time of import fastkd.market

        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[Any] = asyncio.Queue(AHEAD)

        def put(item: Any) -> None:
            asyncio.run_coroutine_threadsafe(waiting.put(item), loop).result()

        def listen() -> None:
            with contextlib.suppress(RuntimeError, asyncio.CancelledError):  # the event loop has ended
                try:
                    for live in self:
                        put((live, None))
                    put((None, None))
                except Exception as error:
                    put((None, error))

        threading.Thread(target=listen, name="BybitStream", daemon=True).start()
        try:
            while True:
                live, error = await waiting.get()
                if error is not None:
                    raise error
                if live is None:
                    return
                yield live
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration; may be called from another thread."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> Iterator[LiveCandle]:
        """Candles of one connection, until it fails."""
        with _connect(self._url) as connection:
            self._connection = connection
            early = self._subscribe(connection)
            for name in self.symbols:  # what closed while nobody listened; pushes wait meanwhile
                yield from self._fill(name, None)
            for message in early:
                yield from self._handle(message)
            for message in self._messages(connection):
                yield from self._handle(message)

    def _subscribe(self, connection: Any) -> list[dict[str, Any]]:
        """Subscribe to everything, and return pushes that came before the last acknowledgment."""
        size = SPOT_TOPICS if self.category == "spot" else len(self._topics)
        requests = [self._topics[i : i + size] for i in range(0, len(self._topics), size)]
        for number, topics in enumerate(requests):
            connection.send(json.dumps({"req_id": f"subscribe-{number}", "op": "subscribe", "args": topics}))
        pushes: list[dict[str, Any]] = []
        acknowledged = 0
        deadline = self._client.gate.clock() + SUBSCRIBE_SECONDS
        for message in self._messages(connection, deadline):
            if message.get("op") == "subscribe":
                if not message.get("success"):
                    raise UnknownSymbol(f"Bybit refuses to stream {self.category} candles: {message.get('ret_msg')}")
                acknowledged += 1
                if acknowledged == len(requests):
                    break
            else:
                pushes.append(message)
        return pushes

    def _messages(self, connection: Any, deadline: float = math.inf) -> Iterator[dict[str, Any]]:
        """Messages as they come, with a ping every 20 seconds; TimeoutError at the deadline, or if no candle comes."""
        clock = self._client.gate.clock
        self._last_push = clock()
        next_ping, unanswered = clock() + self._ping_seconds, 0
        while True:
            if clock() >= deadline:
                raise TimeoutError("the subscription was not acknowledged")
            if clock() >= self._last_push + self._push_seconds:
                raise TimeoutError("answers to pings come, candles do not")
            if clock() >= next_ping:
                if unanswered >= SILENT_PINGS:
                    raise TimeoutError(f"no message for {unanswered + 1} pings")
                connection.send(json.dumps({"req_id": "ping", "op": "ping"}))
                next_ping, unanswered = clock() + self._ping_seconds, unanswered + 1
            try:
                text = connection.recv(timeout=max(0.0, min(next_ping, deadline) - clock()))
            except TimeoutError:
                continue
            unanswered = 0
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                raise BadAnswer(f"a message is not JSON: {text[:80]!r}") from None
            if isinstance(message, dict):
                yield message

    def _handle(self, message: dict[str, Any]) -> Iterator[LiveCandle]:
        """The candles of a push that have closed, each after those missing before it."""
        topic, pushed = message.get("topic"), message.get("data")
        if topic not in self._topics:
            return
        if not isinstance(pushed, list) or not all(isinstance(data, dict) for data in pushed):
            raise BadAnswer(f"a push of {topic} holds no candles: {pushed!r:.80}")
        name = topic.rpartition(".")[2]  # the candle itself does not say whose it is
        columns = ("start", "open", "high", "low", "close", "volume", "turnover")
        for data in pushed:
            values = parse_row([data.get(column) for column in columns], self.category)
            start = int(values[0])
            number = self.grid.number(start)
            self._last_push = self._client.gate.clock()
            self._failures = 0
            if data.get("confirm") is not True:
                continue
            sent_ms = message.get("ts")
            early = type(sent_ms) is int and start > sent_ms + CLOCK_MS
            if not is_possible(values) or start != self.grid.start_ms(number) or early:
                raise BadAnswer(f"a push of {topic} holds an impossible candle: {data!r:.160}")
            if number > self._last[name] + 1:
                yield from self._fill(name, self.grid.start_ms(number - 1))
            if number > self._last[name]:
                yield self._hand_out(name, Candle(start, *values[1:]))

    def _fill(self, name: str, end_ms: int | None) -> Iterator[LiveCandle]:
        """Closed candles after the last one handed out, over HTTP."""
        start_ms = self.grid.start_ms(self._last[name] + 1)
        end_ms = end_ms if end_ms is None else max(end_ms, start_ms)
        for page in self._client.pages(name, self.grid.interval, start_ms, end_ms, self.category):
            if page.gaps:
                missing = sum(gap.missing for gap in page.gaps)
                LOG.warning("%s %s: %d candle(s) were not served", name, self.grid.interval, missing)
            for row in page.table.T.tolist():
                yield self._hand_out(name, Candle(int(row[0]), *row[1:]))

    def _hand_out(self, name: str, candle: Candle) -> LiveCandle:
        self._last[name] = self.grid.number(candle.start_ms)
        return LiveCandle(name, self.grid.interval, candle)

    def _wait_before_next(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= self._patience.attempts:
            text = f"{self._url}: no candle in {self._failures} connections; the last failed with: {error}"
            raise BybitError(text) from error
        LOG.warning("%s: connection lost (%s); connecting again", self._url, error)
        self._client.gate.sleep(self._patience.delay(self._failures, self._random.random()))


def _connect(url: str) -> Any:
    try:
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect
    except ImportError:
        raise ImportError(NEEDS) from None
    try:
        return connect(url, open_timeout=10, close_timeout=1, ping_interval=None)  # the exchange wants its own pings
    except InvalidStatus as error:
        if error.response.status_code == 403:
            raise AccessDenied(DENIED, 403) from error
        raise
