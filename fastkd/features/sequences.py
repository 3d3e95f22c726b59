"""Rows of features as overlapping windows, for models of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd._check import as_array
from fastkd.features.thresholds import checked_count

__all__ = ["windows"]


def windows(X: ArrayLike, steps: int) -> NDArray[Any]:
    """Each run of `steps` rows, oldest first.

    Window i ends with row ``i + steps - 1`` and is known when that row is: its label is ``y[steps - 1 :][i]``, its time
    ``known_at_ms[steps - 1 :][i]``.

    Parameters
    ----------
    X : array_like, shape (rows, features)
    steps : int
        At least 1.

    Returns
    -------
    numpy.ndarray, shape (rows - steps + 1, steps, features)
        A read-only view, no copy; of length 0 if there are fewer rows than `steps`.

    Examples
    --------
    >>> windows([[1, 10], [2, 20], [3, 30]], 2).tolist()
    [[[1, 10], [2, 20]], [[2, 20], [3, 30]]]
    """
    array, steps = as_array(X, "X"), checked_count(steps, "steps")
    if array.ndim != 2:
        raise ValueError(f"X must be two-dimensional (rows, features); got shape {array.shape}")
    if len(array) < steps:
        return np.empty((0, steps, array.shape[1]), dtype=array.dtype)
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(array, steps, axis=0), -1, 1)
