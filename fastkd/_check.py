"""Checks of arguments, once, with the offending values in the message."""

from __future__ import annotations

import math
import numbers
from typing import Any, NoReturn

import numpy as np

_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def to_array(x: Any, name: str) -> np.ndarray:
    """Anything with __array__, DLPack or columns as a plain ndarray of any type, in this machine's byte order.

    bfloat16 tensors, for which NumPy has no type, become float32; masked entries raise. Of a subclass of ndarray the
    plain array underneath is taken, so that no kernel meets its methods.
    """
    if isinstance(x, np.ndarray):
        if type(x) is not np.ndarray and np.ma.is_masked(x):
            raise ValueError(f"{name} has masked entries, which are no numbers: fill them, as with filled(0.0)")
        a = np.asarray(x)
    elif hasattr(x, "detach") and hasattr(x, "cpu"):  # a torch tensor may require grad or live elsewhere
        x = x.detach().cpu()
        a = np.asarray(x.float() if str(x.dtype) == "torch.bfloat16" else x)
    elif hasattr(x, "to_numpy"):
        a = np.asarray(x.to_numpy())
    elif hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        a = np.from_dlpack(x)
    else:
        try:
            a = np.asarray(x)
        except ValueError as error:  # ragged lists
            raise ValueError(f"{name} must be a rectangular array: {error}") from None
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def as_array(x: Any, name: str) -> np.ndarray:
    """`to_array` of real numbers: objects, strings and complex raise."""
    a = to_array(x, name)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got dtype {a.dtype}: convert it, as with astype(float)")
    return a


def as_real(x: Any, name: str, dtype: Any = None) -> np.ndarray:
    """A C-contiguous, aligned float32 or float64 array.

    Float32 stays, every other real type becomes float64 (or all become `dtype`); what that cannot hold becomes inf.
    """
    a = as_array(x, name)
    if dtype is None:
        dtype = a.dtype if a.dtype in _REAL else np.float64
    dtype = np.dtype(dtype)
    if a.dtype.itemsize <= dtype.itemsize:
        return plain(a, dtype)
    with np.errstate(over="ignore"):
        return plain(a, dtype)


def plain(a: Any, dtype: Any = None) -> np.ndarray:
    """`a` itself or a copy as kernels want it: of that dtype, C-contiguous, aligned (a field of records is not)."""
    return np.require(a, dtype, ["C", "A", "E"])


def feature_names(X: Any) -> np.ndarray | None:
    """Column names of a DataFrame, or of a row taken from one, if all are strings, else None."""
    columns = getattr(X, "columns", None)
    if columns is None and getattr(X, "ndim", None) == 1:
        columns = getattr(X, "index", None)  # a Series
    if columns is None or callable(columns) or not all(isinstance(c, str) for c in columns):
        return None
    return np.array(list(columns), object)


def check_names(names: np.ndarray | None, fitted: np.ndarray | None) -> None:
    """A DataFrame's columns must be those of `fit`, in the same order."""
    if names is None or fitted is None or list(names) == list(fitted):
        return
    unseen = [n for n in names if n not in set(fitted)]
    missing = [n for n in fitted if n not in set(names)]
    detail = f"unseen: {unseen}, missing: {missing}" if unseen or missing else "they are the same but in another order"
    raise ValueError(f"The feature names should match those that were passed during fit; {detail}")


def as_matrix(X: Any, name: str = "X", dtype: Any = None, n_features: int | None = None) -> np.ndarray:
    """A C-contiguous (rows, features) array of reals, with at least one feature."""
    a = as_real(X, name, dtype)
    if a.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (rows, features); got shape {a.shape}")
    if n_features is not None and a.shape[1] != n_features:
        raise ValueError(f"{name} has {a.shape[1]} features; expected {n_features}")
    return a


def as_teacher(x: Any, student: np.ndarray, name: str) -> np.ndarray:
    """Teacher's logits or probabilities with the dtype and shape of the student's logits."""
    a = as_array(x, name)
    if a.shape != student.shape:
        raise ValueError(f"{name} must have the shape {student.shape} of the student's logits; got {a.shape}")
    if name == "teacher_logits" and a.dtype.itemsize > student.dtype.itemsize:
        # float32 need not reach as far as float64: shifted, what is too low has probability 0 anyway
        top = a.max(axis=-1, keepdims=True)
        shift = np.where(np.isfinite(top), top, 0)
        excluded = np.isneginf(a)
        with np.errstate(over="ignore"):
            a = a - shift
        a = np.where(excluded, a, np.maximum(a, np.finfo(student.dtype).min))
    return as_real(a, name, student.dtype)


