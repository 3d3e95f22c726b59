"""Kernel inducing points and label solve (Nguyen, Chen and Lee 2021)."""

from __future__ import annotations

import numpy as np

from fastkd._check import as_float, as_positive, plain
from fastkd._core._native import ridge_slopes
from fastkd.condense.course import State, Step, adam, prepare
from fastkd.condense.kernels import B_VARIANCE, W_VARIANCE, ntk_layers, ntk_slope, rbf, rbf_slope
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import as_whole, initial_rows

LEARNING_RATES = (0.04,)


class KernelRidge:
    """Kernel ridge regression on the condensed rows, its ridge scaled by the mean of the kernel's diagonal."""

    def __init__(self, kernel: str, ridge: float, gamma: float):
        if kernel not in ("rbf", "ntk1", "ntk2"):
            raise ValueError(f"kernel must be 'rbf', 'ntk1' or 'ntk2'; got {kernel!r}")
        self.kernel, self.ridge, self.gamma = kernel, ridge, gamma
        self.depth = int(kernel[3:] or 0) if kernel != "rbf" else 0

    def of(self, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, list]:
        """The kernel, and what its slope needs."""
        return (rbf(X, Y, self.gamma), []) if self.kernel == "rbf" else ntk_layers(X, Y, self.depth)

    def slope(self, S: np.ndarray, K: np.ndarray, layers: list, dK: np.ndarray) -> np.ndarray:
        """Derivative by the first argument of sum dK * K(S, S)."""
        return rbf_slope(S, self.gamma, K, dK) if self.kernel == "rbf" else ntk_slope(S, layers, dK)

    def fit(self, S: np.ndarray, a: np.ndarray, X: np.ndarray, target: np.ndarray):
        """Squared error of K(X, S) a, and its derivatives by a and, a held fixed, by S."""
        return ridge_slopes(
            S, a, X, target, depth=self.depth, gamma=self.gamma, weight_variance=W_VARIANCE, bias_variance=B_VARIANCE
        )

    def system(self, S: np.ndarray):
        """K_SS, what its slope needs, and the Cholesky factor of K_SS + ridge tr(K_SS) / n I."""
        from scipy.linalg import cho_factor

        K, layers = self.of(S, S)
        A = K.copy()
        A[np.diag_indices(len(S))] += self.ridge * np.trace(K) / len(S)
        return K, layers, cho_factor(A, lower=True, overwrite_a=True, check_finite=False)

    def predict(self, S: np.ndarray, y: np.ndarray, X: np.ndarray) -> np.ndarray:
        from scipy.linalg import cho_solve

        return self.of(X, S)[0] @ cho_solve(self.system(S)[2], y, check_finite=False)


def kip_loss(ridge: KernelRidge, S: np.ndarray, y: np.ndarray, X: np.ndarray, target: np.ndarray):
    """(loss, dS, dy) of 0.5 mean (K_XS (K_SS + ridge tr(K_SS) / n I)^-1 y - target)^2, mean over rows and outputs."""
    from scipy.linalg import cho_solve

    K, layers, factor = ridge.system(S)
    a = plain(cho_solve(factor, y, check_finite=False))
    loss, da, dS = ridge.fit(S, a, X, target)
    b = cho_solve(factor, da, check_finite=False)  # also the derivative by y
    dK = -(b @ a.T)
    dK[np.diag_indices(len(S))] += ridge.ridge / len(S) * np.trace(dK)
    dS += ridge.slope(S, K, layers, dK + dK.T)  # both arguments move
    return loss, dS, b


def label_solve(ridge: KernelRidge, S: np.ndarray, X: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The labels of the rows S with the smallest squared error on (X, target): linear least squares."""
    from scipy.linalg import cho_solve

    predict = cho_solve(ridge.system(S)[2], ridge.of(S, X)[0], check_finite=False).T
    return np.linalg.lstsq(predict, target, rcond=None)[0]


def kip(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    kernel: str = "ntk1",
    ridge: float = 1e-6,
    gamma: float | None = None,
    batch_size: int = 5000,
    init: str = "real",
    learn_labels: bool = False,
) -> tuple[State, Step, int]:
    """State, step and iterations. Labels are centered one-hot vectors; batches hold the classes in equal parts; in
    float64.

    Parameters
    ----------
    kernel : {"rbf", "ntk1", "ntk2"}
        exp(-gamma |x - y|^2), or the tangent kernel of ReLU networks of one or two hidden layers.
    gamma : float, optional
        By default 1 / (number of features x mean variance of the features).
    """
    batch_size = as_whole(batch_size, "batch_size")
    if not 0 <= as_float(ridge, "ridge") < np.inf:
        raise ValueError(f"ridge must be finite and >= 0; got {ridge!r}")
    gamma = None if gamma is None else as_positive(gamma, "gamma")
    if gamma is None and kernel == "rbf":  # a pass over all rows
        gamma = 1 / max(float((rows.moments()[1] ** 2).sum()), 1e-12)
    model = KernelRidge(kernel, ridge, gamma or 0.0)
    X, y = initial_rows(rows, per_class, init, rng)
    state: State = prepare({"X": X.astype(np.float64), "T": centered(y, rows)}, ("X", "T"), "adam")

    def step(state: State, rng: np.random.Generator) -> float:
        batch, target = target_batch(rows, batch_size, rng)
        loss, dS, dy = kip_loss(model, state["X"], state["T"], batch, target)
        adam(state, "X", dS, learning_rate)
        if learn_labels:
            adam(state, "T", dy, learning_rate)
        return loss

    return state, step, 300


def target_batch(rows: Rows, batch_size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X, y, _ = rows.draw_all(max(1, batch_size // len(rows.index)), rng)
    return X.astype(np.float64), centered(y, rows)


def centered(y: np.ndarray, rows: Rows) -> np.ndarray:
    """One-hot - 1 / C of labels; values as they are."""
    return y.astype(np.float64) if rows.classes is None else (np.eye(rows.n_outputs) - 1 / rows.n_outputs)[y]
