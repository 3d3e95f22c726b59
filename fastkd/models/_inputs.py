"""Checks of what callers pass to an estimator: rows, labels, weights and the teacher's signal."""

from typing import Any

import numpy as np

from fastkd._check import as_array, plain, to_array
from fastkd._check import check_names as check_names  # for those who take both from here
from fastkd._check import feature_names as feature_names
from fastkd.models._base import DataConversionWarning, warn_caller

UNLABELLED = -1


class ComplexDataError(TypeError, ValueError):
    """Complex numbers where real ones are needed."""


def as_real_array(data: Any, name: str) -> np.ndarray:
    """`data` as an array of bool, integer or float dtype; of objects, numbers are taken."""
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        raise TypeError(f"{name} is sparse; sparse input is not supported, pass {name}.toarray()")
    try:
        return as_array(data, name)
    except TypeError:
        array = np.asarray(data)
        if array.dtype.kind == "c":
            raise ComplexDataError(f"Complex data not supported: {name} has dtype {array.dtype}") from None
        if array.dtype.kind != "O":
            raise
        return array.astype(np.float64)  # numbers of mixed columns; a TypeError for anything else


def check_rows(X: Any, dtype: np.dtype, *, owner: str, n_features: int | None = None, scaler=None) -> np.ndarray:
    """X as a finite, C-contiguous (n, n_features) array of `dtype`, scaled if there is a scaler."""
    array = as_real_array(X, "X")
    if array.ndim != 2:
        raise ValueError(
            f"Expected a 2D array X of shape (rows, features); got {array.ndim}D array of shape {array.shape}. Reshape "
            "your data with X.reshape(1, -1) if it is one row, or X.reshape(-1, 1) if it is one feature"
        )
    if array.shape[0] == 0:
        raise ValueError(f"X has 0 sample(s) (shape={array.shape}) while a minimum of 1 is required.")
    if array.shape[1] == 0:
        raise ValueError(f"X has 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"X has {array.shape[1]} features, but {owner} is expecting {n_features} features as input")
    with np.errstate(over="ignore"):
        rows = plain(array if scaler is None else scaler.transform(array), dtype)
    if not np.isfinite(rows).all():
        i, j = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"X contains NaN, infinity (inf) or a value too large for {dtype}: X[{i}, {j}] = {array[i, j]}; "
            "drop or fill such rows"
        )
    return rows


def check_windows(
    X: Any, dtype: np.dtype, *, owner: str, shape: tuple[int, ...] | None = None, scaler=None
) -> np.ndarray:
    """X as a finite, C-contiguous (n, steps, features) array of `dtype`, scaled if there is a scaler."""
    array = as_real_array(X, "X")
    if array.ndim != 3:
        raise ValueError(
            f"Expected a 3D array X of shape (rows, steps, features); got {array.ndim}D array of shape {array.shape}. "
            "One window is X[None]; fastkd.features makes windows of rows of features"
        )
    if 0 in array.shape:
        raise ValueError(f"X must hold at least one window, step and feature; got shape {array.shape}")
    if shape is not None and array.shape[1:] != shape:
        raise ValueError(
            f"X has windows of {array.shape[1]} steps and {array.shape[2]} features; {owner} expects {shape[0]} steps "
            f"and {shape[1]} features"
        )
    with np.errstate(over="ignore"):
        rows = plain(array if scaler is None else scaler.transform(array), dtype)
    if not np.isfinite(rows).all():
        i, t, j = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"X contains NaN, infinity (inf) or a value too large for {dtype}: X[{i}, {t}, {j}] = {array[i, t, j]}; "
            "drop or fill such windows"
        )
    return rows


def scaled(rows: np.ndarray, dtype: np.dtype, scaler: Any) -> np.ndarray:
    """Checked rows through a scaler, in the model's dtype; the same numbers as `check_rows` gives with that scaler."""
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(scaler.transform(rows), dtype)
    if not np.isfinite(out).all():
        where = tuple(np.argwhere(~np.isfinite(out))[0].tolist())
        raise ValueError(f"X{list(where)} = {rows[where]} is too large for {dtype} once it is scaled")
    return out


