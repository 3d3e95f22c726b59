"""Features of live candles: one at a time, the same bits as from the whole table."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastkd.features.recipe import Values
from fastkd.market import CandleError
from fastkd.market.candles import LATEST_MS
from fastkd.market.grid import Grid
from fastkd.market.times import MONTH, interval_to_ms, normalize_interval, utc_text

if TYPE_CHECKING:
    from fastkd.features.recipes import FeatureSet

__all__ = ["FeatureStream"]


class FeatureStream:
    """Rows of a `FeatureSet` from one closed candle at a time; made by ``FeatureSet.stream()``.

    A row depends on the last ``n_warmup + 1`` candles alone, so those are all the state there is.

    Parameters
    ----------
    features : FeatureSet
        Its scaler is taken as it is now.
    state, interval
        See `FeatureSet.stream`.

    Examples
    --------
    >>> from fastkd.features import FeatureSet
    >>> from fastkd.market import synthetic_market
    >>> features, candles = FeatureSet("ohlcv4"), synthetic_market(3, random_state=0)
    >>> stream = features.stream()
    >>> print(stream.push(candles[0]))
    None
    >>> saved = stream.state()
    >>> resumed = features.stream(saved)
    >>> np.array_equal(resumed.push(candles[1]), stream.push(candles[1]))
    True
    """

    def __init__(
        self, features: FeatureSet, state: Mapping[str, Any] | None = None, *, interval: str | int | None = None
    ) -> None:
        self.features = features
        self._description = features.to_dict()
        self._symbols = features.symbols
        self._monthly = interval is not None and normalize_interval(interval) == MONTH
        self._interval_ms = None if interval is None or self._monthly else interval_to_ms(interval)
        self._shortest_step: int | None = None
        self._recent: deque[Values] = deque(maxlen=features.n_warmup + 1)
        self._last_ms = -(2**63)
        self._last_closes: tuple[float, ...] = ()
        self._next_row = features.recipe.stream(getattr(features, "scaler_", None))
        if state is not None:
            self._restore(state)

    def push(
        self, candle: Sequence[float], others: Mapping[str, Sequence[float] | None] | None = None
    ) -> NDArray[np.float64] | None:
        """Take the next closed candle.

        Parameters
        ----------
        candle : Candle, or a sequence start_ms, open, high, low, close, volume
            Later than the one before; a gap is stepped over as in `FeatureSet.transform`.
        others : mapping of symbol to candle, optional
            For each of the feature set's `symbols` its latest candle that starts no later than this one, if there is
            one that was not given before; else None or nothing, and its last close counts on.

        Returns
        -------
        numpy.ndarray, shape (n_features,), float64, or None
            The row; None during the first ``n_warmup`` candles. `known_at_ms` tells when it could be known.

        Raises
        ------
        CandleError
            The candle is not later than the last, or impossible. The stream stays as it was.
        """
        start, open_, high, low, close, volume = candle[:6]
        if not (type(open_) is type(high) is type(low) is type(close) is type(volume) is float and type(start) is int):
            start, open_, high, low, close, volume = _plain(candle)
        if not (
            self._last_ms < start <= LATEST_MS
            and 0.0 < low <= open_ <= high < math.inf
            and low <= close <= high
            and 0.0 <= volume < math.inf
        ):
            self._refuse(start, candle)
        closes = self._closes(start, others) if self._symbols else ()
        values = (start, open_, high, low, close, volume, closes)
        if self._recent:
            step = start - self._last_ms
            if self._shortest_step is None or step < self._shortest_step:
                self._shortest_step = step
        self._recent.append(values)
        self._last_ms = start
        self._last_closes = closes
        return self._next_row(values)

    @property
    def known_at_ms(self) -> int | None:
        """Close of the last candle, UTC milliseconds; None while the length of a candle is not known."""
        if self._monthly and self._recent:
            grid = Grid(MONTH)
            return grid.start_ms(grid.number(self._last_ms) + 1)
        length = self._interval_ms or self._shortest_step
        return None if length is None or not self._recent else self._last_ms + length

    def state(self) -> dict[str, Any]:
        """All that `FeatureSet.stream` needs to go on from here; plain numbers, as JSON can hold them without loss."""
        candles = [[*values[:6], list(values[6])] for values in self._recent]
        return {
            "features": self._description,
            "interval_ms": self._interval_ms,
            "shortest_step": self._shortest_step,
            "candles": candles,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["features"] != self._description:
            raise ValueError(f"the state belongs to other features or another scaler than {self.features!r}")
        for *candle, closes in state["candles"]:
            self.push(candle, {s: (candle[0], 0.0, 0.0, 0.0, c) for s, c in zip(self._symbols, closes)})
        self._interval_ms = self._interval_ms or state["interval_ms"]
        self._shortest_step = state["shortest_step"]

    def _closes(self, start: int, others: Mapping[str, Sequence[float] | None] | None) -> tuple[float, ...]:
        closes = []
        for index, symbol in enumerate(self._symbols):
            other = others.get(symbol) if others else None
            if other is not None:
                if other[0] > start:
                    raise ValueError(f"the candle of {symbol!r} starts later than that of the features")
                if not 0.0 < (close := float(other[4])) < math.inf:
                    raise CandleError(f"{symbol!r}: close is not a positive finite number: {close}")
                closes.append(close)
            elif self._last_closes:
                closes.append(self._last_closes[index])
            else:
                raise ValueError(f"the first candle needs one of {symbol!r} too: push(candle, {{{symbol!r}: ...}})")
        return tuple(closes)

    def _refuse(self, start: int, candle: Sequence[float]) -> None:
        if start <= self._last_ms:
            when = f"{utc_text(start)} UTC is not after the last candle, {utc_text(self._last_ms)} UTC"
            raise CandleError(f"{when}: push each closed candle once, in time order")
        raise CandleError(f"impossible candle {tuple(candle)}: expected 0 < low <= open, close <= high and volume >= 0")


def _plain(candle: Sequence[float]) -> tuple[int, float, float, float, float, float]:
    """Numbers of any kind as Python's own, whose arithmetic is that of float64 columns."""
    start, *prices = candle[:6]
    if int(start) != start:
        raise CandleError(f"start_ms must be a whole number of milliseconds; got {start}")
    open_, high, low, close, volume = map(float, prices)
    return int(start), open_, high, low, close, volume
