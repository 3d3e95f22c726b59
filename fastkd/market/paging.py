"""A range of candles in windows that are right however the server pages, with holes asked for again."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkd.market.bybit_messages import Table, merge_tables
from fastkd.market.candles import Candles
from fastkd.market.grid import Grid, missing_runs
from fastkd.market.report import Gap

if TYPE_CHECKING:
    from fastkd.market.client import BybitClient

__all__ = ["Page", "Series", "join_gaps", "join_pages", "page_through"]

ASK_AGAIN = 2  # times that missing candles are asked for again
AGAIN_AFTER = 0.2  # seconds before that: what one server of the exchange lacks, it may have a moment later
LONG_WAY = 10  # windows ahead of an empty one from which looking up the day of listing is cheaper
MOST = 1000  # candles that an answer may hold
FAR = 10**12  # number of a candle that will never close
EMPTY: Table = np.empty((7, 0))


class Series(NamedTuple):
    """What is asked for: symbol, category, and the numbers of its candles."""

    symbol: str
    category: str
    grid: Grid


@dataclass(frozen=True)
class Page:
    """Closed candles of one window.

    Attributes
    ----------
    table : numpy.ndarray, shape (7, n)
        start_ms, open, high, low, close, volume, turnover.
    start_ms, end_ms : int
        Open times of the first and the last candle of the window that had closed; `end_ms` < `start_ms` if none had.
    server_ms : int
        The server's time in the answer.
    gaps : tuple of Gap
        Candles that exist, since earlier ones do, but were not served.
    """

    table: Table
    start_ms: int
    end_ms: int
    server_ms: int
    gaps: tuple[Gap, ...] = ()


def page_through(
    client: BybitClient, series: Series, start_ms: int, end_ms: int | None, limit: int, workers: int
) -> Iterator[Page]:
    """Pages of the closed candles with start in [start_ms, end_ms], in order."""
    grid = series.grid
    first = grid.first_from(start_ms)
    last = FAR if end_ms is None else grid.number(end_ms)
    first = _after_void(client, series, first)
    if last < first:
        return
    listed = False  # whether an earlier candle is known: before the first one, missing candles need not exist
    empty: list[tuple[int, int]] = []  # windows before the first candle
    latest_ms = 0  # of all answers so far: an older clock must not hide candles that have closed
    windows = [(first, min(first + limit - 1, last))]  # this answer tells the server's time, so how far there is to go
    while windows:
        for page in _read_windows(client, series, windows, limit, workers, latest_ms):
            latest_ms = max(latest_ms, page.server_ms)
            if not listed and page.table.shape[1] and int(page.table[0, 0]) == page.start_ms:
                for again in _look_back(client, series, empty, limit, latest_ms):
                    yield _with_gaps(again, grid, listed)
                    listed = True
            yield _with_gaps(page, grid, listed)
            listed |= page.table.shape[1] > 0
            empty.append((grid.number(page.start_ms), grid.number(page.end_ms)))
        first = grid.number(page.end_ms) + 1
        until = min(last, grid.last_closed(latest_ms))
        if not listed and until - first > LONG_WAY * limit:
            first = _listing(client, series, empty[0][0], first, until)
        windows = [(a, min(a + limit - 1, until)) for a in range(first, until + 1, limit)]


def _look_back(
    client: BybitClient, series: Series, empty: list[tuple[int, int]], limit: int, latest_ms: int
) -> list[Page]:
    """Pages with candles among those that were empty, read once more: history that begins with a window is suspect."""
    found: list[Page] = []
    while empty:
        page = _read_window(client, series, *empty.pop(), limit, latest_ms)
        if page.table.shape[1]:
            found.append(page)
        if not page.table.shape[1] or int(page.table[0, 0]) != page.start_ms:
            break
    return found[::-1]


def join_pages(pages: list[Page], symbol: str, interval: str | int) -> Candles:
    """The candles of pages in order."""
    tables = [page.table for page in pages] or [EMPTY]
    return Candles(*np.concatenate(tables, axis=1), symbol=symbol, interval=interval)


def join_gaps(pages: list[Page], grid: Grid) -> list[Gap]:
    """The holes of pages in order; one that crosses from page to page counts once."""
    joined: list[Gap] = []
    for gap in (gap for page in pages for gap in page.gaps):
        if joined and grid.number(joined[-1].start_ms) + joined[-1].missing == grid.number(gap.start_ms):
            joined[-1] = Gap(joined[-1].start_ms, joined[-1].missing + gap.missing)
        else:
            joined.append(gap)
    return joined


def _read_windows(
    client: BybitClient, series: Series, windows: list[tuple[int, int]], limit: int, workers: int, latest_ms: int
) -> Iterator[Page]:
    if workers == 1 or len(windows) == 1:
        for window in windows:
            yield _read_window(client, series, *window, limit, latest_ms)
        return
    pending: deque[Future[Page]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for window in windows:
                pending.append(pool.submit(_read_window, client, series, *window, limit, latest_ms))
                if len(pending) > workers:  # a slow reader of the pages must not fill the memory
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _read_window(client: BybitClient, series: Series, first: int, last: int, limit: int, latest_ms: int = 0) -> Page:
    """One window; what is missing in it, or has only just closed, is asked for again."""
    grid = series.grid
    table, server_ms = client.kline_window(series, grid.start_ms(first), grid.start_ms(last), limit)
    server_ms = max(server_ms, latest_ms)
    closed = min(last, grid.last_closed(server_ms))
    table = _inside(table, grid, first, closed)
    age_ms = server_ms - grid.start_ms(closed + 1)
    fresh = [closed] if first <= closed and age_ms < client.settle_ms else []
    if fresh:
        client.gate.sleep((client.settle_ms - age_ms) / 1000)
    table = _completed(client, series, table, first, closed, limit, fresh)
    return Page(table, grid.start_ms(first), grid.start_ms(closed), server_ms)


def _completed(
    client: BybitClient, series: Series, table: Table, first: int, last: int, limit: int, fresh: list[int]
) -> Table:
    """The table of a window with what it lacks, and fresh candles, asked for again."""
    grid = series.grid
    for _ in range(ASK_AGAIN):
        runs = missing_runs(_numbers(table, grid), first, last)
        wanted = [*itertools.chain(*runs), *fresh]
        if not wanted:
            break
        if not fresh:  # else there was a wait already
            client.gate.sleep(AGAIN_AFTER)
        again, _ = client.kline_window(series, grid.start_ms(min(wanted)), grid.start_ms(max(wanted)), limit)
        table = merge_tables(table, _inside(again, grid, first, last))
        fresh = []
    return table


def _with_gaps(page: Page, grid: Grid, listed: bool) -> Page:
    first, last = grid.number(page.start_ms), grid.number(page.end_ms)
    runs = missing_runs(_numbers(page.table, grid), first, last)
    gaps = tuple(Gap(grid.start_ms(a), b - a + 1) for a, b in runs if listed or a > first)
    return replace(page, gaps=gaps)


def _listing(client: BybitClient, series: Series, asked: int, first: int, last: int) -> int:
    """Number of the first candle of the first day that has one in [first, last]; `first` where no day has.

    The client remembers that there is nothing from candle `asked` to that day, whatever the interval.
    """
    days = Series(series.symbol, series.category, Grid("1d"))
    day, last_day = (days.grid.number(series.grid.start_ms(number)) for number in (first, last))
    for a in range(day, last_day + 1, MOST):
        table = _read_days(client, days, a, min(a + MOST - 1, last_day))
        if table.shape[1] and days.grid.number(int(table[0, 0])) == a > day:  # were the days before it missed?
            before = _read_days(client, days, max(day, a - MOST), a - 1)
            table = before if before.shape[1] else table
        if table.shape[1]:
            listing_ms = int(table[0, 0])
            client._listing[series.symbol, series.category] = series.grid.start_ms(asked), listing_ms
            return max(first, series.grid.number(listing_ms))
    return first


def _read_days(client: BybitClient, days: Series, first: int, last: int) -> Table:
    """Daily candles, the open one too: it is the only one of a symbol that was listed today."""
    table, _ = client.kline_window(days, days.grid.start_ms(first), days.grid.start_ms(last), MOST)
    return _completed(client, days, _inside(table, days.grid, first, last), first, last, MOST, [])


def _after_void(client: BybitClient, series: Series, first: int) -> int:
    """The candle to begin with: that of the listing, if it is known that there is nothing from `first` until then."""
    from_ms, listing_ms = client._listing.get((series.symbol, series.category), (0, 0))
    return series.grid.number(listing_ms) if from_ms <= series.grid.start_ms(first) < listing_ms else first


def _inside(table: Table, grid: Grid, first: int, last: int) -> Table:
    numbers = _numbers(table, grid)
    return table[:, (numbers >= first) & (numbers <= last)]


def _numbers(table: Table, grid: Grid) -> NDArray[np.int64]:
    return grid.number(table[0].astype(np.int64))
