"""Feature recipes: closed candles in, one row of features a candle out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkd.market import Candles

__all__ = ["FeatureSet"]

VOLUME_CAP = 10.0


class Recipe(NamedTuple):
    """Names of the columns, number of leading candles without a full window, and the function that computes them."""

    names: tuple[str, ...]
    n_warmup: int
    compute: Callable[..., NDArray[np.float64]]


class FeatureSet:
    """A named set of features of closed candles.

    Parameters
    ----------
    name : str
        ``"ohlcv4"``, for a candle t with open o, high h, low l, close c and volume v::

            return           (c - o) / o
            body_ratio       |c - o| / (h - l)            0 where h = l
            upper_shadow     (h - max(o, c)) / (h - l)    0 where h = l
            volume_change    v[t] / v[t-1]                see `volume_change`

    volume_change : {"clip", "log1p", "raw"}
        For ``"ohlcv4"``. ``"clip"`` (the default) limits the ratio to [0, 10], ``"log1p"`` gives log(1 + that), and
        ``"raw"`` leaves it unlimited. After a candle without volume the ratio is 1 if this one has none either,
        else 10.

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    n_warmup : int
        Number of leading candles that get no row, because their window is incomplete; 1 for ``"ohlcv4"``.

    Raises
    ------
    ValueError
        Unknown recipe, or an unknown value of an option.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> features = FeatureSet("ohlcv4")
    >>> X, known_at_ms = features.transform(synthetic_market(100, random_state=0))
    >>> X.shape, features.names
    ((99, 4), ('return', 'body_ratio', 'upper_shadow', 'volume_change'))
    """

    def __init__(self, name: str, **options: Any) -> None:
        if name not in RECIPES:
            raise ValueError(f"unknown feature set {name!r}; there is {', '.join(map(repr, RECIPES))}")
        self.name = name
        self.options = options
        self.names, self.n_warmup, self._compute = RECIPES[name]
        self._compute(Candles([], [], [], [], [], []), **options)  # a wrong option should fail here, not later

    def transform(self, candles: Candles) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Features of every candle from the first complete window on.

        Row i belongs to candle ``i + n_warmup`` and depends on no later candle.

        Parameters
        ----------
        candles : Candles
            Closed candles in time order. "Previous" means the row before, also across a gap.

        Returns
        -------
        X : numpy.ndarray, shape (rows, len(names)), float64
        known_at_ms : numpy.ndarray, shape (rows,), int64
            Time at which the row can be known, UTC milliseconds: the candle's close, ``start_ms + interval_ms``.

        Raises
        ------
        CandleError
            Candles are unsorted, duplicated or impossible, or their interval is unknown.
        """
        if not isinstance(candles, Candles):
            raise TypeError(f"expected fastkd.market.Candles; got {type(candles).__name__} (see Candles.from_frame)")
        candles.require_clean()
        starts = candles.start_ms[self.n_warmup :]
        known_at_ms = starts + candles.interval_ms if len(starts) else starts.copy()
        return self._compute(candles, **self.options), known_at_ms

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"FeatureSet({self.name!r}{options})"


def _ohlcv4(candles: Candles, *, volume_change: str = "clip") -> NDArray[np.float64]:
    if volume_change not in ("clip", "log1p", "raw"):
        raise ValueError(f"volume_change must be 'clip', 'log1p' or 'raw'; got {volume_change!r}")
    open_, high, low, close = (column[1:] for column in (candles.open, candles.high, candles.low, candles.close))
    body, size = close - open_, high - low
    X = np.zeros((len(open_), 4))
    X[:, 0] = body / open_
    np.divide(np.abs(body), size, out=X[:, 1], where=size > 0)
    np.divide(high - np.maximum(open_, close), size, out=X[:, 2], where=size > 0)
    ratio = _volume_ratio(candles.volume)
    if volume_change != "raw":
        ratio = np.minimum(ratio, VOLUME_CAP)
    X[:, 3] = np.log1p(ratio) if volume_change == "log1p" else ratio
    return X


def _volume_ratio(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    now, before = volume[1:], volume[:-1]
    ratio = np.where(now > 0, VOLUME_CAP, 1.0)
    with np.errstate(over="ignore"):
        np.divide(now, before, out=ratio, where=before > 0)
    return np.minimum(ratio, np.finfo(np.float64).max)  # a tiny volume before may overflow the ratio


RECIPES = {
    "ohlcv4": Recipe(("return", "body_ratio", "upper_shadow", "volume_change"), 1, _ohlcv4),
}
