"""What a recipe of features is: names, warm-up, and a kernel that gives rows from a table or one candle at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastkd._core._native import RecipeCore
from fastkd.features.scaling import MinMaxScaler01, Standardizer
from fastkd.market import Candles

__all__ = ["MAX_WINDOW", "Recipe", "as_windows"]

MAX_WINDOW = 1024  # a sum over a window stays below 2**63


class Recipe:
    """One set of features; subclasses take the options as keyword arguments. csrc/candles.inc.h computes it.

    Attributes
    ----------
    names : names of the columns
    n_warmup : number of leading candles without a row
    symbols : other markets whose closes the recipe needs
    scaler : class of the scaler that `FeatureSet.fit` fits
    core : the kernel with its options
    """

    names: tuple[str, ...]
    n_warmup: int
    symbols: tuple[str, ...] = ()
    scaler: ClassVar[type[Standardizer] | type[MinMaxScaler01]] = Standardizer
    core: RecipeCore

    def rows(
        self,
        candles: Candles,
        others: list[NDArray[np.float64]],
        scaler: Standardizer | MinMaxScaler01 | None = None,
    ) -> NDArray[np.float64]:
        """Rows of all candles from `n_warmup` on, scaled; `others` are closes of `symbols`, one a candle."""
        columns = [candles.start_ms, candles.open, candles.high, candles.low, candles.close, candles.volume]
        closes = np.stack(others, axis=1) if others else np.empty((len(candles), 0))
        scales = () if scaler is None else (scaler.offset_, scaler.scale_)
        return self.core.rows(*map(np.ascontiguousarray, columns), np.ascontiguousarray(closes), *scales)


def as_windows(lengths: object, name: str) -> tuple[int, ...]:
    """Lengths of windows or horizons: whole numbers of candles, 1 .. MAX_WINDOW, each once."""
    values = tuple(lengths) if isinstance(lengths, list | tuple) else (lengths,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_WINDOW:
            raise ValueError(f"{name} must be whole numbers of candles in 1 .. {MAX_WINDOW}; got {value!r}")
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{name} must be at least one length, each once; got {values!r}")
    return values
