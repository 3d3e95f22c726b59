"""The exact condensation for linear least squares: d + k rows, from one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd._check import as_array
from fastkd.condense.rows import NUMBERS, is_stream


def linear_sketch(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """(rows, values, number of rows seen): every least-squares gradient of the rows is that of all data.

    With [X y] = Q R, the rows of R have the same products, so for every w

    .. math:: \\tilde X^T (\\tilde X w - \\tilde y) = X^T (X w - y),

    the gradient of the sum 0.5 |X w - y|^2. Blocks are folded in one after the other by QR, whose error does not
    grow with the condition of X as that of X^T X would.
    """
    if is_stream(X):
        blocks = iter(X() if callable(X) else X)
    else:
        X = as_array(X, "X")
        y = as_array(y, "y")
        if X.ndim != 2 or 0 in X.shape:
            raise ValueError(f"X must be two-dimensional (rows, features) and not empty; got shape {X.shape}")
        if y.ndim not in (1, 2) or len(y) != len(X):
            raise ValueError(f"y must have one entry a row of X, {len(X)}; got shape {y.shape}")
        size = max(4 * X.shape[1], NUMBERS // X.shape[1])
        blocks = ((X[i : i + size], y[i : i + size]) for i in range(0, len(X), size))
    R: Any = None
    seen, flat, d = 0, True, 0
    for block, values in blocks:
        block, values = np.asarray(block, np.float64), np.asarray(values, np.float64)
        flat, d = values.ndim == 1, block.shape[1]
        Z = np.hstack([block, values.reshape(len(block), -1)])
        if not np.isfinite(Z).all():
            raise ValueError(f"rows {seen} .. {seen + len(Z) - 1} hold NaN or infinity; drop or repair such rows first")
        if R is not None and Z.shape[1] != R.shape[1]:
            raise ValueError(f"a block has {Z.shape[1]} columns of X and y; those before had {R.shape[1]}")
        R = np.linalg.qr(Z if R is None else np.vstack([R, Z]), mode="r")
        seen += len(Z)
    if R is None:
        raise ValueError("the stream holds no rows")
    return np.ascontiguousarray(R[:, :d]), R[:, d].copy() if flat else R[:, d:].copy(), seen
