"""Triple-barrier labels: which is touched first, a price above, a price below, or the end of the horizon?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastkd.features.labels import Direction
from fastkd.features.thresholds import checked_count, trailing_volatility
from fastkd.market import Candles

__all__ = ["triple_barrier_labels"]


def triple_barrier_labels(
    candles: Candles,
    horizon: int,
    *,
    up: float = 1.0,
    down: float = 1.0,
    unit: str = "volatility",
    window: int = 100,
    return_end: bool = False,
) -> NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The barrier that the `horizon` candles after a close touch first (López de Prado 2018, chapter 3).

    UP (2) if a high reaches close * (1 + up * u) first, DOWN (0) if a low reaches close * (1 - down * u) first, FLAT
    (1) if neither happens.

    Parameters
    ----------
    candles : Candles
    horizon : int
        Number of candles until the vertical barrier, at least 1.
    up, down : float
        Distance of the barriers, positive, in units of u.
    unit : {"volatility", "fraction"}
        u is sqrt(horizon) * the root mean square of the last `window` log returns, or 1: fractions of the price.
    window : int
        See `unit`.
    return_end : bool
        Also return the row whose candle decided the label: it is known when that candle closes.

    Returns
    -------
    labels : numpy.ndarray, shape (n,), int64
        Values of `Direction`. -1 where the candles end before any barrier, where there is no volatility yet, and where
        one candle touches both barriers first: which came first is not known.
    end : numpy.ndarray, shape (n,), int64
        -1 where the label is; only with `return_end`.

    Raises
    ------
    ValueError
        An argument is out of range.
    CandleError
        Candles are unsorted, duplicated or impossible.

    Examples
    --------
    >>> prices = [100.0, 101.0, 102.0, 99.0, 99.0]
    >>> flat = Candles([0, 1, 2, 3, 4], prices, prices, prices, prices, [1] * 5)
    >>> triple_barrier_labels(flat, 2, up=0.015, down=0.015, unit="fraction")
    array([ 2,  0,  0, -1, -1])
    """
    horizon, window = checked_count(horizon, "horizon"), checked_count(window, "window")
    for name, distance in (("up", up), ("down", down)):
        if not 0 < distance < np.inf:
            raise ValueError(f"{name} must be a positive finite number; got {distance!r}")
    if unit not in ("volatility", "fraction"):
        raise ValueError(f"unit must be 'volatility' or 'fraction'; got {unit!r}")
    candles.require_clean()
    close, n = candles.close, len(candles)
    size = np.ones(n) if unit == "fraction" else np.sqrt(horizon) * trailing_volatility(close, window)
    above, below = close * (1.0 + up * size), close * (1.0 - down * size)
    labels, end = np.full((2, n), -1, dtype=np.int64)
    undecided = np.isfinite(size) & (size > 0)
    for step in range(1, min(horizon, n - 1) + 1):
        rows = np.flatnonzero(undecided[: n - step])
        touches_up = candles.high[rows + step] >= above[rows]
        touches_down = candles.low[rows + step] <= below[rows]
        labels[rows[touches_up & ~touches_down]] = Direction.UP
        labels[rows[touches_down & ~touches_up]] = Direction.DOWN
        decided = rows[touches_up | touches_down]
        undecided[decided] = False
        end[decided] = decided + step
    patient = np.flatnonzero(undecided[: max(n - horizon, 0)])
    labels[patient] = Direction.FLAT
    end[patient] = patient + horizon
    end[labels == -1] = -1
    return (labels, end) if return_end else labels
