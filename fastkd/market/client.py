"""Bybit's public market data over HTTP: closed candles of any range, instruments, server time. No key is needed."""

from __future__ import annotations

import functools
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from fastkd._check import as_positive
from fastkd.market.bybit_messages import bybit_interval, check_category, check_symbol, parse_klines
from fastkd.market.candles import Candles
from fastkd.market.errors import MissingCandlesWarning, UnknownSymbol
from fastkd.market.grid import Grid
from fastkd.market.instruments import Instrument, parse_instruments
from fastkd.market.paging import Page, Series, join_gaps, join_pages, page_through
from fastkd.market.rate_limit import RequestGate
from fastkd.market.retry import BadAnswer, Retry, read_answer
from fastkd.market.times import range_to_ms, utc_text

__all__ = ["BybitClient", "fetch_bybit_klines"]

PATIENCE = 6  # timeouts that a whole answer may take
T = TypeVar("T")
Time = int | str | datetime
BYBIT = "https://api.bybit.com"


class BybitClient:
    """Reads public market data of the exchange Bybit; safe to share between threads.

    Parameters
    ----------
    base_url : str
        Another host of the exchange (``https://api.bytick.com``, a regional one, the test network), or an emulator.
    per_second : float
        Requests a second of all threads together. The exchange blocks an address above 120.
    timeout : float
        Seconds to wait for a connection, and for each part of an answer.
    retry : Retry
        How often a request is sent, and the waits in between.
    gate : RequestGate, optional
        Give several clients the same one to share the limit; then `per_second` is the gate's.
    settle_ms : int
        A candle that closed less than this before the server's time is fetched once more after that long, because
        the last trades may be folded in late.
    random_state : int or None
        Of the jitter of the waits.

    Raises
    ------
    UnknownSymbol, RateLimited, AccessDenied, BybitError
        From every method. After an HTTP 403 all threads stop, and nothing is sent for ten minutes.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> from fastkd.market.emulator import BybitEmulator
    >>> with BybitEmulator(synthetic_market(2500, random_state=0, symbol="BTCUSDT")) as exchange:
    ...     client = BybitClient(exchange.base_url, per_second=1000)
    ...     client.klines("BTCUSDT", "5m", "2024-01-02", "2024-01-03")
    Candles(BTCUSDT, 5m, 289 rows, 2024-01-02 00:00 .. 2024-01-03 00:00 UTC)
    """

    def __init__(
        self,
        base_url: str = BYBIT,
        *,
        per_second: float = 10.0,
        timeout: float = 10.0,
        retry: Retry | None = None,
        gate: RequestGate | None = None,
        settle_ms: int = 1000,
        random_state: int | None = None,
    ) -> None:
        if not isinstance(base_url, str) or not base_url.startswith(("https://", "http://")):
            raise ValueError(f"base_url must start with https:// or http://; got {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self.timeout = as_positive(timeout, "timeout")
        self.retry = Retry() if retry is None else retry
        self.gate = RequestGate(per_second) if gate is None else gate
        self.settle_ms = settle_ms
        self._random = random.Random(random_state)
        # (symbol, category) -> from when until when there is nothing, as searches for the day of listing found
        self._listing: dict[tuple[str, str], tuple[int, int]] = {}
        self._sessions = threading.local()  # a requests session is not made for several threads

    def klines(
        self,
        symbol: str,
        interval: str | int,
        start: Time,
        end: Time | None = None,
        category: str = "linear",
        *,
        limit: int = 1000,
        workers: int = 1,
    ) -> Candles:
        """Closed candles whose start lies in [start, end], ascending, each once.

        Parameters
        ----------
        symbol : str
            Upper case, ``"BTCUSDT"``.
        interval : str or int
            ``"5m"`` or ``"5"``, ``"1h"`` or ``"60"``, ``"1d"`` or ``"D"``, ``"1w"`` or ``"W"``, ``"1M"`` or ``"M"``.
        start, end : int, datetime or str
            UTC milliseconds, a datetime or an ISO string (UTC where it names no zone); `end` is inclusive, and
            without it everything up to now is read.
        category : {"linear", "spot", "inverse"}
        limit : int
            Candles a request, from 1 to 1000.
        workers : int
            Requests at the same time; they share the rate limit.

        Returns
        -------
        Candles
            Volume in base coin and turnover in quote currency, for inverse contracts too. Candles from before the
            symbol was listed do not exist, so the result may begin later than `start`; it may be empty.

        Warns
        -----
        MissingCandlesWarning
            Candles between others, or before `end`, were not served although asked for again: see ``check().gaps``.

        Notes
        -----
        A candle is closed if it ends at or before the time that the server writes into the same answer. Each request
        names both ends of a window of at most `limit` candles, so that it does not matter which end of a larger
        window the server would serve.
        """
        pages = list(self.pages(symbol, interval, start, end, category, limit=limit, workers=workers))
        gaps = join_gaps(pages, Grid(interval))
        if gaps:
            missing, where = sum(gap.missing for gap in gaps), utc_text(gaps[0].start_ms)
            text = f"{symbol} {interval}: {missing} candle(s) in {len(gaps)} place(s) were not served, from {where} UTC"
            warnings.warn(text, MissingCandlesWarning, stacklevel=2)
        return join_pages(pages, symbol, interval)

    def pages(
        self,
        symbol: str,
        interval: str | int,
        start: Time,
        end: Time | None = None,
        category: str = "linear",
        *,
        limit: int = 1000,
        workers: int = 1,
    ) -> Iterator[Page]:
        """The candles of `klines` in pages, in order, as they come; holes are listed in the pages, not warned about."""
        series = Series(check_symbol(symbol, check_category(category)), category, Grid(interval))
        bybit_interval(interval)
        start_ms, end_ms = range_to_ms(start, end)
        if start_ms is None:
            raise TypeError("start must be whole milliseconds, a datetime or an ISO 8601 string; got None")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise ValueError(f"limit must be a whole number of candles from 1 to 1000; got {limit!r}")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1; got {workers!r}")
        return page_through(self, series, start_ms, end_ms, limit, workers)

    def fetch_klines(self, symbol: str, interval: str | int, limit: int = 200, category: str = "linear") -> Candles:
        """The newest `limit` closed candles; any number, in several requests where it is above 1000."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit must be a whole number of candles, at least 1; got {limit!r}")
        check_symbol(symbol, check_category(category))
        bybit_interval(interval)
        grid = Grid(interval)
        last = grid.last_closed(self.server_time())
        first_ms = max(grid.start_ms(last - limit + 1), 10**12 + 1)
        return self.klines(symbol, interval, first_ms, grid.start_ms(last), category)

    def server_time(self) -> int:
        """The server's clock in UTC milliseconds."""

        def parse(answer: dict[str, Any]) -> int:
            if not isinstance(answer.get("time"), int):
                raise BadAnswer("the answer holds no time")
            return answer["time"]

        return self._get("/v5/market/time", {}, parse)

    def instruments(
        self, category: str = "linear", *, symbol: str | None = None, status: str | None = None
    ) -> list[Instrument]:
        """What can be traded, all pages of it.

        Without `status` the exchange lists what trades now: delisted symbols are absent, so a study of these alone
        is biased towards survivors.
        """
        params = {"category": check_category(category), "limit": "1000"}
        params |= {"symbol": check_symbol(symbol, category)} if symbol is not None else {}
        params |= {"status": status} if status is not None else {}
        found: dict[str, Instrument] = {}
        while True:
            page, cursor = self._get("/v5/market/instruments-info", params, lambda a: parse_instruments(a, category))
            before = len(found)
            found |= {instrument.symbol: instrument for instrument in page}
            if not cursor or len(found) == before:  # a cursor that leads nowhere must not be followed for ever
                return list(found.values())
            params["cursor"] = cursor

    def instrument(self, symbol: str, category: str = "linear") -> Instrument:
        """One instrument; UnknownSymbol if the category does not hold it."""
        for instrument in self.instruments(category, symbol=symbol):
            if instrument.symbol == symbol:
                return instrument
        raise UnknownSymbol(f"Bybit lists no {category} instrument {symbol}")

    def kline_window(self, series: Series, first_ms: int, last_ms: int, limit: int) -> Any:
        """One request: the candles of a window, the open one included, and the server's time."""
        params = {
            "category": series.category,
            "symbol": series.symbol,
            "interval": bybit_interval(series.grid.interval),
            "start": str(first_ms),
            "end": str(last_ms),
            "limit": str(limit),
        }
        parse = functools.partial(parse_klines, symbol=series.symbol, category=series.category, grid=series.grid)
        return self._get("/v5/market/kline", params, parse)

    def _get(self, path: str, params: dict[str, str], parse: Callable[[dict[str, Any]], T]) -> T:
        from urllib3.exceptions import HTTPError

        def send() -> T:
            # A GET with a body is answered with 403, so there is none.
            url, until = self.base_url + path, time.monotonic() + PATIENCE * self.timeout
            with self._session().get(url, params=params, timeout=self.timeout, stream=True) as reply:
                body = bytearray()
                try:
                    while part := reply.raw.read1(1 << 16, decode_content=True):  # what is there, without waiting
                        body += part
                        if time.monotonic() > until:  # the timeout of the library counts from byte to byte
                            raise BadAnswer(f"the answer took longer than {PATIENCE * self.timeout:g} seconds")
                except HTTPError as error:
                    raise BadAnswer(f"the answer broke off: {error}") from error
                text = body.decode("utf-8", "replace")  # reply.text would guess the encoding, slowly
                answer = read_answer(reply.status_code, reply.headers, text, params.get("symbol"))
            return parse(answer)

        return self.retry.run(send, self.gate, self._random, f"GET {path} {params.get('symbol', '')}".rstrip())

    def _session(self) -> Any:
        if not hasattr(self._sessions, "session"):
            import requests

            from fastkd._version import __version__

            self._sessions.session = requests.Session()
            self._sessions.session.headers["User-Agent"] = f"fastkd/{__version__}"
        return self._sessions.session


@functools.cache
def _shared_client(base_url: str) -> BybitClient:
    return BybitClient(base_url)


def fetch_bybit_klines(
    symbol: str,
    interval: str | int,
    limit: int = 200,
    *,
    category: str = "linear",
    base_url: str = BYBIT,
    client: BybitClient | None = None,
) -> Candles:
    """The newest `limit` closed candles of a symbol; calls share one client a host, hence one rate limit.

    Parameters
    ----------
    symbol, interval, category
        As in `BybitClient.klines`.
    limit : int
        Number of candles, of any size.
    base_url : str
        Another host of the exchange, or an emulator.
    client : BybitClient, optional
        A client of your own, which then also knows the host.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> from fastkd.market.emulator import BybitEmulator
    >>> with BybitEmulator(synthetic_market(2500, random_state=0, symbol="BTCUSDT")) as exchange:
    ...     fetch_bybit_klines("BTCUSDT", "5m", 200, base_url=exchange.base_url)
    Candles(BTCUSDT, 5m, 200 rows, 2024-01-08 23:40 .. 2024-01-09 16:15 UTC)
    """
    return (_shared_client(base_url) if client is None else client).fetch_klines(symbol, interval, limit, category)
