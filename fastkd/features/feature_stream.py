"""Features of live candles: one at a time, the same bits as from the whole table."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastkd._core._native import FeedCore
from fastkd.market import CandleError
from fastkd.market.grid import Grid
from fastkd.market.times import interval_name, utc_text

if TYPE_CHECKING:
    from fastkd.features.recipes import FeatureSet

__all__ = ["FeatureStream"]

LOG = logging.getLogger(__name__)

NOT_AFTER, IMPOSSIBLE, OFF_GRID = -1, -2, -3  # of fastkd.h


class FeatureStream(FeedCore):
    """Rows of a `FeatureSet` from one closed candle at a time; made by ``FeatureSet.stream()``.

    A row depends on the last ``n_warmup + 1`` candles alone, so those are all the state there is.

    Parameters
    ----------
    features : FeatureSet
        Its scaler is taken as it is now.
    state, interval, on_gap
        See `FeatureSet.stream`.

    Attributes
    ----------
    count, last_ms
        Candles taken since the beginning (or since the last gap, where ``on_gap="reset"``), and the start of the last.
    n_gaps, n_missing
        Places at which candles were missing, and how many; 0 where the interval is not known.

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

    def __new__(
        cls,
        features: FeatureSet,
        state: Mapping[str, Any] | None = None,
        *,
        interval: str | int | None = None,
        on_gap: str = "bridge",
        name: str = "",
    ) -> FeatureStream:
        grid = _grid(interval, state)
        options: dict[str, Any] = {"on_gap": on_gap}
        if grid is not None and grid.step_ms is not None:
            options |= {"step_ms": grid.step_ms, "phase_ms": grid.start_ms(0)}
        elif on_gap != "bridge":
            why = "interval='5m' or the like" if grid is None else "intervals of one length"
            raise ValueError(f"on_gap={on_gap!r} needs {why}: without it nobody can tell what is missing")
        scaler = getattr(features, "scaler_", None)
        if scaler is not None:
            options |= {"offset": scaler.offset_, "scale": scaler.scale_}
        return super().__new__(cls, features.recipe.core, **options)

    def __init__(
        self,
        features: FeatureSet,
        state: Mapping[str, Any] | None = None,
        *,
        interval: str | int | None = None,
        on_gap: str = "bridge",
        name: str = "",
    ) -> None:
        self.features = features
        self.name, self.on_gap = name, on_gap
        self._description = features.to_dict()
        self._symbols = features.symbols
        self._grid = _grid(interval, state)
        if state is not None:
            self._restore(state)

    @property
    def known_at_ms(self) -> int | None:
        """Close of the last candle, UTC milliseconds; None while the length of a candle is not known."""
        if self.last_ms is None:
            return None
        if self._grid is not None:
            return self._grid.start_ms(self._grid.number(self.last_ms) + 1)
        return None if self.shortest_step == 0 else self.last_ms + self.shortest_step

    def state(self) -> dict[str, Any]:
        """All that `FeatureSet.stream` needs to go on from here; plain numbers, as JSON can hold them without loss."""
        return {
            "features": self._description,
            "interval": None if self._grid is None else self._grid.interval,
            "shortest_step": self.shortest_step,
            "candles": self.recent(),
        }

    def __reduce__(self) -> Any:
        """For copies and other processes: the state; counts of gaps begin at 0 again."""
        interval = None if self._grid is None else self._grid.interval
        features = type(self.features).from_dict(self._description)
        return _again, (type(self), features, self.state(), interval, self.on_gap, self.name)

    def _restore(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or not {"features", "shortest_step", "candles"} <= set(state):
            raise ValueError("expected what FeatureStream.state() returned")
        if state["features"] != self._description:
            raise ValueError(f"the state belongs to other features or another scaler than {self.features!r}")
        before = _interval_of(state)
        if self._grid is not None and before not in (None, self._grid.interval):
            raise ValueError(f"the state is of candles of {before}; this stream takes {self._grid.interval}")
        candles = state["candles"]
        if len(candles) > self.features.n_warmup + 1:
            raise ValueError(f"a state holds at most {self.features.n_warmup + 1} candles; got {len(candles)}")
        self.restore(candles, state["shortest_step"] or 0)

    def _closes(self, start: int, others: Mapping[str, Sequence[float] | None] | None) -> NDArray[np.float64]:
        closes = self.closes.copy()
        for index, symbol in enumerate(self._symbols):
            other = others.get(symbol) if others else None
            if other is not None:
                if other[0] > start:
                    raise ValueError(f"the candle of {symbol!r} starts later than that of the features")
                if not 0.0 < (close := float(other[4])) < math.inf:
                    raise CandleError(f"{symbol!r}: close is not a positive finite number: {close}")
                closes[index] = close
            elif math.isnan(closes[index]):
                raise ValueError(f"the first candle needs one of {symbol!r} too: push(candle, {{{symbol!r}: ...}})")
        return closes

    def _refusal(self, code: int, start: int, candle: Sequence[float]) -> str:
        if code == IMPOSSIBLE:
            return f"impossible candle {tuple(candle)}: expected 0 < low <= open, close <= high and volume >= 0"
        when = f"{utc_text(start)} UTC"
        if code == OFF_GRID:
            assert self._grid is not None
            return f"{when} is not a start of candles of {self._grid.interval}"
        last = f"the last candle, {utc_text(self.last_ms)} UTC"
        if code == NOT_AFTER:
            return f"{when} is not after {last}: push each closed candle once, in time order"
        assert self._grid is not None
        missing = self._grid.number(start) - self._grid.number(self.last_ms) - 1
        remedy = "push them first (warm_up), or choose on_gap='reset' or 'bridge'"
        return f"{missing} candle(s) of {self._grid.interval} are missing between {last}, and {when}: {remedy}"

    def _report(self, missing: int, start: int) -> None:
        LOG.warning(
            "%s%d candle(s) are missing before %s UTC", self.name and f"{self.name}: ", missing, utc_text(start)
        )


def _interval_of(state: Mapping[str, Any]) -> str | None:
    old = state.get("interval_ms")  # as 0.1.0 wrote it
    return state.get("interval") if old is None else interval_name(old)


def _grid(interval: str | int | None, state: Mapping[str, Any] | None) -> Grid | None:
    if interval is None and isinstance(state, Mapping):
        interval = _interval_of(state)
    return None if interval is None else Grid(interval)


def _again(cls: type[FeatureStream], features: FeatureSet, state: Any, interval: Any, on_gap: str, name: str) -> Any:
    return cls(features, state, interval=interval, on_gap=on_gap, name=name)
