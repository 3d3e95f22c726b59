"""Candle numbers: every interval, months too, as a line of whole numbers on which windows and holes are simple."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import NDArray

from fastkd.market.times import DAY_MS, MONTH, interval_to_ms, normalize_interval

__all__ = ["Grid", "missing_runs"]

WEEK_MS = 7 * DAY_MS
FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05


class Grid:
    """Numbers of the candles of one interval, counted from 1970; weeks begin on Monday, months on the first, in UTC.

    Examples
    --------
    >>> grid = Grid("5m")
    >>> grid.number(1_704_067_500_000), grid.start_ms(5_680_225)
    (5680225, 1704067500000)
    >>> Grid("M").start_ms(1)
    2678400000
    """

    def __init__(self, interval: str | int) -> None:
        self.interval = normalize_interval(interval)
        self.step_ms = None if self.interval == MONTH else interval_to_ms(self.interval)
        self._phase = FIRST_MONDAY_MS if self.step_ms == WEEK_MS else 0

    @overload
    def number(self, ms: int) -> int: ...
    @overload
    def number(self, ms: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def number(self, ms: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
        """Number of the candle that contains a time."""
        if self.step_ms is not None:
            return (ms - self._phase) // self.step_ms
        months = np.asarray(ms, dtype="datetime64[ms]").astype("datetime64[M]").astype(np.int64)
        return months if isinstance(ms, np.ndarray) else int(months)

    @overload
    def start_ms(self, number: int) -> int: ...
    @overload
    def start_ms(self, number: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def start_ms(self, number: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
        """Open time of a candle."""
        if self.step_ms is not None:
            return number * self.step_ms + self._phase
        times = np.asarray(number, dtype="datetime64[M]").astype("datetime64[ms]").astype(np.int64)
        return times if isinstance(number, np.ndarray) else int(times)

    def first_from(self, ms: int) -> int:
        """Number of the first candle that opens at a time or after it."""
        number = self.number(ms)
        return number if self.start_ms(number) == ms else number + 1

    def last_closed(self, now_ms: int) -> int:
        """Number of the last candle that has closed at a time: its end is not later."""
        return self.number(now_ms) - 1


def missing_runs(numbers: NDArray[np.int64], first: int, last: int) -> list[tuple[int, int]]:
    """Runs (first, last) of whole numbers in [first, last] that are not among the ascending `numbers`.

    >>> missing_runs(np.array([3, 4, 8]), 1, 9)
    [(1, 2), (5, 7), (9, 9)]
    """
    inside = numbers[(numbers >= first) & (numbers <= last)]
    edges = np.concatenate([[first - 1], inside, [last + 1]])
    return [(int(edges[i]) + 1, int(edges[i + 1]) - 1) for i in np.flatnonzero(np.diff(edges) > 1)]
