"""What a forecaster is to forecast: small frozen records that own their options."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastkd._check import as_float
from fastkd._io import register_value
from fastkd.features import Direction as Move
from fastkd.features import Regime, direction_labels, forward_returns, regime_labels, triple_barrier_labels
from fastkd.features.thresholds import checked_count
from fastkd.market import Candles

__all__ = ["Direction", "Labels", "RegimeAhead", "Return", "TripleBarrier"]

MOVES = tuple(move.name for move in Move)


class Labels:
    """Base of the label definitions.

    Attributes
    ----------
    names : names of the classes in the order of their numbers; () for values
    horizon : number of candles after which the label of a row is known at the latest
    """

    names: ClassVar[tuple[str, ...]] = ()
    horizon: int

    def of(self, candles: Candles) -> NDArray[Any]:
        """Label of every candle: classes as int64, -1 where unknown; values as float64, NaN where unknown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """What differs from the defaults, and always the horizon."""
        shown = [
            f"{field.name}={value!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) != field.default or field.name in ("threshold", "horizon")
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@register_value
@dataclass(frozen=True, repr=False)
class Direction(Labels):
    """DOWN, FLAT or UP: the move to the close `horizon` candles later; see `fastkd.features.direction_labels`.

    Parameters
    ----------
    threshold : "volatility", "quantile" or float
        A larger move is UP or DOWN: `factor` times what the last `window` candles let expect, so that the classes keep
        their shares in calm and wild markets; or a fixed fraction of the price.
    horizon : int
    window, factor, share
        See `direction_labels`. With the factor 0.35 each class has about a third of the rows of real candles, from 1 m
        to 1 h, whose moves have fatter tails than a random walk's.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> Direction(horizon=3).of(synthetic_market(300, random_state=0))[-5:]
    array([ 1,  1, -1, -1, -1])
    """

    threshold: float | str = "volatility"
    horizon: int = 1
    window: int | None = None
    factor: float = 0.35
    share: float = 1 / 3

    names: ClassVar[tuple[str, ...]] = MOVES

    def __post_init__(self) -> None:
        self.of(_SHORT)

    def of(self, candles: Candles) -> NDArray[np.int64]:
        return direction_labels(
            candles, self.threshold, self.horizon, window=self.window, factor=self.factor, share=self.share
        )


@register_value
@dataclass(frozen=True, repr=False)
class TripleBarrier(Labels):
    """DOWN, FLAT or UP: the barrier touched first within `horizon` candles; see `triple_barrier_labels`.

    Examples
    --------
    >>> TripleBarrier(horizon=24, up=2.0, down=1.0)
    TripleBarrier(horizon=24, up=2.0)
    """

    horizon: int = 12
    up: float = 1.0
    down: float = 1.0
    unit: str = "volatility"
    window: int = 100

    names: ClassVar[tuple[str, ...]] = MOVES

    def __post_init__(self) -> None:
        self.of(_SHORT)

    def of(self, candles: Candles) -> NDArray[np.int64]:
        found = triple_barrier_labels(
            candles, self.horizon, up=self.up, down=self.down, unit=self.unit, window=self.window
        )
        assert isinstance(found, np.ndarray)
        return found


@register_value
@dataclass(frozen=True, repr=False)
class RegimeAhead(Labels):
    """BULL, BEAR or SIDEWAYS over the next `horizon` candles; see `regime_labels` with source="future".

    Examples
    --------
    >>> RegimeAhead(horizon=48).names
    ('BULL', 'BEAR', 'SIDEWAYS')
    """

    horizon: int = 12
    threshold: float | str = "volatility"
    factor: float = 0.5
    window: int = 100

    names: ClassVar[tuple[str, ...]] = tuple(regime.name for regime in Regime)

    def __post_init__(self) -> None:
        self.of(_SHORT)

    def of(self, candles: Candles) -> NDArray[np.int64]:
        return regime_labels(
            candles,
            "future",
            window=self.horizon,
            threshold=self.threshold,
            factor=self.factor,
            volatility_window=self.window,
        )


@register_value
@dataclass(frozen=True, repr=False)
class Return(Labels):
    """The simple return to the close `horizon` candles later: its mean, or a quantile of it, such as a value at risk.

    Parameters
    ----------
    horizon : int
    quantile : float, optional
        In (0, 1): 0.01 forecasts the return that is undercut once in a hundred times. None forecasts the mean.

    Examples
    --------
    >>> Return(quantile=0.05)
    Return(horizon=1, quantile=0.05)
    """

    horizon: int = 1
    quantile: float | None = None

    def __post_init__(self) -> None:
        checked_count(self.horizon, "horizon")
        if self.quantile is not None and not 0 < as_float(self.quantile, "quantile") < 1:
            raise ValueError(f"quantile must lie between 0 and 1; got {self.quantile!r}")

    def of(self, candles: Candles) -> NDArray[np.float64]:
        return forward_returns(candles, self.horizon)


# The functions check the options; a record tries them on these when it is made.
_SHORT = Candles([0, 60_000], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0])
