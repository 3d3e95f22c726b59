"""What Bybit's market data look like: names of intervals and categories, symbols, and candles as tables of numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.market.grid import Grid
from fastkd.market.retry import BadAnswer
from fastkd.market.times import DAY_MS, normalize_interval

__all__ = [
    "CATEGORIES",
    "INTERVALS",
    "bybit_interval",
    "check_category",
    "check_symbol",
    "merge_tables",
    "parse_klines",
    "parse_row",
    "rows_to_table",
]

Table = NDArray[np.float64]
"""Candles as (7, n): start_ms, open, high, low, close, volume, turnover; ascending, each start once.

Milliseconds are exact in float64 for another 285,000 years.
"""

CATEGORIES = ("linear", "spot", "inverse")
INTERVALS = {
    **{f"{minutes}m": str(minutes) for minutes in (1, 3, 5, 15, 30)},
    **{f"{minutes // 60}h": str(minutes) for minutes in (60, 120, 240, 360, 720)},
    "1d": "D",
    "1w": "W",
    "1M": "M",
}


def bybit_interval(interval: str | int) -> str:
    """Bybit's spelling of an interval.

    >>> [bybit_interval(i) for i in ("5m", "5", "1h", 60, "1d", "W", "M")]
    ['5', '5', '60', '60', 'D', 'W', 'M']
    """
    name = normalize_interval(interval)
    if name not in INTERVALS:
        raise ValueError(f"Bybit has no candles of {interval!r}; it has {', '.join(INTERVALS)}")
    return INTERVALS[name]


def check_category(category: str) -> str:
    if category not in CATEGORIES:
        raise ValueError(f"category must be one of {', '.join(CATEGORIES)}; got {category!r}")
    return category


def check_symbol(symbol: str, category: str) -> str:
    """Refuse names that Bybit would refuse, or answer with another market's candles."""
    if not isinstance(symbol, str) or not re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", symbol):
        hint = f"; {symbol.upper()!r}?" if isinstance(symbol, str) and symbol.isalnum() and symbol.isascii() else ""
        raise ValueError(f"symbol must be upper-case letters and digits, such as 'BTCUSDT'; got {symbol!r}{hint}")
    if category == "inverse" and symbol.endswith(("USDT", "USDC", "PERP")):
        # Bybit answers such a request with the linear market's candles, labelled inverse.
        raise ValueError(f"{symbol} is no inverse contract, which are named like 'BTCUSD'; use category='linear'")
    return symbol


def parse_row(row: Any, category: str) -> list[float]:
    """One row of seven decimal strings as numbers; volume in base coin and turnover in quote for every category."""
    if not isinstance(row, list | tuple) or len(row) != 7:
        raise BadAnswer(f"a candle is not a row of 7 values: {row!r:.80}")
    if isinstance(row[0], bool) or not all(isinstance(value, str) and "_" not in value for value in row[1:]):
        raise BadAnswer(f"a candle's numbers are not decimal strings: {row!r:.120}")
    try:
        values = [float(value) for value in row[:6]]
        # An empty turnover is not Bybit's: the emulator serves candles whose turnover is unknown.
        values.append(math.nan if row[6] == "" else float(row[6]))
    except (ValueError, TypeError, OverflowError):
        raise BadAnswer(f"a candle holds something that is not a number: {row!r:.120}") from None
    if not all(map(math.isfinite, values[:6])) or math.isinf(values[6]):
        raise BadAnswer(f"a candle holds a number that is not finite: {row!r:.120}")
    if category == "inverse":  # contracts worth 1 USD: their volume is in USD, their turnover in coin
        values[5], values[6] = values[6], values[5]
    return values


def is_possible(values: list[float]) -> bool:
    """Whether prices and volume of a parsed row can be true."""
    _, open_, high, low, close, volume, turnover = values
    return 0 < low <= min(open_, close) and max(open_, close) <= high and volume >= 0 and not turnover < 0


def rows_to_table(rows: list[list[float]]) -> Table:
    """Sort rows by start time, each once; of two different ones the one with the larger volume, which is later."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 7).T
    order = np.lexsort((table[5], table[0]))
    last_of_start = np.append(np.diff(table[0, order]) != 0, True)[: len(order)]
    return np.ascontiguousarray(table[:, order[last_of_start]])


def merge_tables(old: Table, new: Table) -> Table:
    """All candles of both; where both have one, the new one."""
    if not new.shape[1] or not old.shape[1]:
        return new if new.shape[1] else old
    both = np.concatenate([new, old], axis=1)
    _, first = np.unique(both[0], return_index=True)
    return np.ascontiguousarray(both[:, first])


def parse_klines(answer: dict[str, Any], symbol: str, category: str, grid: Grid) -> tuple[Table, int]:
    """Candles of a kline answer, open one included, and the server's time; BadAnswer if they are not what was asked."""
    result, server_ms = answer.get("result"), answer.get("time")
    if not isinstance(result, dict) or not isinstance(result.get("list"), list) or type(server_ms) is not int:
        raise BadAnswer("the answer holds no list of candles, or no time")
    if not 10**12 < server_ms < 2**53:
        raise BadAnswer(f"the answer says that it is {server_ms} ms after 1970")
    echo = (result.get("symbol", symbol), result.get("category", category))
    if echo != (symbol, category):
        raise BadAnswer(f"asked for {symbol}, {category}; the answer is for {echo[0]}, {echo[1]}")
    rows = [parse_row(row, category) for row in result["list"]]
    # An impossible candle is as good as none: it is asked for again, and then reported missing.
    table = rows_to_table([row for row in rows if is_possible(row)])
    starts = table[0].astype(np.int64)
    if (starts != table[0]).any():
        raise BadAnswer("a candle's start is not a whole number of milliseconds")
    if grid.step_ms is not None and grid.step_ms < DAY_MS and (starts % grid.step_ms).any():
        raise BadAnswer(
            f"a candle does not start on a multiple of {grid.interval}: {starts[starts % grid.step_ms > 0][0]}"
        )
    return table, server_ms
