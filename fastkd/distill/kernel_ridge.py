"""Self-distillation of kernel ridge regression, where what it does can be written down."""

from typing import Any

import numpy as np

from fastkd._check import as_real
from fastkd.models._hyperparameters import integer, real


def ridge_rounds(K: Any, y: Any, ridge: float, rounds: int) -> np.ndarray:
    """Fitted values of each generation: kernel ridge regression on what the one before it has fitted.

    f_0 = K (K + ridge I)^-1 y, and f_k = K (K + ridge I)^-1 f_{k-1}: the network's place is taken by a model whose
    training has one exact outcome.

    Parameters
    ----------
    K : (n, n)
        Symmetric positive semi-definite kernel matrix.
    y : (n,) or (n, outputs)
    ridge : float
        > 0.
    rounds : int
        Generations, the first included.

    Returns
    -------
    (rounds, n) or (rounds, n, outputs)

    Examples
    --------
    >>> from fastkd.distill.kernel_ridge import ridge_rounds
    >>> ridge_rounds([[2.0, 0.0], [0.0, 1.0]], [1.0, 1.0], 1.0, 2)[:, 1].tolist()
    [0.5, 0.25]
    """
    K, y = _checked(K, y, ridge, rounds)
    fits, target = [], y
    for _ in range(rounds):
        target = K @ np.linalg.solve(K + ridge * np.eye(len(K)), target)
        fits.append(target)
    return np.stack(fits)


def ridge_closed_form(K: Any, y: Any, ridge: float, rounds: int) -> np.ndarray:
    """The same by the spectrum (Mobahi, Farajtabar and Bartlett 2020): with K = V diag(d) V^T,

    f_k = V diag((d / (d + ridge))^(k + 1)) V^T y. Each round shrinks every direction once more, small d the most: few
    rounds drop the noise in them, many rounds all else too.

    Parameters and result as for `ridge_rounds`.

    Examples
    --------
    >>> from fastkd.distill.kernel_ridge import ridge_closed_form
    >>> ridge_closed_form([[2.0, 0.0], [0.0, 1.0]], [1.0, 1.0], 1.0, 2)[:, 1].round(12).tolist()
    [0.5, 0.25]
    """
    K, y = _checked(K, y, ridge, rounds)
    d, V = np.linalg.eigh(K)
    shrink = np.maximum(d, 0.0) / (np.maximum(d, 0.0) + ridge)
    return np.stack([(V * shrink ** (k + 1)) @ (V.T @ y) for k in range(rounds)])


def _checked(K: Any, y: Any, ridge: float, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    kernel = as_real(K, "K", np.float64)
    values = np.asarray(y, np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not np.allclose(kernel, kernel.T):
        raise ValueError(f"K must be a symmetric (n, n) matrix; got shape {kernel.shape}")
    if values.ndim not in (1, 2) or len(values) != len(kernel):
        raise ValueError(f"y must have {len(kernel)} rows, as K; got shape {values.shape}")
    real("ridge", ridge, low=0.0, low_open=True)
    integer("rounds", rounds, low=1)
    return kernel, values
