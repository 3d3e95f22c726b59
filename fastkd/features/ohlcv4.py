"""The recipe "ohlcv4": the shape of one candle and its change of volume."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastkd.features.recipe import Recipe, RowGenerator
from fastkd.features.rolling import elementwise
from fastkd.market import Candles

__all__ = ["OHLCV4"]

VOLUME_CAP = 10.0
LARGEST = float(np.finfo(np.float64).max)  # a tiny volume before may overflow the ratio


class OHLCV4(Recipe):
    """See `FeatureSet`."""

    names = ("return", "body_ratio", "upper_shadow", "volume_change")
    n_warmup = 1

    def __init__(self, *, volume_change: str = "clip") -> None:
        if volume_change not in ("clip", "log1p", "raw"):
            raise ValueError(f"volume_change must be 'clip', 'log1p' or 'raw'; got {volume_change!r}")
        self.limit = LARGEST if volume_change == "raw" else VOLUME_CAP
        self.log = volume_change == "log1p"

    def batch(self, candles: Candles, others: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        open_, high, low, close = (column[1:] for column in (candles.open, candles.high, candles.low, candles.close))
        body, size = close - open_, high - low
        X = np.zeros((len(open_), 4))
        X[:, 0] = body / open_
        np.divide(np.abs(body), size, out=X[:, 1], where=size > 0)
        np.divide(high - np.maximum(open_, close), size, out=X[:, 2], where=size > 0)
        now, before = candles.volume[1:], candles.volume[:-1]
        ratio = np.where(now > 0, VOLUME_CAP, 1.0)
        with np.errstate(over="ignore"):
            np.divide(now, before, out=ratio, where=before > 0)
        ratio = np.minimum(ratio, self.limit)
        X[:, 3] = elementwise(math.log1p, ratio) if self.log else ratio
        return X

    def one_by_one(self) -> RowGenerator:
        limit, log = self.limit, self.log
        before: float | None = None
        row = None
        while True:
            _, open_, high, low, close, volume, _ = yield row
            if before is not None:
                body, size = close - open_, high - low
                if before > 0.0:
                    ratio = volume / before
                else:
                    ratio = VOLUME_CAP if volume > 0.0 else 1.0
                ratio = min(ratio, limit)
                row = (
                    body / open_,
                    abs(body) / size if size > 0.0 else 0.0,
                    (high - max(open_, close)) / size if size > 0.0 else 0.0,
                    math.log1p(ratio) if log else ratio,
                )
            before = volume
