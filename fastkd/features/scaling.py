"""Scalers of feature columns: fit them on the training part only, then transform every part."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd._check import plain, to_array

__all__ = ["MedianScaler", "MinMaxScaler01", "Standardizer"]

Array = NDArray[Any]


class _ColumnScaler:
    """(X - offset) / scale along the last axis; subclasses say what offset and scale are."""

    n_features_in_: int
    scale_: NDArray[np.float64]
    _offset_name: str

    @property
    def offset_(self) -> NDArray[np.float64]:
        """What is subtracted from each column: mean, minimum or median of the training rows."""
        return getattr(self, self._offset_name)

    @classmethod
    def from_numbers(cls, offset: ArrayLike, scale: ArrayLike) -> Self:
        """A fitted scaler from `offset_` and `scale_`, as they were saved.

        Raises
        ------
        ValueError
            Shapes differ, or a number is not finite, or a scale is not positive.
        """
        offsets, scales = np.array(offset, dtype=np.float64), np.array(scale, dtype=np.float64)
        good = offsets.ndim == 1 and offsets.shape == scales.shape and np.isfinite(offsets).all()
        if not (good and np.isfinite(scales).all() and (scales > 0).all()):
            raise ValueError(f"expected one finite offset and one positive scale a column; got {offset!r}, {scale!r}")
        scaler = cls()
        scaler.n_features_in_, scaler.scale_ = len(scales), scales
        setattr(scaler, cls._offset_name, offsets)
        return scaler

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn offset and scale of each column from training rows.

        Parameters
        ----------
        X : array_like, shape (rows, n_features) or (rows, steps, n_features)
            At least one row, all values finite.
        y : ignored

        Raises
        ------
        ValueError
            No rows, or a value that is not finite.
        """
        values = plain(_as_real(X), np.float64)
        columns = values.reshape(-1, values.shape[-1])
        if columns.size == 0:
            raise ValueError(f"cannot fit on an empty array; got shape {values.shape}")
        finite = np.isfinite(columns)
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            message = f"training values must be finite; row {row}, column {column} is {columns[row, column]}"
            raise ValueError(message)
        self.n_features_in_ = columns.shape[1]
        self._learn(columns)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Scaled copy of X; float32 in gives float32 out. NaN stays NaN."""
        values = self._checked(X)
        scaled = (values.astype(np.float64, copy=False) - self.offset_) / self.scale_
        return scaled.astype(values.dtype, copy=False)

    def fit_transform(self, X: ArrayLike, y: object = None) -> Array:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X).transform(X)

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Undo `transform`, up to rounding."""
        values = self._checked(X)
        original = values.astype(np.float64, copy=False) * self.scale_ + self.offset_
        return original.astype(values.dtype, copy=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments; there are none."""
        return {}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments; there are none."""
        if params:
            raise ValueError(f"{type(self).__name__} has no parameters; got {', '.join(params)}")
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _learn(self, columns: NDArray[np.float64]) -> None:
        raise NotImplementedError

    def _checked(self, X: ArrayLike) -> Array:
        if not hasattr(self, "scale_"):
            raise ValueError(f"this {type(self).__name__} is not fitted; call fit with the training rows first")
        values = _as_real(X)
        if values.shape[-1] != self.n_features_in_:
            raise ValueError(f"fitted on {self.n_features_in_} columns; got shape {values.shape}")
        return values


class Standardizer(_ColumnScaler):
    """Zero mean and unit variance: (X - mean) / standard deviation of the training rows.

    Attributes
    ----------
    mean_, scale_ : numpy.ndarray, shape (n_features,), float64
        `scale_` is the population standard deviation (divisor n); 1 for a column that is constant.

    Examples
    --------
    >>> scaler = Standardizer().fit([[1.0, 5.0], [3.0, 5.0]])
    >>> scaler.transform([[5.0, 5.0]])
    array([[3., 0.]])
    """

    mean_: NDArray[np.float64]
    _offset_name = "mean_"

    def _learn(self, columns: NDArray[np.float64]) -> None:
        first = columns[0]
        mean = columns.mean(axis=0)
        constant = (columns == first).all(axis=0)  # not by the deviation: rounding of the mean may leave one
        self.mean_ = np.where(constant, first, mean)
        self.scale_ = _usable(columns.std(axis=0), constant)


class MinMaxScaler01(_ColumnScaler):
    """Training minimum to 0, training maximum to 1: (X - min) / (max - min).

    Later rows outside the training range leave [0, 1]; they are not clipped.

    Attributes
    ----------
    min_, scale_ : numpy.ndarray, shape (n_features,), float64
        Minimum and range of the training rows; the range of a constant column counts as 1.

    Examples
    --------
    >>> scaler = MinMaxScaler01().fit([[1.0, 5.0], [3.0, 5.0]])
    >>> scaler.transform([[2.0, 5.0], [4.0, 5.0]])
    array([[0.5, 0. ],
           [1.5, 0. ]])
    """

    min_: NDArray[np.float64]
    _offset_name = "min_"

    def _learn(self, columns: NDArray[np.float64]) -> None:
        self.min_ = columns.min(axis=0)
        span = columns.max(axis=0) - self.min_
        self.scale_ = _usable(span, span == 0)


class MedianScaler(_ColumnScaler):
    """Median to 0, interquartile range to 1: (X - median) / (75 % quantile - 25 % quantile) of the training rows.

    A few wild rows move it little, which they do with mean and variance.

    Attributes
    ----------
    center_, scale_ : numpy.ndarray, shape (n_features,), float64
        Median and interquartile range (linear interpolation); the range counts as 1 where it is 0.

    Examples
    --------
    >>> MedianScaler().fit_transform([[1.0], [2.0], [3.0], [4.0], [1000.0]]).ravel()
    array([ -1. ,  -0.5,   0. ,   0.5, 498.5])
    """

    center_: NDArray[np.float64]
    _offset_name = "center_"

    def _learn(self, columns: NDArray[np.float64]) -> None:
        low, self.center_, high = np.quantile(columns, [0.25, 0.5, 0.75], axis=0)
        self.scale_ = _usable(high - low, high == low)


SCALERS: dict[str, type[_ColumnScaler]] = {"standard": Standardizer, "minmax": MinMaxScaler01, "robust": MedianScaler}


def _usable(scale: NDArray[np.float64], constant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scale with 1 for constant columns; also for spreads so small that dividing by them overflows."""
    return np.where(constant | (scale < np.finfo(np.float64).tiny), 1.0, scale)


def _as_real(X: ArrayLike) -> Array:
    values = to_array(X, "X")
    if values.dtype.kind not in "iufb":
        raise TypeError(f"expected an array of real numbers; got dtype {values.dtype}")
    if values.ndim < 2:
        raise ValueError(f"expected shape (rows, features) or (rows, steps, features); got {values.shape}")
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