def check_weights(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Weights as float64 (n,), not negative, scaled to a maximum of 1; None stays None."""
    if sample_weight is None:
        return None
    weights = as_real_array(sample_weight, "sample_weight").astype(np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},), one weight a row; got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0.0).any() or not weights.any():
        raise ValueError("sample_weight must be finite, not negative and not all zero")
    return weights / weights.max()


def check_labels(y: Any, n_rows: int) -> np.ndarray:
    """Labels of any sortable kind as (n,)."""
    values = to_array(y, "y")
    if values.dtype.kind == "O":  # text or numbers in a pandas column: let NumPy find their own dtype
        if any(v is None or v != v for v in values.ravel().tolist()):
            raise ValueError("Input y contains NaN or None; mark unlabelled rows by -1, with integer labels")
        values = np.array(values.tolist())
    if values.dtype.kind == "c":
        raise ComplexDataError(f"Complex data not supported: y has dtype {values.dtype}")
    if values.ndim == 2 and values.shape[1] == 1:
        warn_caller(DataConversionWarning("A column-vector y was passed when a 1d array was expected; use y.ravel()"))
        values = values.ravel()
    if values.ndim != 1:
        raise ValueError(f"y should be a 1d array of labels, one a row; got shape {values.shape}")
    if len(values) != n_rows:
        raise ValueError(f"X and y must have the same number of rows; got {n_rows} and {len(values)}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("Input y contains NaN or infinity")
        if (values != np.floor(values)).any():
            raise ValueError("Unknown label type: continuous; y must hold class labels, use MLPRegressor for values")
    return values


def check_teacher_logits(logits: Any, n_rows: int, dtype: np.dtype) -> np.ndarray:
    """Logits (n, C), shifted to a maximum of 0 a row, so that values of any size survive float32; -inf is allowed."""
    z = _per_class(logits, "teacher_logits", n_rows).astype(np.float64)
    top = z.max(axis=1, keepdims=True)
    bad = ~np.isfinite(top[:, 0]) | np.isnan(z).any(axis=1)
    if bad.any():
        raise ValueError(f"teacher_logits must not hold NaN, +inf or a row of only -inf; row {np.argmax(bad)} does")
    with np.errstate(over="ignore"):
        shifted = z - top
    # A quarter of the lowest number stands for -inf: probability 0, and no inf - inf in the loss.
    return plain(np.maximum(shifted, np.finfo(dtype).min / 4), dtype)


def check_soft_labels(soft: Any, n_rows: int, dtype: np.dtype, name: str = "soft_labels") -> np.ndarray:
    """Probabilities (n, C): finite, not negative, rows summing to 1."""
    p = _per_class(soft, name, n_rows)
    if not np.isfinite(p).all() or (p < 0.0).any():
        raise ValueError(f"{name} must be probabilities, finite and not negative; pass logits as teacher_logits")
    sums = p.sum(axis=1, dtype=np.float64)
    if (np.abs(sums - 1.0) > 1e-3).any():
        row = int(np.argmax(np.abs(sums - 1.0)))
        raise ValueError(f"rows of {name} must sum to 1; row {row} sums to {sums[row]:.6g}")
    return plain(p, dtype)


def _per_class(array: Any, name: str, n_rows: int) -> np.ndarray:
    p = as_real_array(array, name)
    if p.ndim != 2 or p.shape[0] != n_rows or p.shape[1] == 0:
        raise ValueError(f"{name} must have shape ({n_rows}, n_classes), one row for each row of X; got {p.shape}")
    return p


def pair(eval_set: Any) -> tuple[Any, Any]:
    try:
        X, y = eval_set
    except (TypeError, ValueError):
        raise ValueError("eval_set must be a pair (X_val, y_val)") from None
    return X, y
