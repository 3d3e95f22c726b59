"""Building blocks of recipes whose results are the same bits for a whole table and for one candle at a time.

A sum over a moving window depends on the order of its additions, so a running total of floats drifts away from a sum
made anew. Integers have no such trouble: squares of log ratios are counted in units of 2**-50 and log volumes in units
of 2**-20, their sums are exact, and a total that is updated candle by candle equals any other way of adding. A row so
depends on the candles of its windows alone, bit for bit, and not on where the history begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_LOG_VOLUME",
    "MAX_SQUARE",
    "MAX_WINDOW",
    "SQUARE_UNITS",
    "VOLUME_UNITS",
    "as_windows",
    "elementwise",
    "log_prices",
    "share_of_mean",
    "to_units",
    "volume_totals",
    "window_sums",
]

Array = NDArray[np.float64]

SQUARE_UNITS = 2.0**50
VOLUME_UNITS = 2.0**20
MAX_SQUARE = 4.0  # log ratios beyond +-2, a factor of 7.4 within a candle, count as +-2
MAX_LOG_VOLUME = 64.0
MAX_WINDOW = 1024  # with these limits a sum over a window stays below 2**63


def as_windows(lengths: object, name: str) -> tuple[int, ...]:
    """Lengths of windows or horizons: whole numbers of candles, 1 .. MAX_WINDOW, each once."""
    values = tuple(lengths) if isinstance(lengths, list | tuple) else (lengths,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_WINDOW:
            raise ValueError(f"{name} must be whole numbers of candles in 1 .. {MAX_WINDOW}; got {value!r}")
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{name} must be at least one length, each once; got {values!r}")
    return values


def elementwise(function: Callable[[float], float], values: Array) -> Array:
    """A function of `math` for each value.

    NumPy has its own logarithms and sines, which differ from those of `math` in the last bit of some values.
    """
    return np.fromiter(map(function, values.tolist()), np.float64, len(values))


def to_units(values: Array, limit: float, units: float) -> NDArray[np.int64]:
    """Values up to a limit, in whole units, rounded towards 0."""
    return (np.minimum(values, limit) * units).astype(np.int64)


def window_sums(units: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Exact sums of each run of `window` values, (n - window + 1,); the running total may wrap, the sums cannot."""
    total = np.cumsum(units)
    sums = total[window - 1 :].copy()
    sums[1:] -= total[: len(sums) - 1 if len(sums) else 0]
    return sums


def volume_totals(volume: Array, window: int) -> Array:
    """Sums of each run of `window` volumes, added from the oldest to the newest; (n - window + 1,)."""
    n = max(len(volume) - window + 1, 0)
    total = volume[:n].copy()
    with np.errstate(over="ignore"):
        for k in range(1, window):
            total += volume[k : k + n]
    return total


def share_of_mean(volume: Array, total: Array, window: int) -> Array:
    """Volume against the mean of its window, 0 .. window; 1 where the whole window has no volume."""
    ratio = np.full(len(total), 1.0)
    np.divide(volume, total, out=ratio, where=total > 0)
    return np.where(total > 0, ratio * window, 1.0)


def log_prices(*columns: Array) -> tuple[Array, ...]:
    """Natural logarithm of each column of prices."""
    return tuple(elementwise(math.log, column) for column in columns)
