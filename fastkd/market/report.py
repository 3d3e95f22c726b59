"""What is wrong with a run of candles: gaps, duplicates, impossible values, wrong order, stamps off the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkd.market.grid import Grid, missing_runs
from fastkd.market.times import DAY_MS, utc_text

if TYPE_CHECKING:
    from fastkd.market.candles import Candles

__all__ = ["CandleReport", "Gap", "ImpossibleCandle", "check_candles"]


class Gap(NamedTuple):
    """A hole: open time of the first missing candle (UTC milliseconds) and the number of missing candles."""

    start_ms: int
    missing: int


class ImpossibleCandle(NamedTuple):
    """A candle that cannot be: its row, its open time (UTC milliseconds) and the first reason found."""

    row: int
    start_ms: int
    reason: str


@dataclass(frozen=True)
class CandleReport:
    """Result of `Candles.check`; printing it gives a summary.

    Attributes
    ----------
    n_candles : int
    interval : str or None
    gaps : tuple of Gap
        Holes between candles that stand on the grid.
    duplicates : tuple of int
        Rows whose ``start_ms`` an earlier row already has.
    impossible : tuple of ImpossibleCandle
    unsorted : tuple of int
        Rows that start earlier than the row before them.
    off_grid : tuple of int
        Rows whose ``start_ms`` is not a multiple of the interval. Intervals of a day and longer may start at any
        hour or weekday; there the most common start counts as the grid.
    """

    n_candles: int
    interval: str | None
    gaps: tuple[Gap, ...] = ()
    duplicates: tuple[int, ...] = ()
    impossible: tuple[ImpossibleCandle, ...] = ()
    unsorted: tuple[int, ...] = ()
    off_grid: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing at all was found, gaps included."""
        return not (self.gaps or self.off_grid or self.fault)

    @property
    def n_missing(self) -> int:
        """Number of candles missing in all gaps together."""
        return sum(gap.missing for gap in self.gaps)

    @property
    def fault(self) -> tuple[int, str] | None:
        """First (row, reason) that makes the candles unusable; gaps and stamps off the grid do not."""
        faults = [(row, "start_ms is earlier than in the row before") for row in self.unsorted[:1]]
        faults += [(row, "start_ms is a duplicate of an earlier row") for row in self.duplicates[:1]]
        faults += [(bad.row, bad.reason) for bad in self.impossible[:1]]
        return min(faults, default=None)

    def __str__(self) -> str:
        lines = [f"{self.n_candles} candles, interval {self.interval or 'unknown'}: {'ok' if self.ok else 'faults'}"]
        if self.gaps:
            longest = max(self.gaps, key=lambda gap: gap.missing)
            where = f"longest {longest.missing} from {utc_text(longest.start_ms)} UTC"
            lines.append(f"  gaps        {len(self.gaps)} ({self.n_missing} candles missing; {where})")
        for name, rows in (("duplicates", self.duplicates), ("unsorted", self.unsorted), ("off grid", self.off_grid)):
            if rows:
                lines.append(f"  {name:11} {len(rows)} (first in row {rows[0]})")
        if self.impossible:
            first = self.impossible[0]
            where = f"first in row {first.row}, {utc_text(first.start_ms)} UTC: {first.reason}"
            lines.append(f"  impossible  {len(self.impossible)} ({where})")
        return "\n".join(lines)


def check_candles(candles: Candles) -> CandleReport:
    """Look for every fault of `CandleReport` in candles; see `Candles.check`."""
    start = candles.start_ms
    order = np.argsort(start, kind="stable")
    repeated = order[1:][np.diff(start[order]) == 0]
    off_grid = np.zeros(len(start), dtype=bool)
    gaps: tuple[Gap, ...] = ()
    if candles.interval is not None:
        grid = Grid(candles.interval)
        length = DAY_MS if grid.step_ms is None else grid.step_ms
        phases, counts = np.unique(start % length, return_counts=True)
        phase = int(phases[np.argmax(counts)]) if length >= DAY_MS and len(phases) else 0
        off_grid = start % length != phase
        on_grid = start[order][~off_grid[order]]
        on_grid = on_grid[np.diff(on_grid, prepend=-1) != 0]  # np.unique takes ten times as long
        if len(on_grid):
            numbers = grid.number(on_grid)
            holes = missing_runs(numbers, int(numbers[0]), int(numbers[-1]))
            shift = int(on_grid[0]) - grid.start_ms(int(numbers[0]))  # weeks and days may begin at another hour
            gaps = tuple(Gap(grid.start_ms(first) + shift, last - first + 1) for first, last in holes)
    return CandleReport(
        n_candles=len(start),
        interval=candles.interval,
        gaps=gaps,
        duplicates=tuple(np.sort(repeated).tolist()),
        impossible=_impossible(candles),
        unsorted=_rows(np.r_[False, np.diff(start) < 0][: len(start)]),
        off_grid=_rows(off_grid),
    )


def _impossible(candles: Candles) -> tuple[ImpossibleCandle, ...]:
    reasons: dict[int, str] = {}

    def note(bad: NDArray[np.bool_], reason: str) -> None:
        for row in _rows(bad):
            reasons.setdefault(row, reason)

    for name in ("open", "high", "low", "close"):
        price = getattr(candles, name)
        note(~(np.isfinite(price) & (price > 0)), f"{name} is not a positive finite number")
    note(~(np.isfinite(candles.volume) & (candles.volume >= 0)), "volume is negative or not finite")
    # An unknown turnover is NaN, which is no fault.
    note((candles.turnover < 0) | np.isinf(candles.turnover), "turnover is negative or not finite")
    note(candles.high < np.maximum(candles.open, candles.close), "high is below max(open, close)")
    note(candles.low > np.minimum(candles.open, candles.close), "low is above min(open, close)")
    return tuple(ImpossibleCandle(row, int(candles.start_ms[row]), reasons[row]) for row in sorted(reasons))


def _rows(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
