"""Predictions as messages: from a model's logits to what is sent, the checks on arrival, and back onto the simplex."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd._check import as_array
from fastkd.losses import softmax

__all__ = ["SPACES", "checked_predictions", "encode", "fill_unknown", "in_range", "quieten", "settle", "sharpen"]

SPACES = ("probability", "logit")
OFF_SIMPLEX = 1e-3  # a row whose entries sum to more or less than 1 by this is no distribution, whatever its precision


def encode(logits: np.ndarray, space: str, temperature: float) -> np.ndarray:
    """What a client says of its logits (m, C): probabilities at the temperature, or logits less their mean."""
    if space == "probability":
        return softmax(logits, temperature)
    return logits - logits.mean(axis=-1, keepdims=True)  # softmax does not see a common shift; a mean of clients does


def in_range(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values as that dtype; what lies beyond it becomes its largest number, not infinity."""
    largest = np.finfo(dtype).max
    return np.clip(values, -largest, largest).astype(dtype)


def checked_predictions(
    values: Any, shape: tuple[int, int], space: str, noisy: bool = False, gaps: bool = False
) -> np.ndarray | str:
    """Predictions as float64 of that shape, or a sentence that says why they cannot be used.

    Logits are centered; probabilities must be distributions, unless they carry noise (`noisy`). `gaps` allows whole
    rows of NaN.
    """
    try:
        array = as_array(values, "predictions")
    except (TypeError, ValueError) as error:
        return str(error)
    if array.shape != shape:
        return f"shape {array.shape} instead of {shape}"
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    known = ~np.isnan(array).all(axis=1) if gaps else np.ones(len(array), bool)
    if not known.any():
        return "no row has a prediction"
    finite = np.isfinite(array[known])
    if not finite.all():
        return f"{int((~finite).sum())} of {array[known].size} values are not finite"
    if space == "probability":
        if noisy:
            return array
        with np.errstate(over="ignore"):
            off = (array[known] < 0).any(axis=1) | (np.abs(array[known].sum(axis=1) - 1.0) > OFF_SIMPLEX)
        if off.any():
            row = int(np.flatnonzero(known)[np.argmax(off)])
            return f"{int(off.sum())} rows are no probabilities (entries >= 0, sum 1), the first is row {row}"
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        array = array - (array / shape[1]).sum(axis=1, keepdims=True)
    return array if np.isfinite(array[known]).all() else "its logits are too large to be compared"


def quieten(tables: np.ndarray, clip: float | str | None) -> np.ndarray:
    """Logits (n, m, C) with rows scaled down to a largest absolute value, so that nobody outshouts the others.

    `clip` is that value, or "median": on each row the median of the clients'. Scaling keeps the order of the classes,
    which cutting off entry by entry would not.
    """
    if clip is None:
        return tables
    loudness = np.abs(tables).max(axis=2)
    bound = np.median(loudness, axis=0) if clip == "median" else float(clip)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scale = np.where(loudness > bound, bound / loudness, 1.0)
    return tables * scale[:, :, None]


def fill_unknown(tables: np.ndarray, space: str) -> np.ndarray:
    """Rows of NaN in (n, m, C) become the median of those who know the row; a row that nobody knows says nothing."""
    known = ~np.isnan(tables[:, :, 0])
    if known.all():
        return tables
    filled = tables.copy()
    nothing = 1.0 / tables.shape[2] if space == "probability" else 0.0
    for row in np.flatnonzero(~known.all(axis=0)):
        knows = known[:, row]
        filled[~knows, row] = np.median(tables[knows, row], axis=0) if knows.any() else nothing
    return filled


def settle(aggregate: np.ndarray, space: str) -> np.ndarray:
    """The aggregate (m, C) of a robust rule as predictions again: on the simplex, or centered."""
    if space == "logit":
        return aggregate - aggregate.mean(axis=1, keepdims=True)
    positive = np.maximum(aggregate, 0.0)
    positive = positive / np.maximum(positive.max(axis=1, keepdims=True), 1.0)  # so that the sum cannot overflow
    total = positive.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0.0, positive / total, 1.0 / aggregate.shape[1])


def sharpen(predictions: np.ndarray, space: str, temperature: float) -> np.ndarray:
    """Probabilities at temperature 1, for models that know no temperature."""
    if space == "logit":
        return softmax(predictions)
    return softmax(temperature * np.log(np.maximum(predictions, 1e-30)))
