"""Forecasts as a frame that backtests and strategies take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.forecast.labels import Labels
from fastkd.market.frames import make_frame

__all__ = ["positions", "signal_columns", "signal_frame"]

SIDES = {"UP": 1, "BULL": 1, "DOWN": -1, "BEAR": -1}


def positions(proba: NDArray[Any], names: tuple[str, ...], threshold: float) -> NDArray[np.int64]:
    """1, 0 or -1 for each row: the side of the most probable class, if its probability reaches the threshold."""
    best = proba.argmax(axis=1)
    sides = np.array([SIDES.get(name, 0) for name in names])
    return np.where(proba.max(axis=1) >= threshold, sides[best], 0)


def signal_frame(
    answers: NDArray[Any],
    known_at_ms: NDArray[np.int64],
    close: NDArray[np.float64],
    labels: Labels,
    threshold: float,
    kind: str,
) -> Any:
    """See `Forecaster.signals`."""
    return make_frame(signal_columns(answers, known_at_ms, close, labels, threshold), kind)


def signal_columns(
    answers: NDArray[Any],
    known_at_ms: NDArray[np.int64],
    close: NDArray[np.float64],
    labels: Labels,
    threshold: float,
) -> dict[str, NDArray[Any]]:
    """The columns of `Forecaster.signals`."""
    columns: dict[str, NDArray[Any]] = {
        "known_at": known_at_ms.astype("datetime64[ms]"),
        "known_at_ms": known_at_ms,
        "close": close,
    }
    if labels.names:
        columns |= {f"p_{name}": answers[:, k] for k, name in enumerate(labels.names)}
        columns["forecast"] = np.array(labels.names)[answers.argmax(axis=1)]
        columns["position"] = positions(answers, labels.names, threshold)
    else:
        columns["forecast"] = answers[:, 0]
    return columns
