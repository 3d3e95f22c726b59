"""How large a move counts: thresholds of labels, from candles that are closed when the label's row is known."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, insort
from numbers import Real

import numpy as np
from numpy.typing import NDArray

__all__ = ["checked_count", "fixed_threshold", "trailing_quantiles", "trailing_volatility", "training_quantiles"]

Array = NDArray[np.float64]


def checked_count(value: object, name: str, least: int = 1) -> int:
    """A whole number of rows."""
    count = operator.index(value)  # type: ignore[arg-type]
    if isinstance(value, bool) or count < least:
        raise ValueError(f"{name} must be at least {least} row{'s' if least != 1 else ''}; got {value!r}")
    return count


def fixed_threshold(threshold: object) -> float:
    """A fraction of the price."""
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) < math.inf:
        message = f"threshold must be a finite number >= 0, a fraction of the price such as 0.001; got {threshold!r}"
        raise ValueError(message)
    return float(threshold)


def trailing_volatility(close: Array, window: int) -> Array:
    """Root mean square of the last `window` log returns up to each close; NaN before there are as many, (n,)."""
    volatility = np.full(len(close), np.nan)
    squares = np.diff(np.log(close)) ** 2
    if len(squares) >= window:
        volatility[window:] = np.sqrt(np.lib.stride_tricks.sliding_window_view(squares, window).mean(axis=1))
    return volatility


def trailing_quantiles(returns: Array, horizon: int, window: int, share: float) -> tuple[Array, Array]:
    """Lower and upper `share` of the last `window` forward returns whose outcome is known at each row, NaN before.

    The outcome of row t is known at row t + horizon.
    """
    lower, upper = np.full((2, len(returns)), np.nan)
    rank = _rank(window, share)
    ordered: list[float] = []
    values = returns.tolist()
    for row in range(horizon, len(values)):
        insort(ordered, values[row - horizon])
        if len(ordered) > window:
            del ordered[bisect_left(ordered, values[row - horizon - window])]
        if len(ordered) == window:
            lower[row], upper[row] = ordered[rank], ordered[-1 - rank]
    return lower, upper


def training_quantiles(returns: Array, horizon: int, n_train: int, share: float) -> tuple[float, float]:
    """Lower and upper `share` of the forward returns whose outcome lies within the first `n_train` rows."""
    known = np.sort(returns[: max(n_train - horizon, 0)])
    if n_train > len(returns) or not len(known):
        raise ValueError(f"n_train must lie in {horizon + 1} .. {len(returns)}; got {n_train}")
    rank = _rank(len(known), share)
    return float(known[rank]), float(known[-1 - rank])


def _rank(count: int, share: float) -> int:
    if not 0 < share < 0.5:
        raise ValueError(f"share must lie between 0 and 0.5, the share of rows in each outer class; got {share!r}")
    return min(int(share * count), (count - 1) // 2)
