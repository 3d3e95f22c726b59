"""The R operator for fastkd's own models."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd._check import as_matrix, as_real, to_array
from fastkd._core._native import Targets, r_operator
from fastkd.models import MLPClassifier, MLPRegressor
from fastkd.models._labels import encode_labels


def mlp_r_operator(model: Any, X: Any, y: Any, V: Any) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Loss, gradient, Hessian-vector product, and the gradient of <V, grad> with respect to the rows.

    With L the mean loss over the rows at the model's weights: cross-entropy of labels or soft labels for a
    classifier, 0.5 |f - y|^2 for a regressor, without the l2 term. Pearlmutter's R operator (1994) gives in one pass

    .. math:: L, \\quad g = \\nabla_\\theta L, \\quad H V = \\nabla_\\theta^2 L \\, V, \\quad \\nabla_X \\langle V, g
    \\rangle .

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        With weights (fitted or initialized).
    X : (n, n_features)
        Features, scaled as for `fit`.
    y : (n,) labels, or (n, n_outputs) soft labels or values
    V : (n_parameters,)
        A direction in the space of `model.parameters`.

    Returns
    -------
    loss : float
    grad, hv : (n_parameters,)
    dX : (n, n_features)

    Raises
    ------
    ValueError
        If shapes do not fit, something is not finite, or the loss has no second derivative (a quantile).

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import MLPClassifier
    >>> model = MLPClassifier(hidden=(8,), activation="tanh", random_state=0).initialize(3, 2)
    >>> X, V = np.eye(3), np.ones(model.n_parameters)
    >>> loss, grad, hv, dX = mlp_r_operator(model, X, [0, 1, 1], V)
    >>> grad.shape, hv.shape, dX.shape
    ((50,), (50,), (3, 3))
    """
    if not isinstance(model, MLPClassifier | MLPRegressor):
        raise TypeError(f"model must be an MLPClassifier or MLPRegressor; got {type(model).__name__}")
    params = model.parameters
    kernel = model._kernel
    rows = as_matrix(X, "X", kernel.dtype, kernel.sizes[0])
    v = as_real(V, "V", kernel.dtype)
    if v.shape != params.shape:
        raise ValueError(f"V must have shape {params.shape}, as model.parameters; got {v.shape}")
    for name, a in (("X", rows), ("V", v)):
        if not np.isfinite(a).all():
            raise ValueError(f"{name} holds NaN or infinity")
    n, outputs = len(rows), kernel.sizes[-1]
    if isinstance(model, MLPRegressor):
        values = as_real(y, "y", kernel.dtype).reshape(-1, outputs)
        targets = Targets(n, kernel.dtype, values=_require_rows(values, n), quantile=model._quantile())
    elif np.ndim(y) == 2:
        soft = _require_rows(as_matrix(y, "y", kernel.dtype, outputs), n)
        targets = Targets(n, kernel.dtype, soft=soft, kd_weight=1.0)
    else:
        labels = encode_labels(_require_rows(to_array(y, "y"), n), model.classes_).astype(np.int32)
        targets = Targets(n, kernel.dtype, labels=labels)
    return r_operator(kernel, params, v, rows, targets)[:4]


def _require_rows(y: np.ndarray, n: int) -> np.ndarray:
    if len(y) != n:
        raise ValueError(f"y has {len(y)} rows; X has {n}")
    if not np.isfinite(y).all():
        raise ValueError("y must be finite")
    return y
