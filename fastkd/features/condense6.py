"""The recipe "condense6": differenced log prices, volatility, volume ratio and range, standardized."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from fastkd.features.recipe import Recipe, RowGenerator
from fastkd.features.rolling import (
    MAX_SQUARE,
    SQUARE_UNITS,
    as_windows,
    log_prices,
    share_of_mean,
    to_units,
    volume_totals,
    window_sums,
)
from fastkd.market import Candles

__all__ = ["Condense6"]


class Condense6(Recipe):
    """See `FeatureSet`."""

    names = ("log_return", "high_log_return", "low_log_return", "volatility", "volume_ratio", "log_range")

    def __init__(self, *, window: int = 20) -> None:
        (self.window,) = as_windows(window, "window")
        self.n_warmup = self.window

    def batch(self, candles: Candles, others: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        high, low, close = log_prices(candles.high, candles.low, candles.close)
        window, first = self.window, self.n_warmup - 1
        change = np.diff(close)
        squares = window_sums(to_units(change * change, MAX_SQUARE, SQUARE_UNITS), window)
        ratio = share_of_mean(candles.volume[first:], volume_totals(candles.volume, window), window)
        X = np.empty((max(len(candles) - window, 0), 6))
        X[:, 0] = change[first:]
        X[:, 1] = np.diff(high)[first:]
        X[:, 2] = np.diff(low)[first:]
        X[:, 3] = np.sqrt(squares * (1.0 / (SQUARE_UNITS * window)))
        X[:, 4] = ratio[1:]
        X[:, 5] = (high - low)[window:]
        return X

    def one_by_one(self) -> RowGenerator:
        window, missing = self.window, self.window + 1
        scale = 1.0 / (SQUARE_UNITS * window)
        volumes = deque([0.0] * window, maxlen=window)
        squares = deque([0] * window)
        squared = 0
        last_high = last_low = last_close = 0.0
        log, sqrt = math.log, math.sqrt
        row = None
        while True:
            _, _, high, low, close, volume, _ = yield row
            high, low, close = log(high), log(low), log(close)
            volumes.append(volume)
            change = close - last_close
            units = int(min(change * change, MAX_SQUARE) * SQUARE_UNITS)
            squares.append(units)
            squared += units - squares.popleft()
            missing -= 1
            if missing <= 0:
                total = 0.0
                for value in volumes:
                    total += value
                ratio = volume / total * window if total > 0.0 else 1.0
                row = (change, high - last_high, low - last_low, sqrt(squared * scale), ratio, high - low)
            last_high, last_low, last_close = high, low, close
