"""The emulated exchange: its candles, its clock, and what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastkd.market.bybit_messages import CATEGORIES, INTERVALS
from fastkd.market.candles import Candles
from fastkd.market.emulator.faults import Fault, apply_to_rows
from fastkd.market.grid import Grid

__all__ = ["Exchange", "Refused", "decimal_text"]

BYBIT_TO_NAME = {bybit: name for name, bybit in INTERVALS.items()}
WAIT_MS = 10_000  # by default the clock stands this long after the last candle has closed


class Refused(Exception):
    """An answer with a retCode other than 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Exchange:
    """Candles by category, symbol and interval, and a clock that decides which of them exist yet."""

    def __init__(
        self,
        candles: Candles | Iterable[Candles] | Mapping[str, Candles | Iterable[Candles]],
        now_ms: int | Callable[[], int] | None,
        oldest_of_window: bool,
        instruments: Mapping[str, Iterable[Mapping[str, Any]]],
    ) -> None:
        groups = candles if isinstance(candles, Mapping) else {"linear": candles}
        self.series: dict[tuple[str, str, str], Candles] = {}
        for category, group in groups.items():
            if category not in CATEGORIES:
                raise ValueError(f"category must be one of {', '.join(CATEGORIES)}; got {category!r}")
            for one in [group] if isinstance(group, Candles) else group:
                if one.symbol is None or one.interval not in INTERVALS:
                    raise ValueError(f"candles need a symbol and an interval of the exchange; got {one!r}")
                self.series[category, one.symbol, INTERVALS[one.interval]] = one.require_clean()
        ends = [_close_ms(one, len(one) - 1) for one in self.series.values() if len(one)]
        self._now = max(ends, default=0) + WAIT_MS if now_ms is None else now_ms
        self.oldest_of_window = oldest_of_window
        self.instruments = {category: list(instruments.get(category, ())) for category in CATEGORIES}
        for category, symbol, _ in self.series:
            if all(entry["symbol"] != symbol for entry in self.instruments[category]):
                self.instruments[category].append({"symbol": symbol, "status": "Trading"})
        self._lock = threading.Lock()

    @property
    def now_ms(self) -> int:
        with self._lock:
            return self._now() if callable(self._now) else self._now

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        with self._lock:
            self._now = value

    def klines(self, params: Mapping[str, str], now_ms: int, fault: Fault | None) -> dict[str, Any]:
        """Result of ``/v5/market/kline``, newest first, with the open candle as far as it has come."""
        category, symbol = params.get("category", "linear"), params.get("symbol", "")
        self._check_symbol(category, symbol)
        if params.get("interval") not in BYBIT_TO_NAME:
            raise Refused(10001, "params error: interval is invalid")
        try:
            start, end = (int(params[name]) if name in params else None for name in ("start", "end"))
            limit = int(params.get("limit", 200))
        except ValueError:
            raise Refused(10001, "params error") from None
        if not 1 <= limit <= 1000:
            raise Refused(10001, "params error: limit is invalid")
        rows: list[list[str]] = []
        candles = self.series.get((category, symbol, params["interval"]))
        if candles is not None:
            first, stop = self._window(candles, start, end, limit, now_ms)
            rows = [row_text(candles, i, now_ms, category) for i in range(stop - 1, first - 1, -1)]
        name = "WRONGUSDT" if fault is Fault.WRONG_SYMBOL else symbol
        return {"category": category, "symbol": name, "list": apply_to_rows(fault, rows)}

    def _window(self, candles: Candles, start: int | None, end: int | None, limit: int, now_ms: int) -> tuple[int, int]:
        """Rows [first, stop): both ends inclusive, the start moved back to the candle that contains it."""
        assert candles.interval is not None
        begin = candles.start_ms
        first, stop = 0, int(np.searchsorted(begin, now_ms, side="right"))
        if end is not None:
            stop = min(stop, int(np.searchsorted(begin, end, side="right")))
        if start is not None:
            grid = Grid(candles.interval)
            floor = grid.start_ms(grid.number(start))
            first = min(stop, int(np.searchsorted(begin, floor)))
        if start is not None and (end is None or self.oldest_of_window):
            return first, min(stop, first + limit)
        return max(first, stop - limit), stop

    def instruments_page(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Result of ``/v5/market/instruments-info``; spot comes in one piece."""
        category = params.get("category", "")
        if category not in CATEGORIES:
            raise Refused(10001, "params error: category is invalid")
        entries = self.instruments[category]
        if "symbol" in params:
            self._check_symbol(category, params["symbol"])
            entries = [entry for entry in entries if entry["symbol"] == params["symbol"]]
        entries = [entry for entry in entries if entry.get("status", "Trading") == params.get("status", "Trading")]
        at, size = int(params.get("cursor", 0)), int(params.get("limit", 500))
        if category == "spot":
            at, size = 0, len(entries)
        cursor = str(at + size) if at + size < len(entries) else ""
        return {"category": category, "list": entries[at : at + size], "nextPageCursor": cursor}

    def _check_symbol(self, category: str, symbol: str) -> None:
        if category not in CATEGORIES:
            raise Refused(10001, "params error: category is invalid")
        if all(entry["symbol"] != symbol for entry in self.instruments[category]):
            raise Refused(10001, "Not supported symbols" if category == "spot" else "params error: Symbol Is Invalid")


def row_values(candles: Candles, i: int, now_ms: int) -> tuple[list[float], bool]:
    """Open, high, low, close, volume, turnover of row i as far as it has come at a time, and whether it has closed."""
    candle = candles[i]
    end_ms = _close_ms(candles, i)
    if now_ms >= end_ms:
        return list(candle[1:]), True
    part = (now_ms - candle.start_ms) / (end_ms - candle.start_ms)
    close = candle.open + (candle.close - candle.open) * part
    high, low = max(candle.open, close), min(candle.open, close)
    return [candle.open, high, low, close, candle.volume * part, candle.turnover * part], False


def row_text(candles: Candles, i: int, now_ms: int, category: str) -> list[str]:
    values = [decimal_text(value) for value in row_values(candles, i, now_ms)[0]]
    if category == "inverse":  # there the volume counts contracts of one USD, and the turnover coins
        values[4], values[5] = values[5] or decimal_text(candles.volume[i] * candles.close[i]), values[4]
    return [str(candles.start_ms[i]), *values]


def decimal_text(value: float) -> str:
    """The shortest decimal that reads back as the same float, without an exponent; empty where unknown (NaN).

    >>> decimal_text(9127.0), decimal_text(0.1 + 0.2), decimal_text(1e-7)
    ('9127', '0.30000000000000004', '0.0000001')
    """
    if value != value:
        return ""
    text = repr(value)
    if "e" in text:
        return np.format_float_positional(value, trim="-")
    return text.removesuffix(".0")


def _close_ms(candles: Candles, i: int) -> int:
    assert candles.interval is not None
    grid = Grid(candles.interval)
    start = int(candles.start_ms[i])
    return start + grid.step_ms if grid.step_ms is not None else grid.start_ms(grid.number(start) + 1)