def as_labels(labels: Any) -> np.ndarray:
    """Class labels as int64; whole floats are taken, others raise."""
    a = as_array(labels, "labels")
    if a.dtype.kind == "f":
        whole = a == np.floor(a)
        if not whole.all():
            raise ValueError(f"labels must be whole numbers; got {a[~whole].flat[0]!r}")
    if a.size and not (a.min() >= -(2**31) and a.max() < 2**31):
        raise ValueError(f"labels must be small integers; got {a.min()} .. {a.max()}")
    return plain(a, np.int64)


def raise_label_range(labels: np.ndarray, n_classes: int, unlabelled: bool) -> NoReturn:
    low = -1 if unlabelled else 0
    row = int(np.flatnonzero((labels < low) | (labels >= n_classes))[0])
    also = " (or -1 for an unlabelled row)" if unlabelled else ""
    raise ValueError(f"labels must be in 0 .. {n_classes - 1}{also}; got {labels[row]} in row {row}")


def as_weights(weights: Any, n: int, dtype: Any) -> tuple[np.ndarray, float]:
    """Sample weights (n,), scaled to a maximum of 1, and their sum: finite, not negative, not all zero."""
    w = as_real(weights, "sample_weight", np.float64)
    if w.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},); got {w.shape}")
    if not ((w >= 0) & (w < math.inf)).all() or not w.any():
        raise ValueError("sample_weight must be finite, >= 0 and not all zero")
    w = (w / w.max()).astype(dtype)  # of any size: only ratios count
    return w, float(w.sum(dtype=np.float64))


def require_out(out: Any, shape: tuple[int, ...], dtype: np.dtype, name: str = "out") -> None:
    """`out` is an array that a kernel can write: shape, dtype, layout."""
    array = isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray)
    if not array or out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise_out(out, shape, dtype, name)


def raise_out(out: Any, shape: tuple[int, ...], dtype: np.dtype, name: str) -> NoReturn:
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"{name} must be a {dtype} array of shape {shape}; got {got}")
    if isinstance(out, np.ma.MaskedArray):
        raise ValueError(f"{name} must be an array without a mask; give its .data")
    raise ValueError(f"{name} must be C-contiguous, aligned and writeable")


def raise_bad_row(name: str, row: int, shape: tuple[int, ...]) -> NoReturn:
    where = row if len(shape) <= 2 else tuple(int(i) for i in np.unravel_index(row, shape[:-1]))
    raise ValueError(f"{name} row {where} has no softmax: it holds NaN or +inf, or nothing but -inf")


def require_softmax(name: str, logits: np.ndarray) -> None:
    """Every row has a softmax: no NaN, no +inf, not only -inf."""
    bad = ~np.isfinite(logits.max(axis=-1)).ravel()  # the maximum of a row with NaN is NaN
    if bad.any():
        raise_bad_row(name, int(np.argmax(bad)), logits.shape)


def require_distributions(p: np.ndarray, name: str) -> None:
    """Rows of finite, non-negative numbers that sum to 1 (within 1e-3: stored as float16 they are no better)."""
    rows = p.reshape(-1, p.shape[-1])
    low = rows.min(axis=1)
    bad = ~((low >= 0) & (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) <= 1e-3))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name} row {row} is not a probability distribution: {rows[row][:8]} (entries >= 0, sum 1)")


def as_float(x: Any, name: str) -> float:
    if (
        type(x) is float
        or isinstance(x, numbers.Real)
        or (isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in "fiu")
    ):
        return float(x)
    raise TypeError(f"{name} must be a real number; got {x!r}")


def as_positive(x: Any, name: str) -> float:
    value = as_float(x, name)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and > 0; got {x!r}")
    return value


def as_fraction(x: Any, name: str) -> float:
    value = as_float(x, name)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1]; got {x!r}")
    return value


def as_rng(random_state: Any) -> np.random.Generator:
    """A generator from None (fresh entropy), an int, a Generator or a legacy RandomState (which seeds a new one)."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(0, 2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or isinstance(random_state, numbers.Integral):
        return np.random.default_rng(None if random_state is None else int(random_state))
    raise TypeError(f"random_state must be None, an int or a numpy Generator; got {random_state!r}")
