"""A test for features that look ahead: what is known at a time must not change when later candles arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.features.thresholds import checked_count
from fastkd.market import Candles
from fastkd.market.times import utc_text

__all__ = ["LookAheadError", "check_prefix_invariance"]


class LookAheadError(ValueError):
    """Features of the past depend on candles that came later."""


def check_prefix_invariance(
    transform: Callable[[Candles], Any], candles: Candles, *, cuts: int = 50, random_state: int | None = 0
) -> None:
    """Raise LookAheadError unless the features of the first t candles are the first rows of the features of all.

    For some t, `transform` is given ``candles[:t]`` alone. Its rows must equal those that it gives for all candles, bit
    for bit, and every row that is said to be known by the close of candle t - 1 must be among them.

    Parameters
    ----------
    transform : callable
        Takes Candles and returns (X, known_at_ms), as `FeatureSet.transform` does, or X alone with one row a candle
        (NaN where a window is incomplete), which counts as known at the candle's close.
    candles : Candles
        Long enough for windows to fill; a few hundred serve.
    cuts : int
        Number of different t to try; all of them if there are no more.
    random_state : int or None
        Chooses them.

    Raises
    ------
    LookAheadError
        Names the row, the column and the candles that changed it.
    ValueError
        `transform` returned something else.

    Examples
    --------
    >>> from fastkd.features import FeatureSet
    >>> from fastkd.market import synthetic_market
    >>> candles = synthetic_market(200, random_state=0)
    >>> check_prefix_invariance(FeatureSet("rich").transform, candles)
    >>> check_prefix_invariance(lambda c: (c.close / c.close.mean())[:, None], candles)
    Traceback (most recent call last):
    fastkd.features.lookahead.LookAheadError: row 0, column 0 changes when candles are added ...
    """
    n, step = len(candles), candles.interval_ms
    cuts = checked_count(cuts, "cuts")
    if n < 2:
        raise ValueError(f"at least 2 candles are needed; got {n}")
    ends = np.arange(1, n)
    if cuts < len(ends):
        ends = np.sort(np.random.default_rng(random_state).choice(ends, cuts, replace=False))
    X, known_at_ms = _rows(transform, candles, step)
    for end in ends.tolist():
        part, _ = _rows(transform, candles[:end], step)
        closed_ms = int(candles.start_ms[end - 1]) + step
        when = f"{utc_text(closed_ms)} UTC"
        if len(part) > len(X) or part.shape[1] != X.shape[1]:
            raise LookAheadError(f"{end} candles give X of shape {part.shape}, all {n} give {X.shape}")
        whole = X[: len(part)]
        different = (part.view(np.int64) != whole.view(np.int64)) & ~(np.isnan(part) & np.isnan(whole))
        if different.any():
            row, column = np.argwhere(different)[0].tolist()
            values = f"{part[row, column]} from {end} candles, {X[row, column]} from {n}"
            raise LookAheadError(f"row {row}, column {column} changes when candles are added after {when}: {values}")
        claimed = int((known_at_ms <= closed_ms).sum())
        if claimed > len(part):
            late = f"row {len(part)} is said to be known at {utc_text(int(known_at_ms[len(part)]))} UTC"
            raise LookAheadError(f"{late}, but the candles closed until {when} do not give it")


def _rows(
    transform: Callable[[Candles], Any], candles: Candles, step: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    result = transform(candles)
    if isinstance(result, tuple) and len(result) == 2:
        X, known_at_ms = np.array(result[0], dtype=np.float64, order="C"), np.asarray(result[1], dtype=np.int64)
    else:
        X, known_at_ms = np.array(result, dtype=np.float64, order="C"), candles.start_ms + step
    if X.ndim == 1:
        X = X[:, None]
    if X.ndim != 2 or known_at_ms.shape != X.shape[:1]:
        got = f"X of shape {X.shape} for {len(candles)} candles"
        raise ValueError(f"transform must return (X, known_at_ms), or X with one row a candle; got {got}")
    return X, known_at_ms
