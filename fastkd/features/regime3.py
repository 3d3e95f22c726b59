"""The recipe "regime3": return, range and volume against its average, scaled to 0 .. 1 by the training part."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fastkd.features.recipe import Recipe, RowGenerator
from fastkd.features.rolling import as_windows, share_of_mean, volume_totals
from fastkd.features.scaling import MinMaxScaler01
from fastkd.market import Candles

__all__ = ["Regime3"]


class Regime3(Recipe):
    """See `FeatureSet`."""

    names = ("return", "volatility", "volume_ratio")
    scaler = MinMaxScaler01

    def __init__(self, *, window: int = 20) -> None:
        (self.window,) = as_windows(window, "window")
        self.n_warmup = self.window - 1

    def batch(self, candles: Candles, others: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        open_, high, low, close, volume = (column[self.n_warmup :] for column in columns)
        ratio = share_of_mean(volume, volume_totals(candles.volume, self.window), self.window)
        return np.column_stack([(close - open_) / open_, (high - low) / open_, ratio])

    def one_by_one(self) -> RowGenerator:
        window, missing = self.window, self.window
        volumes = deque([0.0] * window, maxlen=window)
        row = None
        while True:
            _, open_, high, low, close, volume, _ = yield row
            volumes.append(volume)
            missing -= 1
            if missing <= 0:
                total = 0.0
                for value in volumes:  # not sum(): newer Pythons add floats in another way
                    total += value
                ratio = volume / total * window if total > 0.0 else 1.0
                row = ((close - open_) / open_, (high - low) / open_, ratio)
