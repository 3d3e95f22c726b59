"""Splits in time order."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

__all__ = ["time_split"]


def time_split(n: int, *, test_fraction: float = 0.3, purge: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a training part and a later test part of n rows in time order.

    Parameters
    ----------
    n : int
        Number of rows.
    test_fraction : float
        Share of rows, between 0 and 1, that form the test part; rounded to whole rows.
    purge : int
        Rows to leave out just before the test part. A label that looks `horizon` rows ahead needs ``purge=horizon``,
        else the last training labels are computed from test rows.

    Returns
    -------
    train, test : numpy.ndarray of int64

    Raises
    ------
    ValueError
        An argument is out of range, or a part would be empty.

    Examples
    --------
    >>> time_split(10, test_fraction=0.3, purge=1)
    (array([0, 1, 2, 3, 4, 5]), array([7, 8, 9]))
    """
    n, purge = operator.index(n), operator.index(purge)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1; got {test_fraction!r}")
    if purge < 0:
        raise ValueError(f"purge must not be negative; got {purge}")
    n_test = round(n * test_fraction)
    n_train = n - n_test - purge
    if n_test < 1 or n_train < 1:
        sizes = f"{max(n_train, 0)} training and {max(n_test, 0)} test rows"
        raise ValueError(f"n={n}, test_fraction={test_fraction}, purge={purge} leave {sizes}; both need at least 1")
    return np.arange(n_train, dtype=np.int64), np.arange(n - n_test, n, dtype=np.int64)
