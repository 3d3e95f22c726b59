"""Temperature scaling: one number that makes probabilities honest, without changing any answer."""

from typing import Any

import numpy as np

from fastkd._check import as_real
from fastkd.evaluation.metrics import _as_classes
from fastkd.losses import softmax

COLDEST, HOTTEST = 1e-3, 1e3


def fit_temperature(logits: Any, y: Any) -> float:
    """T > 0 that minimizes the log-loss of softmax(logits / T) (Guo et al. 2017), within [0.001, 1000].

    In 1 / T the log-loss is convex; T is found by bisection on its slope, mean(E_p[z] - z_y).

    Parameters
    ----------
    logits : (n, n_classes)
        Of rows the model was not trained on: on its training rows a model always looks too good.
    y : (n,)
        Classes 0 .. n_classes - 1.

    Returns
    -------
    float
        Above 1 if the model was too sure. 0.001 if every answer is right (more certainty is better without end).

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.evaluation import fit_temperature
    >>> y = np.array([0] * 75 + [1] * 25)
    >>> round(fit_temperature(np.tile([10.0, 0.0], (100, 1)), y), 3)  # says 1 - 5e-5, is right in 3 of 4 rows
    9.102
    """
    z = as_real(logits, "logits", np.float64)
    if z.ndim != 2 or len(z) == 0 or z.shape[1] < 2 or not np.isfinite(z).all():
        raise ValueError(f"logits must be finite, (rows, classes) with at least 1 row and 2 classes; got {z.shape}")
    true = _as_classes(y, "y", z.shape[1], rows=len(z))
    z = z - z.max(axis=1, keepdims=True)
    own = z[np.arange(len(z)), true]

    def slope(log_t: float) -> float:
        p = softmax(z, float(np.exp(log_t)))
        return float(((p * z).sum(axis=1) - own).mean())

    low, high = float(np.log(COLDEST)), float(np.log(HOTTEST))
    for _ in range(60):
        middle = 0.5 * (low + high)
        if slope(middle) > 0.0:  # the log-loss grows with 1 / T: too cold
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))
