"""Market regimes: labels by rule, and clusters of trailing return and volatility."""

from __future__ import annotations

import warnings
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd.features.thresholds import checked_count, fixed_threshold, trailing_volatility
from fastkd.market import Candles

__all__ = ["Regime", "RegimeClusters", "regime_labels"]


class Regime(IntEnum):
    """Classes of a market's state. The order is not that of `Direction`."""

    BULL = 0
    BEAR = 1
    SIDEWAYS = 2


def regime_labels(
    candles: Candles,
    source: str = "future",
    *,
    window: int = 12,
    threshold: float | str = "volatility",
    factor: float = 0.5,
    volatility_window: int = 100,
) -> NDArray[np.int64]:
    """Regime of every candle: BULL (0) if the move m[t] > u[t], BEAR (1) if m[t] < -u[t], else SIDEWAYS (2).

    Every move has exactly one regime, calm or wild. (Rules such as "positive with moderate volatility, negative with
    elevated volatility, near zero" leave moves without a regime.)

    Parameters
    ----------
    candles : Candles
    source : {"future", "trailing", "same_candle"}
        What the move is measured on. ``"future"``: ln c[t + window] - ln c[t], a label to forecast. ``"trailing"``:
        ln c[t] - ln c[t - window], the state that is known at close t. ``"same_candle"``: (c - o) / o of candle t
        itself. A model that sees candle t and forecasts a trailing or same-candle regime is told the answer; for
        ``"same_candle"``, where that has been done, a UserWarning says so.
    window : int
        Candles of the move, at least 1; not used by "same_candle".
    threshold : float or "volatility"
        u as a fraction of the price, or as factor * sqrt(window) * the root mean square of the last
        `volatility_window` log returns up to close t ("same_candle": up to the close before, and window 1).
    factor, volatility_window
        See `threshold`.

    Returns
    -------
    numpy.ndarray, shape (n,), int64
        Values of `Regime`; -1 where the move or the threshold is unknown, as in the last `window` rows of "future".

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> regime_labels(synthetic_market(6, random_state=0), window=2, threshold=0.001)
    array([ 2,  1,  1,  1, -1, -1])
    """
    if source not in ("future", "trailing", "same_candle"):
        raise ValueError(f"source must be 'future', 'trailing' or 'same_candle'; got {source!r}")
    window, volatility_window = checked_count(window, "window"), checked_count(volatility_window, "volatility_window")
    candles.require_clean()
    n, log_close = len(candles), np.log(candles.close)
    move = np.full(n, np.nan)
    if source == "future":
        move[:-window] = log_close[window:] - log_close[:-window]
    elif source == "trailing":
        move[window:] = log_close[window:] - log_close[:-window]
    else:
        warnings.warn(
            "the regime of a candle follows from its own open and close: a model that sees them does not forecast, "
            "it reads the answer (accuracies of 95 % and more). Use source='future' to forecast",
            UserWarning,
            stacklevel=2,
        )
        move = (candles.close - candles.open) / candles.open
    if isinstance(threshold, str):
        if threshold != "volatility":
            raise ValueError(f"threshold must be a finite number >= 0 or 'volatility'; got {threshold!r}")
        if not 0 <= factor < np.inf:
            raise ValueError(f"factor must be a finite number >= 0; got {factor!r}")
        volatility = trailing_volatility(candles.close, volatility_window)
        if source == "same_candle":
            volatility = np.concatenate([[np.nan], volatility[:-1]])[:n]
        limit = factor * np.sqrt(1 if source == "same_candle" else window) * volatility
    else:
        limit = np.full(n, fixed_threshold(threshold))
    labels = np.full(n, int(Regime.SIDEWAYS), dtype=np.int64)
    labels[move > limit] = Regime.BULL
    labels[move < -limit] = Regime.BEAR
    labels[np.isnan(move) | np.isnan(limit)] = -1
    return labels


class RegimeClusters:
    """Regimes found by k-means on trailing return and volatility.

    Parameters
    ----------
    n_regimes : int
        At least 2.
    window : int
        Candles that return and volatility are measured on.
    n_init : int
        Starts from other random rows; the best is kept.
    random_state : int, numpy.random.Generator or None

    Attributes
    ----------
    centers_ : numpy.ndarray, shape (n_regimes, 2)
        Trailing log return and volatility (root mean square of log returns) of each regime, ordered by return.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> candles = synthetic_market(1000, random_state=0)
    >>> clusters = RegimeClusters(3, random_state=0).fit(candles[:700])
    >>> clusters.predict(candles)[40:52]
    array([-1, -1, -1, -1, -1, -1, -1, -1,  0,  0,  0,  0])
    """

    centers_: NDArray[np.float64]

    def __init__(
        self,
        n_regimes: int = 3,
        *,
        window: int = 48,
        n_init: int = 10,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.n_regimes = checked_count(n_regimes, "n_regimes", 2)
        self.window = checked_count(window, "window")
        self.n_init = checked_count(n_init, "n_init")
        self.random_state = random_state

    def fit(self, candles: Candles) -> Self:
        """Find the regimes of these candles: the past, such as the training part."""
        from scipy.cluster.vq import ClusterError, kmeans2, vq

        points = self._points(candles)[self.window :]
        different = len(np.unique(points, axis=0))
        if different < self.n_regimes:
            raise ValueError(f"{len(candles)} candles hold {different} states; {self.n_regimes} regimes need more")
        self._offset = points.mean(axis=0)
        deviation = points.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        scaled = (points - self._offset) / self._scale
        distinct = np.unique(scaled, axis=0)
        rng = np.random.default_rng(self.random_state)
        best: tuple[float, Any] = (np.inf, None)
        for _ in range(self.n_init):
            start = rng.choice(distinct, self.n_regimes, replace=False)
            try:
                centers, _ = kmeans2(scaled, start, iter=50, minit="matrix", missing="raise")
            except ClusterError:  # a regime lost all its rows
                continue
            spread = float((vq(scaled, centers)[1] ** 2).sum())
            if spread < best[0]:
                best = spread, centers
        if best[1] is None:
            raise ValueError(f"no {self.n_regimes} regimes were found in {len(points)} rows; ask for fewer")
        self._scaled_centers = best[1][np.lexsort((best[1][:, 1], best[1][:, 0]))]
        self.centers_ = self._scaled_centers * self._scale + self._offset
        return self

    def predict(self, candles: Candles) -> NDArray[np.int64]:
        """Regime of every candle, 0 .. n_regimes - 1, from it and the `window` before it; -1 in the first rows."""
        if not hasattr(self, "centers_"):
            raise ValueError("RegimeClusters is not fitted; call fit with the candles of the past first")
        points = (self._points(candles)[self.window :] - self._offset) / self._scale
        distances = ((points[:, None, :] - self._scaled_centers) ** 2).sum(axis=2)
        labels = np.full(len(candles), -1, dtype=np.int64)
        labels[self.window :] = distances.argmin(axis=1)
        return labels

    def _points(self, candles: Candles) -> NDArray[np.float64]:
        candles.require_clean()
        log_close = np.log(candles.close)
        change = np.full(len(candles), np.nan)
        change[self.window :] = log_close[self.window :] - log_close[: -self.window]
        return np.column_stack([change, trailing_volatility(candles.close, self.window)])

    def __repr__(self) -> str:
        return f"RegimeClusters({self.n_regimes}, window={self.window})"
