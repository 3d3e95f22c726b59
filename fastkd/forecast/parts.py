"""Rows of a forecaster: features with labels, in time order, and their cut into a training and a later test part."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.features import FeatureSet
from fastkd.forecast.labels import Labels
from fastkd.market import Candles
from fastkd.market.times import utc_text

__all__ = ["Rows", "as_markets", "cut", "join", "rows_of", "span_text"]

FEW_ROWS = 200


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows whose label is known, in time order within each market."""

    X: NDArray[np.float64]
    y: NDArray[Any]
    known_at_ms: NDArray[np.int64]
    label_at_ms: NDArray[np.int64]  # when the label is known

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> Rows:
        return Rows(self.X[index], self.y[index], self.known_at_ms[index], self.label_at_ms[index])

    @property
    def span(self) -> tuple[int, int]:
        """From the first row to the last label, UTC milliseconds."""
        return int(self.known_at_ms.min()), int(self.label_at_ms.max())


def as_markets(candles: Candles | Sequence[Candles]) -> tuple[Candles, ...]:
    """One or several tables of candles of one interval."""
    if not isinstance(candles, Candles | list | tuple):
        kind = type(candles).__name__
        raise TypeError(f"expected Candles, or a list of them; got {kind}: Candles.from_frame({kind}) makes them")
    markets = (candles,) if isinstance(candles, Candles) else tuple(candles)
    for market in markets:
        if not isinstance(market, Candles):
            raise TypeError(
                f"expected Candles, or a list of them; got {type(market).__name__} (see Candles.from_frame)"
            )
    if not markets:
        raise ValueError("expected Candles; got an empty list")
    if len(different := {market.interval for market in markets}) > 1:
        found = ", ".join(f"{market.symbol or '-'} {market.interval}" for market in markets)
        raise ValueError(f"candles of {len(different)} intervals cannot be learned together: {found}")
    for number, one in enumerate(markets):
        for other in markets[:number]:
            if common := _shared(one, other):
                raise ValueError(
                    f"two tables hold the same {common} candle(s) of {one.symbol or 'a market without a name'}, which "
                    "would count twice: Candles.concatenate joins tables of one market"
                )
    return markets


def _shared(one: Candles, other: Candles) -> int:
    """How many candles two tables share: times of one symbol; without a symbol, if all else is equal too."""
    if one.symbol != other.symbol:
        return 0
    _, rows, others = np.intersect1d(one.start_ms, other.start_ms, return_indices=True)
    if one.symbol is None and not all(
        np.array_equal(getattr(one, name)[rows], getattr(other, name)[others]) for name in ("open", "close", "volume")
    ):
        return 0
    return len(rows)


def rows_of(
    candles: Candles, features: FeatureSet, labels: Labels, others: Mapping[str, Candles] | None = None
) -> Rows:
    """Rows of one market."""
    X, known = features.compute(candles, others)
    y = labels.of(candles)[len(candles) - len(X) :]
    later = np.minimum(np.arange(len(X)) + labels.horizon, max(len(X) - 1, 0))
    usable = ~np.isnan(y) if y.dtype.kind == "f" else y >= 0
    return Rows(X, y, known, known[later])[usable]


def cut(rows: Rows, test_from_ms: int) -> tuple[Rows, Rows]:
    """(training rows whose labels are known before that time, test rows from it on)."""
    return rows[rows.label_at_ms < test_from_ms], rows[rows.known_at_ms >= test_from_ms]


def join(parts: Sequence[Rows]) -> Rows:
    """Rows of several markets, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([p.X for p in parts]),
        np.concatenate([p.y for p in parts]),
        np.concatenate([p.known_at_ms for p in parts]),
        np.concatenate([p.label_at_ms for p in parts]),
    )


def check_parts(train: Rows, test: Rows, labels: Labels, markets: Sequence[Candles]) -> None:
    """Raise where nothing can be learned, warn where little can."""
    n = sum(map(len, markets))
    if not len(train) or not len(test):
        raise ValueError(
            f"{n} candles leave {len(train)} rows to train and {len(test)} to test, after the warm-up of the features "
            f"and a horizon of {labels.horizon}; more candles are needed"
        )
    if labels.names:
        shares = np.bincount(train.y, minlength=len(labels.names))
        if (shares > 0).sum() < 2:
            only = labels.names[int(shares.argmax())]
            raise ValueError(f"all {len(train)} training rows are {only} by {labels}: there is nothing to learn")
        if shares.max() > 0.95 * len(train):
            share, name = 100 * shares.max() / len(train), labels.names[int(shares.argmax())]
            warn(f"{share:.1f} % of the training rows are {name} by {labels}: almost nothing is left to learn")
    if min(len(train), len(test)) < FEW_ROWS:
        warn(f"only {len(train)} rows to train and {len(test)} to test: the figures will say little")
    for market in markets:
        if gaps := market.check().gaps:
            missing = sum(gap.missing for gap in gaps)
            name = f"{market.symbol or 'the candles'} {market.interval}"
            warn(f"{name}: {len(gaps)} gap(s), {missing} candles missing; features and labels step over them")


def warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def span_text(span: tuple[int, int]) -> str:
    return f"{utc_text(span[0])} .. {utc_text(span[1])} UTC"
