"""Features of candles, as columns: the formulas of `fastkd.features.FeatureSet`, and the functions they stand on.

Only + - * / and square roots, in a fixed order, so that the bits do not depend on a machine's mathematical library: the
logarithm is fdlibm's reduction with a polynomial of its own (within 1 ulp), sine and cosine of the time of day are
reduced in whole milliseconds and use fdlibm's polynomials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["candle_features", "log", "log1p", "time_of_day"]

Array = NDArray[np.float64]

SQUARE_UNITS = 2.0**50  # squares of log ratios are whole multiples of 1 / this, so that their sums are exact
VOLUME_UNITS = 2.0**20
MAX_SQUARE = 4.0
MAX_LOG_VOLUME = 64.0
DAY_MS = 86_400_000
LN2 = 0.69314718055994530942
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-1, 1.90821492927058770002e-10
LOG = (
    *(0.66666666666666666465, 0.40000000000000877606, 0.28571428570803230015, 0.22222222391800469329),
    *(0.181817956308847532, 0.15386240205813477879, 0.13268759668560612681, 0.1308676700994817376),
)
SIN = (
    *(-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04),
    *(2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10),
)
COS = (
    *(4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05),
    *(-2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11),
)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    y = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        y = y * x + c
    return y


def log(x: Array) -> Array:
    """Natural logarithm of positive finite numbers: x = 2^e m with m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1)."""
    m, e = np.frexp(np.asarray(x, np.float64))
    low = m < 0.70710678118654752440
    m, n = np.where(low, 2.0 * m, m), np.where(low, e - 1, e).astype(np.float64)
    f = m - 1.0
    s = f / (2.0 + f)
    z, h = s * s, 0.5 * f * f
    p = z * _polynomial(z, LOG) + h
    return n * LN2_HIGH + (f - (h - (s * p + n * LN2_LOW)))


def log1p(x: Array) -> Array:
    """log(1 + x) for finite x >= 0, with the rounding error of 1 + x made good below 1."""
    u = 1.0 + x
    return log(u) + np.where(x < 1.0, (x - (u - 1.0)) / u, 0.0)


def time_of_day(start_ms: NDArray[np.int64]) -> tuple[Array, Array]:
    """Sine and cosine of 2 pi times the share of the day that has passed."""
    ms = start_ms % DAY_MS
    quarter = (ms + DAY_MS // 8) // (DAY_MS // 4)
    x = (ms - quarter * (DAY_MS // 4)).astype(np.float64) * (6.28318530717958647692 / DAY_MS)
    z = x * x
    half = 0.5 * z
    w = 1.0 - half
    s = x + x * z * _polynomial(z, SIN)
    c = w + (((1.0 - w) - half) + z * (z * _polynomial(z, COS)))
    quarter %= 4
    sine = np.choose(quarter, [s, c, 0.0 - s, 0.0 - c])
    return sine, np.choose(quarter, [c, 0.0 - s, 0.0 - c, s])


def candle_features(name: str, options: Mapping[str, Any], candles: Any, others: list[Array]) -> Array:
    """Rows of a recipe for all candles after its warm-up; `others` are closes of other symbols, one a candle."""
    recipe: Any = {"ohlcv4": _ohlcv4, "regime3": _regime3, "condense6": _condense6, "rich": _rich}[name]
    with np.errstate(over="ignore"):
        columns = recipe(candles, others, **options)
    rows = min(map(len, columns))
    return np.column_stack([column[len(column) - rows :] for column in columns])


def _ohlcv4(candles: Any, others: list[Array], volume_change: str = "clip") -> list[Array]:
    open_, high, low, close = candles.open, candles.high, candles.low, candles.close
    size = high - low
    now, before = candles.volume[1:], candles.volume[:-1]
    ratio = np.where(now > 0, 10.0, 1.0)
    np.divide(now, before, out=ratio, where=before > 0)
    ratio = np.minimum(ratio, np.finfo(np.float64).max if volume_change == "raw" else 10.0)
    columns = [
        (close - open_) / open_,
        _share(np.abs(close - open_), size),
        _share(high - np.maximum(open_, close), size),
    ]
    return [*columns, log1p(ratio) if volume_change == "log1p" else ratio]


def _regime3(candles: Any, others: list[Array], window: int = 20) -> list[Array]:
    open_ = candles.open
    returns, ranges = (candles.close - open_) / open_, (candles.high - candles.low) / open_
    return [returns, ranges, _share_of_mean(candles.volume, window)]


def _condense6(candles: Any, others: list[Array], window: int = 20) -> list[Array]:
    high, low, close = log(candles.high), log(candles.low), log(candles.close)
    change = np.diff(close)
    squares = _window_sums(_in_units(change * change, MAX_SQUARE, SQUARE_UNITS), window)
    volatility = np.sqrt(squares * (1.0 / (SQUARE_UNITS * window)))
    return [change, np.diff(high), np.diff(low), volatility, _share_of_mean(candles.volume, window)[1:], high - low]


def _rich(
    candles: Any,
    others: list[Array],
    horizons: tuple[int, ...] = (1, 3, 12, 48),
    windows: tuple[int, ...] = (12, 48),
    volume_window: int = 48,
    symbols: tuple[str, ...] = (),
) -> list[Array]:
    open_, high, low, close = log(candles.open), log(candles.high), log(candles.low), log(candles.close)
    columns = [_difference(close, h) for h in horizons]
    size = candles.high - candles.low
    columns.append(_share(candles.close - candles.open, size))
    columns.append(_share(candles.high - np.maximum(candles.open, candles.close), size))
    columns.append(_share(np.minimum(candles.open, candles.close) - candles.low, size))
    change, span, body = np.diff(close), high - low, close - open_
    mix = 0.5 * (span * span) - (2.0 * LN2 - 1.0) * (body * body)
    for w in windows:
        for term, divisor in ((change * change, 1.0), (span * span, 4.0 * LN2), (mix, 1.0)):
            sums = _window_sums(_in_units(term, MAX_SQUARE, SQUARE_UNITS), w)
            columns.append(np.sqrt(sums * (1.0 / (SQUARE_UNITS * divisor * w))))
    volume = log1p(candles.volume)
    columns += [np.diff(volume), _z_scores(volume, volume_window), *time_of_day(candles.start_ms)]
    columns += [_difference(log(closes), h) for closes in others for h in horizons]
    return columns


def _difference(x: Array, lag: int) -> Array:
    return x[lag:] - x[: len(x) - lag]


def _share(part: Array, size: Array) -> Array:
    return np.divide(part, size, out=np.zeros(len(size)), where=size > 0)


def _in_units(values: Array, limit: float, units: float) -> NDArray[np.int64]:
    """Values up to a limit, in whole units, rounded towards 0."""
    return (np.minimum(values, limit) * units).astype(np.int64)


def _window_sums(units: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Exact sums of each run of `window` values."""
    if len(units) < window:
        return np.empty(0, np.int64)
    return np.lib.stride_tricks.sliding_window_view(units, window).sum(axis=1)


def _share_of_mean(volume: Array, window: int) -> Array:
    """Volume against the mean of the last `window`, added from the oldest on; 1 where the whole window has none."""
    n = max(len(volume) - window + 1, 0)
    total = np.zeros(n)
    for k in range(window):
        total += volume[k : k + n]
    ratio = np.divide(volume[window - 1 :], total, out=np.ones(n), where=total > 0)
    return np.where(total > 0, ratio * window, 1.0)


def _z_scores(log_volume: Array, window: int) -> Array:
    """Distance from the mean of the window in its standard deviations; 0 where that is below one unit."""
    units = _in_units(log_volume, MAX_LOG_VOLUME, VOLUME_UNITS)
    mean = _window_sums(units, window) / window
    variance = _window_sums(units * units, window) / window - mean * mean
    varied = variance > 1.0
    return np.where(varied, (units[window - 1 :] - mean) / np.sqrt(np.where(varied, variance, 1.0)), 0.0)
