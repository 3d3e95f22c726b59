"""Detectors of change, one value at a time: a model's losses, a spread, a volatility."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastkd.features.thresholds import checked_count

__all__ = ["Cusum", "PageHinkley"]


class _Detector:
    """Alarms of a stream of values; subclasses say when."""

    threshold: float
    up: float
    down: float

    def update(self, value: float) -> int:
        """Take the next value: 1 if the mean has risen, -1 if it has fallen, else 0. An alarm starts all over."""
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"values must be finite; got {value}")
        direction = self._step(value)
        if direction:
            self.reset()
        return direction

    def detect(self, values: Iterable[float]) -> list[tuple[int, int]]:
        """(index, direction) of every alarm of a whole series; takes the values after those seen before."""
        return [(index, way) for index, value in enumerate(values) if (way := self.update(value))]

    def reset(self) -> None:
        """Forget all values."""
        raise NotImplementedError

    def _step(self, value: float) -> int:
        raise NotImplementedError

    def _alarm(self) -> int:
        if max(self.up, self.down) <= self.threshold:
            return 0
        return 1 if self.up >= self.down else -1


class Cusum(_Detector):
    """Two-sided cumulative sums against the mean and deviation of the first `warmup` values (Page 1954)::

        z = (value - mean) / deviation
        up = max(0, up + z - drift),  down = max(0, down - z - drift);    alarm where one exceeds the threshold

    Parameters
    ----------
    threshold : float
        In standard deviations. With drift 0.5, independent normal values and a mean known well, a side raises a false
        alarm about every 930 values at 5 and every 19,000 at 8; a short `warmup` makes them more frequent.
    drift : float
        Half of the shift that matters, in standard deviations.
    warmup : int
        Values that mean and deviation are learned from, at least 2.

    Examples
    --------
    >>> detector = Cusum(warmup=4)
    >>> detector.detect([0.0, 1.0, 0.0, 1.0, 0.5, 0.4, 3.0, 3.0, 3.0])
    [(8, 1)]
    """

    def __init__(self, threshold: float = 8.0, *, drift: float = 0.5, warmup: int = 100) -> None:
        self.threshold, self.drift = _positive(threshold, "threshold"), _positive(drift, "drift", zero=True)
        self.warmup = checked_count(warmup, "warmup", 2)
        self.reset()

    def reset(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self.up = self.down = 0.0

    def _step(self, value: float) -> int:
        if self.count < self.warmup:
            self.count += 1
            change = value - self.mean
            self.mean += change / self.count
            self._squares += change * (value - self.mean)
            return 0
        deviation = math.sqrt(self._squares / (self.warmup - 1))
        if deviation > 0.0:
            z = (value - self.mean) / deviation
        else:  # any change of what was constant is one
            z = math.copysign(math.inf, value - self.mean) if value != self.mean else 0.0
        self.up = max(0.0, self.up + z - self.drift)
        self.down = max(0.0, self.down - z - self.drift)
        return self._alarm()


class PageHinkley(_Detector):
    """Two-sided test of Page and Hinkley against the running mean of all values since the last alarm (Hinkley 1971)::

        up   = max(0, up   + value - mean - tolerance)
        down = max(0, down + mean - value - tolerance);    alarm where one exceeds the threshold, after `warmup` values

    Parameters
    ----------
    threshold, tolerance : float
        In units of the values: the sum of excess that raises an alarm, and the excess that does not count.
    warmup : int
        Values before the first alarm.

    Examples
    --------
    >>> PageHinkley(threshold=2.0, tolerance=0.1, warmup=3).detect([0.0, 0.1, 0.0, 0.1, 2.0, 2.0, 2.0])
    [(5, 1)]
    """

    def __init__(self, threshold: float, *, tolerance: float = 0.0, warmup: int = 30) -> None:
        self.threshold, self.tolerance = _positive(threshold, "threshold"), _positive(tolerance, "tolerance", zero=True)
        self.warmup = checked_count(warmup, "warmup")
        self.reset()

    def reset(self) -> None:
        self.count, self.mean = 0, 0.0
        self.up = self.down = 0.0

    def _step(self, value: float) -> int:
        self.count += 1
        self.mean += (value - self.mean) / self.count
        excess = value - self.mean
        self.up = max(0.0, self.up + excess - self.tolerance)
        self.down = max(0.0, self.down - excess - self.tolerance)
        if self.count < self.warmup:
            return 0
        return self._alarm()


def _positive(value: float, name: str, zero: bool = False) -> float:
    if not (value >= 0 if zero else value > 0) or value == math.inf:
        raise ValueError(f"{name} must be a finite number {'>= 0' if zero else '> 0'}; got {value!r}")
    return float(value)
