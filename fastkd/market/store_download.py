"""Filling a candle store from the exchange: what is missing, page by page, so that any stop can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkd.market.grid import Grid, missing_runs
from fastkd.market.report import Gap

if TYPE_CHECKING:
    from fastkd.market.client import BybitClient
    from fastkd.market.store import CandleStore

__all__ = ["Download", "Progress", "fill"]


class Progress(NamedTuple):
    """How far a download has come: every candle up to `done_ms` is committed; `until_ms` is the end as known now."""

    symbol: str
    interval: str
    received: int
    start_ms: int
    done_ms: int
    until_ms: int


@dataclass(frozen=True)
class Download:
    """What a download did: candles received, and the holes that the store has now in the range asked for."""

    symbol: str
    interval: str
    received: int
    gaps: tuple[Gap, ...]


class Range(NamedTuple):
    """Start times to ask for; `leading` if nothing is stored before."""

    first_ms: int
    last_ms: int | None
    leading: bool


def fill(
    store: CandleStore,
    client: BybitClient,
    symbol: str,
    interval: str | int,
    low: int | None,
    high: int | None,
    category: str,
    limit: int,
    workers: int,
    progress: Callable[[Progress], object] | None,
) -> Download:
    """See `CandleStore.download`."""
    grid = Grid(interval)
    stored = store.read(symbol, interval, category=category).start_ms
    if low is None:
        if not len(stored):
            raise ValueError(f"nothing of {symbol} {grid.interval} is stored yet: a download needs a start")
        low = int(stored[-1])
    received = 0
    for wanted in _missing(grid, stored, low, high, store.asked_from(category, symbol, grid.interval)):
        bounds = wanted.first_ms, wanted.last_ms
        for page in client.pages(symbol, interval, *bounds, category, limit=limit, workers=workers):
            store.merge(category, symbol, grid.interval, page.table)
            received += page.table.shape[1]
            if progress is not None:
                until_ms = page.server_ms if high is None else min(page.server_ms, high)
                progress(Progress(symbol, grid.interval, received, low, page.end_ms, until_ms))
        reached = wanted.last_ms is None or (
            grid.number(wanted.last_ms) >= grid.number(int(stored[0])) - 1 if len(stored) else received > 0
        )
        if wanted.leading and reached:  # else there is time between the range and the first candle, not asked for yet
            store.note_asked_from(category, symbol, grid.interval, low)
    return Download(symbol, grid.interval, received, store.gaps(symbol, interval, low, high, category=category))


def _missing(
    grid: Grid, stored: NDArray[np.int64], low: int, high: int | None, asked_from: int | None
) -> Iterator[Range]:
    """What to ask for: before the stored candles, in their holes, and from the last one on."""
    if not len(stored):
        yield Range(low, high, True)
        return
    numbers = grid.number(stored)
    begin = grid.first_from(low)
    if asked_from is not None and asked_from <= low:
        begin = max(begin, int(numbers[0]))
    end = int(numbers[-1]) if high is None else min(int(numbers[-1]), grid.number(high))
    for first, last in missing_runs(numbers, begin, end):
        yield Range(grid.start_ms(first), grid.start_ms(last), first < numbers[0])
    if high is None or high >= stored[-1]:
        yield Range(max(low, int(stored[-1])), high, False)
