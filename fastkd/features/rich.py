"""The recipe "rich": returns, volatility, volume, candle shape and time of day, and returns of other symbols."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from fastkd._core import _native
from fastkd.features.recipe import NextRow, Recipe, RowGenerator
from fastkd.features.rolling import (
    MAX_LOG_VOLUME,
    MAX_SQUARE,
    SQUARE_UNITS,
    VOLUME_UNITS,
    as_windows,
    elementwise,
    log_prices,
    to_units,
    window_sums,
)
from fastkd.features.scaling import MinMaxScaler01, Standardizer
from fastkd.market import Candles
from fastkd.market.times import DAY_MS

__all__ = ["Rich"]

GARMAN_KLASS = 2.0 * math.log(2.0) - 1.0
PARKINSON = 4.0 * math.log(2.0)
RADIANS = 2.0 * math.pi / DAY_MS


class Rich(Recipe):
    """See `FeatureSet`."""

    def __init__(
        self,
        *,
        horizons: tuple[int, ...] = (1, 3, 12, 48),
        windows: tuple[int, ...] = (12, 48),
        volume_window: int = 48,
        symbols: tuple[str, ...] = (),
    ) -> None:
        self.horizons = as_windows(horizons, "horizons")
        self.windows = as_windows(windows, "windows")
        (self.volume_window,) = as_windows(volume_window, "volume_window")
        if isinstance(symbols, str) or not all(isinstance(symbol, str) for symbol in symbols):
            raise TypeError(f"symbols must be a tuple of names such as ('ETHUSDT',); got {symbols!r}")
        self.symbols = tuple(symbols)
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols must differ from each other; got {symbols!r}")
        self.n_warmup = max(*self.horizons, *self.windows, self.volume_window - 1)
        kinds = ("volatility", "parkinson", "garman_klass")
        self.names = (
            *(f"return_{h}" for h in self.horizons),
            *("body", "upper_shadow", "lower_shadow"),
            *(f"{kind}_{w}" for w in self.windows for kind in kinds),
            *("volume_change", f"volume_z_{self.volume_window}", "time_sin", "time_cos"),
            *(f"{symbol}_return_{h}" for symbol in self.symbols for h in self.horizons),
        )

    def batch(self, candles: Candles, others: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        first = self.n_warmup
        rows = max(len(candles) - first, 0)
        if not rows:
            return np.empty((0, len(self.names)))
        open_, high, low, close = log_prices(candles.open, candles.high, candles.low, candles.close)
        columns = [_returns(close, h, first) for h in self.horizons]
        columns += _shape(candles, first)
        change, span, body = np.diff(close, prepend=0.0), high - low, close - open_
        terms = (change * change, span * span, 0.5 * (span * span) - GARMAN_KLASS * (body * body))
        units = [to_units(term, MAX_SQUARE, SQUARE_UNITS) for term in terms]
        for w in self.windows:
            for term, divisor in zip(units, (1.0, PARKINSON, 1.0)):
                sums = window_sums(term, w)[first - w + 1 :]
                columns.append(np.sqrt(sums * (1.0 / (SQUARE_UNITS * divisor * w))))
        volume = elementwise(math.log1p, candles.volume)
        columns.append(np.diff(volume, prepend=0.0)[first:])
        columns.append(_z_scores(volume, self.volume_window)[first - self.volume_window + 1 :])
        angle = (candles.start_ms[first:] % DAY_MS).astype(np.float64) * RADIANS
        columns += [elementwise(math.sin, angle), elementwise(math.cos, angle)]
        for closes in others:
            (other,) = log_prices(closes)
            columns += [_returns(other, h, first) for h in self.horizons]
        return np.column_stack(columns)

    def stream(self, scaler: Standardizer | MinMaxScaler01 | None = None) -> NextRow:
        compiled = getattr(_native, "RichRows", None)
        if compiled is None:
            return super().stream(scaler)
        scales = (None, None) if scaler is None else (scaler.offset_, scaler.scale_)
        sizes = (self.horizons, self.windows, self.volume_window, len(self.symbols), self.n_warmup)
        return compiled(*sizes, *scales).send

    def one_by_one(self) -> RowGenerator:
        # Before the warm-up is over the windows hold zeros and one senseless change; no row is given out until then.
        horizons, windows, w_volume, missing = self.horizons, self.windows, self.volume_window, self.n_warmup + 1
        offsets = [-1 - h for h in horizons]
        closes = deque([0.0] * (max(horizons) + 1), maxlen=max(horizons) + 1)
        others = [deque([0.0] * (max(horizons) + 1), maxlen=max(horizons) + 1) for _ in self.symbols]
        depth = max(windows)
        moves, spans, mixes = (deque([0] * depth, maxlen=depth) for _ in range(3))
        scales = [(-w, 1.0 / (SQUARE_UNITS * w), 1.0 / (SQUARE_UNITS * PARKINSON * w)) for w in windows]
        totals = [[0, 0, 0] for _ in windows]
        volumes = deque([0] * w_volume)
        volume_sum = volume_squares = 0
        last_close = last_volume = 0.0
        log, log1p, sqrt, sin, cos = math.log, math.log1p, math.sqrt, math.sin, math.cos
        row = None
        while True:
            start, open_, high, low, close, volume, other_closes = yield row
            log_close = log(close)
            change, span, body = log_close - last_close, log(high) - log(low), log_close - log(open_)
            last_close = log_close
            closes.append(log_close)
            out = [log_close - closes[offset] for offset in offsets]

            size = high - low
            if size > 0.0:
                top, bottom = (close, open_) if close > open_ else (open_, close)
                out += ((close - open_) / size, (high - top) / size, (bottom - low) / size)
            else:
                out += (0.0, 0.0, 0.0)

            square = span * span
            mix = 0.5 * square - GARMAN_KLASS * (body * body)
            change *= change
            move_units = int((change if change < MAX_SQUARE else MAX_SQUARE) * SQUARE_UNITS)
            span_units = int((square if square < MAX_SQUARE else MAX_SQUARE) * SQUARE_UNITS)
            mix_units = int((mix if mix < MAX_SQUARE else MAX_SQUARE) * SQUARE_UNITS)
            for total, (oldest, scale, parkinson_scale) in zip(totals, scales):
                moved, spanned, mixed = total
                total[0] = moved = moved + move_units - moves[oldest]
                total[1] = spanned = spanned + span_units - spans[oldest]
                total[2] = mixed = mixed + mix_units - mixes[oldest]
                out += (sqrt(moved * scale), sqrt(spanned * parkinson_scale), sqrt(mixed * scale))
            moves.append(move_units)
            spans.append(span_units)
            mixes.append(mix_units)

            log_volume = log1p(volume)
            units = int((log_volume if log_volume < MAX_LOG_VOLUME else MAX_LOG_VOLUME) * VOLUME_UNITS)
            gone = volumes.popleft()
            volumes.append(units)
            volume_sum += units - gone
            volume_squares += units * units - gone * gone
            mean = volume_sum / w_volume
            variance = float(volume_squares) / w_volume - mean * mean  # float(): as NumPy divides
            z = (units - mean) / sqrt(variance) if variance > 1.0 else 0.0
            angle = start % DAY_MS * RADIANS
            out += (log_volume - last_volume, z, sin(angle), cos(angle))
            last_volume = log_volume

            for history, other_close in zip(others, other_closes):
                log_other = log(other_close)
                history.append(log_other)
                out += [log_other - history[offset] for offset in offsets]
            missing -= 1
            row = tuple(out) if missing <= 0 else None


def _returns(log_close: NDArray[np.float64], horizon: int, first: int) -> NDArray[np.float64]:
    return log_close[first:] - log_close[first - horizon : len(log_close) - horizon]


def _shape(candles: Candles, first: int) -> list[NDArray[np.float64]]:
    open_, high, low, close = (column[first:] for column in (candles.open, candles.high, candles.low, candles.close))
    size = high - low
    parts = (close - open_, high - np.maximum(open_, close), np.minimum(open_, close) - low)
    return [np.divide(part, size, out=np.zeros(len(size)), where=size > 0) for part in parts]


def _z_scores(log_volume: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Distance from the mean of the window in its standard deviations; 0 where that is below one unit."""
    units = to_units(log_volume, MAX_LOG_VOLUME, VOLUME_UNITS)
    mean = window_sums(units, window) / window
    variance = window_sums(units * units, window) / window - mean * mean
    varied = variance > 1.0
    deviation = np.sqrt(np.where(varied, variance, 1.0))
    return np.where(varied, (units[window - 1 :] - mean) / deviation, 0.0)
