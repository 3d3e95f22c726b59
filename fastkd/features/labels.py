"""What is to be forecast: forward returns and the direction of the next move."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd._check import to_array
from fastkd.features.thresholds import (
    checked_count,
    fixed_threshold,
    trailing_quantiles,
    trailing_volatility,
    training_quantiles,
)
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
    candles : Candles, a frame of candles, or array_like, shape (n,)
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
    close = _closes(candles)
    horizon = checked_count(horizon, "horizon")
    returns = np.full(len(close), np.nan)
    returns[:-horizon] = close[horizon:] / close[:-horizon] - 1.0
    return returns


def direction_labels(
    candles: Candles | ArrayLike,
    threshold: float | str = 0.001,
    horizon: int = 1,
    *,
    window: int | None = None,
    factor: float = 0.5,
    share: float = 1 / 3,
    n_train: int | None = None,
) -> NDArray[np.int64]:
    """Direction of the move to the close `horizon` rows later.

    With the forward return r[t] and limits l[t] <= u[t]: DOWN (0) if r < l, UP (2) if r > u, else FLAT (1).

    Parameters
    ----------
    candles : Candles, a frame of candles, or array_like, shape (n,)
        Candles, or their close prices.
    threshold : float, "volatility" or "quantile"
        A number is a fraction of the price, >= 0, and l = -threshold, u = threshold; 0.001 is 0.1 %. The shares of
        the classes then depend on it, on the market and on the interval. A round trip's fees are a sensible least.

        ``"volatility"`` takes u = -l = factor * sqrt(horizon) * the root mean square of the last `window` log returns
        up to close t. With `factor` 0.5 a random walk has about 31 % DOWN, 38 % FLAT, 31 % UP.

        ``"quantile"`` takes as l and u what `share` of forward returns were below and above: of the last `window`
        outcomes that are known at close t, or of all that are known within the first `n_train` rows.
    horizon : int
        Number of rows to look ahead, at least 1.
    window : int, optional
        Rows that the threshold is taken from; 100 for "volatility", 500 for "quantile". Rows without as many before
        them are unknown (-1).
    factor, share, n_train
        See `threshold`. With `n_train` the same limits hold for all rows, and none is unknown at the start.

    Returns
    -------
    numpy.ndarray, shape (n,), int64
        Values of `Direction`; -1 in the last `horizon` rows, whose future is unknown, and where a threshold is.

    Raises
    ------
    ValueError
        An argument is out of range, or a close is not a positive finite number.

    Examples
    --------
    >>> direction_labels([100.0, 100.05, 101.0, 99.0])
    array([ 1,  2,  0, -1])
    >>> direction_labels([100.0, 101.0, 100.0, 100.2, 103.0, 103.1], "volatility", window=2)
    array([-1, -1,  1,  2,  1, -1])
    """
    returns = forward_returns(candles, horizon)
    lower, upper = _limits(candles, returns, threshold, horizon, window, factor, share, n_train)
    labels = np.full(len(returns), int(Direction.FLAT), dtype=np.int64)
    labels[returns < lower] = Direction.DOWN
    labels[returns > upper] = Direction.UP
    labels[np.isnan(returns) | np.isnan(upper)] = -1
    return labels


def _limits(
    candles: Candles | ArrayLike,
    returns: NDArray[np.float64],
    threshold: float | str,
    horizon: int,
    window: int | None,
    factor: float,
    share: float,
    n_train: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ones = np.ones(len(returns))
    if n_train is not None and not (isinstance(threshold, str) and threshold == "quantile"):
        raise ValueError("n_train belongs to threshold='quantile'; the other thresholds are not learned")
    if isinstance(threshold, str) and threshold == "volatility":
        rows = checked_count(100 if window is None else window, "window")
        if not 0 <= factor < np.inf:
            raise ValueError(f"factor must be a finite number >= 0; got {factor!r}")
        limit = factor * np.sqrt(horizon) * trailing_volatility(_closes(candles), rows)
        return -limit, limit
    if isinstance(threshold, str) and threshold == "quantile":
        if n_train is not None:
            low, high = training_quantiles(returns, horizon, checked_count(n_train, "n_train"), share)
            return low * ones, high * ones
        rows = checked_count(500 if window is None else window, "window")
        return trailing_quantiles(returns, horizon, rows, share)
    if isinstance(threshold, str):
        raise ValueError(f"threshold must be a finite number >= 0, 'volatility' or 'quantile'; got {threshold!r}")
    fixed = fixed_threshold(threshold)
    return -fixed * ones, fixed * ones


def _closes(candles: Candles | ArrayLike) -> NDArray[np.float64]:
    """Close prices, positive and finite; of candles, which must be in time order, or of a frame of candles."""
    if hasattr(candles, "columns"):
        candles = Candles.from_frame(candles)
    close = to_array(candles.require_clean().close if isinstance(candles, Candles) else candles, "close prices")
    if close.dtype.kind not in "iuf" and close.size:
        raise TypeError(f"close prices must be real numbers; got dtype {close.dtype}")
    close = close.astype(np.float64)
    if close.ndim != 1:
        raise ValueError(f"close prices must have one dimension; got shape {close.shape}")
    good = np.isfinite(close) & (close > 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"close prices must be positive and finite; row {row} is {close[row]}")
    return close
