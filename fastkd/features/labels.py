"""What is to be forecast: forward returns and the direction of the next move."""

from __future__ import annotations

import math
import operator
from enum import IntEnum
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd.market import Candles

__all__ = ["Direction", "direction_labels", "forward_returns"]


class Direction(IntEnum):
    """Classes of the next move."""

    DOWN = 0
    FLAT = 1
    UP = 2


def forward_returns(candles: Candles | ArrayLike, horizon: int = 1) -> NDArray[np.float64]:
    """Simple return from each close to the close `horizon` rows later: close[t + horizon] / close[t] - 1.

    Parameters
    ----------
    candles : Candles or array_like, shape (n,)
        Candles, or their close prices.
    horizon : int
        Number of rows to look ahead, at least 1. Rows are counted, not time: a gap is stepped over.

    Returns
    -------
    numpy.ndarray, shape (n,), float64
        NaN in the last `horizon` rows, whose future is unknown.

    Raises
    ------
    ValueError
        A close is not a positive finite number, or horizon is below 1.

    Examples
    --------
    >>> forward_returns([100.0, 101.0, 50.5])
    array([ 0.01, -0.5 ,   nan])
    """
    close = np.asarray(candles.close if isinstance(candles, Candles) else candles)
    if close.dtype.kind not in "iuf" and close.size:
        raise TypeError(f"close prices must be real numbers; got dtype {close.dtype}")
    close = close.astype(np.float64)
    if close.ndim != 1:
        raise ValueError(f"close prices must have one dimension; got shape {close.shape}")
    horizon = operator.index(horizon)
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 row; got {horizon}")
    good = np.isfinite(close) & (close > 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"close prices must be positive and finite; row {row} is {close[row]}")
    returns = np.full(len(close), np.nan)
    returns[:-horizon] = close[horizon:] / close[:-horizon] - 1.0
    return returns


def direction_labels(candles: Candles | ArrayLike, threshold: float = 0.001, horizon: int = 1) -> NDArray[np.int64]:
    """Direction of the move to the close `horizon` rows later.

    With the forward return r: DOWN (0) if r < -threshold, UP (2) if r > threshold, else FLAT (1).

    Parameters
    ----------
    candles : Candles or array_like, shape (n,)
        Candles, or their close prices.
    threshold : float
        A fraction of the price, >= 0; 0.001 is 0.1 %. The shares of the classes depend on it and on the interval.
    horizon : int
        Number of rows to look ahead, at least 1.

    Returns
    -------
    numpy.ndarray, shape (n,), int64
        Values of `Direction`; -1 in the last `horizon` rows, whose future is unknown.

    Examples
    --------
    >>> direction_labels([100.0, 100.05, 101.0, 99.0])
    array([ 1,  2,  0, -1])
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= threshold < math.inf:
        message = f"threshold must be a finite number >= 0, a fraction of the price such as 0.001; got {threshold!r}"
        raise ValueError(message)
    returns = forward_returns(candles, horizon)
    labels = np.full(len(returns), int(Direction.FLAT), dtype=np.int64)
    labels[returns < -threshold] = Direction.DOWN
    labels[returns > threshold] = Direction.UP
    labels[np.isnan(returns)] = -1
    return labels
