"""A schedule that the market sets: how often to distill, how softly, and when to start all over."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_positive
from fastkd.models._hyperparameters import integer, real

__all__ = ["AdaptiveSchedule", "Step"]


@dataclass(frozen=True)
class Step:
    """What to do after a candle.

    Attributes
    ----------
    candle : int
        Number of the candle, from 0.
    distill : bool
        Whether a round of distillation is due now.
    restart : bool
        Whether the students are to forget everything and learn anew from the teacher; implies `distill`.
    temperature : float
        Of the soft labels.
    interval : int
        Candles from one round to the next, at the present volatility.
    volatility : float
        Present over usual volatility; 1 until enough candles have been seen.
    regime : {"calm", "normal", "volatile"}
    """

    candle: int
    distill: bool
    restart: bool
    temperature: float
    interval: int
    volatility: float
    regime: str


class AdaptiveSchedule:
    r"""Distill often and sharply in volatile markets, seldom and softly in calm ones, anew after a change of regime.

    Volatility is the root mean square of the last `fast` log returns; with v its ratio to what is usual, the median of
    the last `slow` volatilities (a median, for after a crash the mean would call everything calm),

    .. math:: interval = interval_0 / v, \qquad T = T_0 / \sqrt{v},

    each kept within its bounds. A change detector watches the absolute returns, in units of the usual volatility and
    capped at 4, so that a single wild candle is no regime; a rise calls for a restart. Everything is computed from
    candles that have closed, one at a time: what comes later cannot change what was said.

    Parameters
    ----------
    temperature : float
        T_0, at the usual volatility.
    temperature_range : (float, float)
    interval : int
        Candles between rounds at the usual volatility.
    interval_range : (int, int)
    fast, slow : int
        Candles of the present and of the usual volatility, 2 <= fast < slow.
    calm, volatile : float
        v below and above which the market is called so; names only.
    detector : object, optional
        With ``update(value) -> int`` as those of `fastkd.features.changes`; ``PageHinkley(12.0, tolerance=1.0)`` if
        not given. False for none: it never restarts.

    Raises
    ------
    ValueError
        For arguments outside their domain.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> returns = np.concatenate([rng.normal(0, 0.001, 400), rng.normal(0, 0.005, 60)])
    >>> steps = AdaptiveSchedule(fast=12, slow=200).plan(100 * np.exp(np.cumsum(returns)))
    >>> before, after = steps[399], steps[420]
    >>> after.temperature < before.temperature, after.interval < before.interval
    (True, True)
    >>> [step.candle >= 400 for step in steps if step.restart]
    [True]
    """

    def __init__(
        self,
        *,
        temperature: float = 3.0,
        temperature_range: tuple[float, float] = (1.0, 6.0),
        interval: int = 24,
        interval_range: tuple[int, int] = (1, 168),
        fast: int = 24,
        slow: int = 720,
        calm: float = 0.67,
        volatile: float = 1.5,
        detector: Any = None,
    ) -> None:
        self.temperature = as_positive(temperature, "temperature")
        self.temperature_range = _range(temperature_range, "temperature_range")
        integer("interval", interval, low=1)
        integer("fast", fast, low=2)
        integer("slow", slow, low=fast + 1)
        self.interval, self.interval_range = interval, _range(interval_range, "interval_range")
        if self.interval_range[0] < 1:
            raise ValueError(f"interval_range must begin at 1 candle or more; got {interval_range}")
        self.fast, self.slow = fast, slow
        self.calm = real("calm", calm, low=0.0)
        self.volatile = real("volatile", volatile, low=self.calm)
        if detector is None:
            from fastkd.features.changes import PageHinkley

            detector = PageHinkley(12.0, tolerance=1.0)
        if detector is not False and not hasattr(detector, "update"):
            raise TypeError(f"detector needs update(value); got {type(detector).__name__}")
        self.detector = detector
        self._squares: deque[float] = deque(maxlen=fast)
        self._volatilities: deque[float] = deque(maxlen=slow)
        self._usual = 0.0  # until half of the candles that it takes have been seen
        self._last: float | None = None
        self._candles = 0
        self._since = 0

    def update(self, close: float) -> Step:
        """Take the close of the candle that has just ended, > 0; what to do now."""
        close = as_positive(close, "close")
        restart = False
        if self._last is not None:
            change = math.log(close / self._last)
            # judged by what was usual before this candle; a fall in volatility is no reason to forget
            if self._usual > 0.0 and self.detector is not False:
                restart = self.detector.update(min(abs(change) / self._usual, 4.0)) > 0
            self._squares.append(change * change)
            if len(self._squares) == self.fast:
                self._volatilities.append(math.sqrt(sum(self._squares) / self.fast))
            if 2 * len(self._volatilities) >= self.slow:
                self._usual = float(np.median(np.fromiter(self._volatilities, float)))
        self._last = close
        v = max(self._volatilities[-1] / self._usual, 1e-3) if self._usual > 0.0 else 1.0
        low, high = self.interval_range
        interval = int(min(max(round(self.interval / v), low), high))
        self._since += 1
        distill = restart or self._since >= interval
        if distill:
            self._since = 0
        low_t, high_t = self.temperature_range
        step = Step(
            candle=self._candles,
            distill=distill,
            restart=restart,
            temperature=float(min(max(self.temperature / math.sqrt(v), low_t), high_t)),
            interval=interval,
            volatility=v,
            regime="calm" if v < self.calm else "volatile" if v > self.volatile else "normal",
        )
        self._candles += 1
        return step

    def plan(self, closes: Iterable[float]) -> list[Step]:
        """A step for each of these closes, which follow those seen before."""
        return [self.update(close) for close in closes]

    def rounds(self, closes: Iterable[float]) -> DueSteps:
        """The steps at which a round is due, as `FedMD` takes them: ``schedule=rounds, rounds=len(rounds)``."""
        return DueSteps(tuple(step for step in self.plan(closes) if step.distill))


@dataclass(frozen=True)
class DueSteps:
    """The due steps of an `AdaptiveSchedule`; called with the number of a round, from 0, it gives that step."""

    steps: tuple[Step, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def __call__(self, number: int) -> Step:
        """The step of a round; after the last one, the last without a restart."""
        if not self.steps:
            raise ValueError("no round is due in these candles; give more of them, or a shorter interval")
        if number < len(self.steps):
            return self.steps[number]
        last = self.steps[-1]
        return Step(last.candle, True, False, last.temperature, last.interval, last.volatility, last.regime)


def _range(bounds: Any, name: str) -> tuple[Any, Any]:
    low, high = bounds
    if not 0 < low <= high < math.inf:
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high; got {bounds!r}")
    return low, high
