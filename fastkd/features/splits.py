"""Splits in time order."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sized
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["WalkForward", "time_split", "walk_forward"]

Split: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


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


class WalkForward:
    """Training parts that end before their test parts, fold after fold; scikit-learn takes it as ``cv=``.

    The test parts are the last rows, cut into `folds` equal runs. Before each one `purge` + `embargo` rows are left
    out, and training takes what comes before: all of it, or the last `train_size` rows if `rolling`::

        expanding   TTTTTT..EEE              rolling   TTTTTT..EEE
                    TTTTTTTTT..EEE                        TTTTTT..EEE
                    TTTTTTTTTTTT..EEE                        TTTTTT..EEE

    Parameters
    ----------
    folds : int
        At least 1.
    purge : int
        Rows whose labels reach into the test part: a label that looks `horizon` rows ahead needs ``purge=horizon``.
    embargo : int
        Further rows to leave out, because neighbors are alike even where labels do not overlap.
    train_size : int, optional
        Rows of the first training part; by default as many as make the first training part, with what is left out,
        about as long as a test part.
    rolling : bool
        Keep training parts at the length of the first one, so that old rows drop out.

    Examples
    --------
    >>> for train, test in WalkForward(2, purge=1, embargo=1).split(range(12)):
    ...     print(train, test)
    [0 1] [4 5 6 7]
    [0 1 2 3 4 5] [ 8  9 10 11]
    """

    def __init__(
        self,
        folds: int = 5,
        *,
        purge: int = 0,
        embargo: int = 0,
        train_size: int | None = None,
        rolling: bool = False,
    ) -> None:
        self.folds, self.purge, self.embargo = operator.index(folds), operator.index(purge), operator.index(embargo)
        self.train_size = None if train_size is None else operator.index(train_size)
        self.rolling = rolling
        if self.folds < 1:
            raise ValueError(f"folds must be at least 1; got {folds}")
        for name, rows in (("purge", self.purge), ("embargo", self.embargo)):
            if rows < 0:
                raise ValueError(f"{name} must not be negative; got {rows}")
        if self.train_size is not None and self.train_size < 1:
            raise ValueError(f"train_size must be at least 1; got {train_size}")

    def split(self, X: Sized, y: object = None, groups: object = None) -> Iterator[Split]:
        """Yield (train, test), index arrays, for the rows of X in time order; y and groups are not looked at."""
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        gap = self.purge + self.embargo
        if self.train_size is None:
            test_size = n // (self.folds + 1)
        else:
            test_size = (n - gap - self.train_size) // self.folds
        first = n - self.folds * test_size - gap  # the rows that do not divide evenly go to training
        if test_size < 1 or first < 1:
            said = f"purge={self.purge}, embargo={self.embargo}, train_size={self.train_size}"
            raise ValueError(f"{n} rows are too few for {self.folds} folds with {said}; use fewer folds or more rows")
        return self._parts(n, test_size, first, gap)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of folds."""
        return self.folds

    def __repr__(self) -> str:
        names = ("purge", "embargo", "train_size", "rolling")
        return f"WalkForward({self.folds}, {', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def _parts(self, n: int, test_size: int, first: int, gap: int) -> Iterator[Split]:
        for start in range(n - self.folds * test_size, n, test_size):
            begin = start - gap - first if self.rolling else 0
            yield np.arange(begin, start - gap, dtype=np.int64), np.arange(start, start + test_size, dtype=np.int64)


def walk_forward(
    n: int,
    folds: int = 5,
    *,
    purge: int = 0,
    embargo: int = 0,
    train_size: int | None = None,
    rolling: bool = False,
) -> Iterator[Split]:
    """Yield (train, test), index arrays of n rows in time order; see `WalkForward` for the parameters.

    Raises
    ------
    ValueError
        An argument is out of range, or a part would be empty.

    Examples
    --------
    >>> list(walk_forward(9, 2, purge=1))
    [(array([0, 1]), array([3, 4, 5])), (array([0, 1, 2, 3, 4]), array([6, 7, 8]))]
    """
    splitter = WalkForward(folds, purge=purge, embargo=embargo, train_size=train_size, rolling=rolling)
    return splitter.split(range(max(operator.index(n), 0)))
