"""Risk of a position from its losses: value at risk, expected shortfall, and whether a forecast of it holds.

Losses are positive where money is lost, for example ``-np.log(close[1:] / close[:-1])`` of a long position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array, as_fraction


def value_at_risk(losses: Any, level: float = 0.99) -> float:
    """The loss that is not exceeded with probability `level`, by historical simulation: no distribution is assumed.

    It is the smallest of the losses with the share `level` of them at or below it.

    Parameters
    ----------
    losses : (n,), n >= 1, finite
    level : float in (0, 1)

    Returns
    -------
    float, in units of the losses

    Examples
    --------
    >>> value_at_risk(range(1, 101), 0.95)
    95.0
    """
    ordered = np.sort(_losses(losses))
    return float(ordered[_rank(len(ordered), level) - 1])


def expected_shortfall(losses: Any, level: float = 0.99) -> float:
    """Mean of the worst share 1 - `level` of losses, also called CVaR (Rockafellar and Uryasev 2000).

    The loss at the border counts with the part of it that belongs to the share, so the result is at least
    `value_at_risk`, and without jumps in `level`.

    Parameters
    ----------
    losses : (n,), n >= 1, finite
    level : float in (0, 1)

    Returns
    -------
    float, in units of the losses

    Examples
    --------
    >>> round(expected_shortfall(range(1, 101), 0.95), 6)
    98.0
    """
    ordered = np.sort(_losses(losses))
    n, rank = len(ordered), _rank(len(ordered), level)
    tail = n * (1.0 - level)
    beyond = ordered[rank:]
    return float((beyond.sum() + max(tail - len(beyond), 0.0) * ordered[rank - 1]) / max(tail, len(beyond)))


@dataclass(frozen=True)
class Coverage:
    """How often losses exceeded a forecast of the value at risk.

    Attributes
    ----------
    n, exceeded : rows, and how many of them lost more than was forecast
    expected : rows that should have, n * (1 - level)
    p_value : of Kupiec's likelihood ratio (1995): small if the forecast exceeds its share, or stays below it, by more
        than chance. It takes exceedances as independent, which they are not in a crash.
    """

    n: int
    exceeded: int
    expected: float
    p_value: float

    def __str__(self) -> str:
        seen = f"{self.exceeded} of {self.n} losses beyond the forecast"
        return f"{seen}, {self.expected:.1f} expected, p = {self.p_value:.3f}"


def coverage(losses: Any, forecasts: Any, level: float = 0.99) -> Coverage:
    """Compare losses with the value at risk that was forecast for each.

    Parameters
    ----------
    losses, forecasts : (n,), n >= 1, finite, row by row
    level : float in (0, 1)
        Of the forecasts.

    Examples
    --------
    >>> print(coverage(range(1, 101), [95] * 100, level=0.95))
    5 of 100 losses beyond the forecast, 5.0 expected, p = 1.000
    """
    losses, forecasts = _losses(losses), _losses(forecasts, "forecasts")
    if len(losses) != len(forecasts):
        raise ValueError(f"losses and forecasts must have the same length; got {len(losses)} and {len(forecasts)}")
    share = 1.0 - _level(level)
    n, hits = len(losses), int((losses > forecasts).sum())

    def log_likelihood(p: float) -> float:
        parts = ((hits, p), (n - hits, 1.0 - p))
        return sum(k * math.log(q) for k, q in parts if k)

    ratio = max(0.0, 2.0 * (log_likelihood(hits / n) - log_likelihood(share)))
    return Coverage(n, hits, n * share, math.erfc(math.sqrt(ratio / 2.0)))


def _losses(x: Any, name: str = "losses") -> np.ndarray:
    array = as_array(x, name)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be one-dimensional with at least one entry; got shape {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; entry {int(np.argmin(np.isfinite(array)))} is not")
    return array


def _level(level: Any) -> float:
    level = as_fraction(level, "level")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1); got {level}")
    return level


def _rank(n: int, level: Any) -> int:
    """How many of n losses, from the smallest on, make up the share `level`; 1e-9 keeps 0.95 * 100 at 95."""
    return min(n, max(1, math.ceil(n * _level(level) - 1e-9)))
