"""What a recipe of features is: names, warm-up, and the same rows from a table or from one candle at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastkd.features.scaling import MinMaxScaler01, Standardizer
from fastkd.market import Candles

__all__ = ["NextRow", "Recipe", "Row", "RowGenerator", "Values"]

Row: TypeAlias = tuple[float, ...]
# start_ms, open, high, low, close, volume, and the last close of each other symbol
Values: TypeAlias = tuple[int, float, float, float, float, float, tuple[float, ...]]
# After next(), send() takes a candle and gives its row, or None while the first window is incomplete.
RowGenerator: TypeAlias = Generator[Row | None, Values, None]
NextRow: TypeAlias = Callable[[Values], NDArray[np.float64] | None]


class Recipe:
    """One set of features; subclasses take the options as keyword arguments.

    Attributes
    ----------
    names : names of the columns
    n_warmup : number of leading candles without a row
    symbols : other markets whose closes the recipe needs
    scaler : class of the scaler that `FeatureSet.fit` fits
    """

    names: tuple[str, ...]
    n_warmup: int
    symbols: tuple[str, ...] = ()
    scaler: ClassVar[type[Standardizer] | type[MinMaxScaler01]] = Standardizer

    def batch(self, candles: Candles, others: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Rows of all candles from `n_warmup` on; `others` are closes of `symbols`, one a candle."""
        raise NotImplementedError

    def one_by_one(self) -> RowGenerator:
        """The same rows, bit for bit, from one candle at a time; a generator, because its variables are fast locals."""
        raise NotImplementedError

    def stream(self, scaler: Standardizer | MinMaxScaler01 | None = None) -> NextRow:
        """A function that takes one candle after the other and gives the scaled row of each, or None."""
        rows = self.one_by_one()
        next(rows)

        def next_row(candle: Values) -> NDArray[np.float64] | None:
            numbers = rows.send(candle)
            if numbers is None:
                return None
            row = np.array(numbers)
            if scaler is not None:
                row -= scaler.offset_
                row /= scaler.scale_
            return row

        return next_row
