"""Kernels of kernel inducing points and their derivatives on one set of rows: Gaussian, NTK of ReLU networks."""

from __future__ import annotations

import numpy as np

from fastkd.condense.centroids import squared_distances

W_VARIANCE, B_VARIANCE = (
    2.0,
    0.01,
)  # of weights and biases: standard deviations sqrt(2) and 0.1, as Nguyen et al. have them


def rbf(X: np.ndarray, Y: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |x - y|^2), (n, m)."""
    D = squared_distances(X, Y)
    D *= -gamma
    return np.exp(D, out=D)


def rbf_slope(S: np.ndarray, gamma: float, K: np.ndarray, dK: np.ndarray) -> np.ndarray:
    """Derivative by the first argument of sum dK * K(S, S)."""
    G = dK * K
    return -2 * gamma * (G.sum(axis=1)[:, None] * S - G @ S)


def ntk(X: np.ndarray, Y: np.ndarray, depth: int) -> np.ndarray:
    """Neural tangent kernel of a ReLU network with `depth` hidden layers (Jacot et al. 2018; Cho and Saul 2009)."""
    return ntk_layers(X, Y, depth)[0]


def ntk_diagonal(X: np.ndarray, depth: int) -> np.ndarray:
    """ntk(x, x) row by row."""
    q = W_VARIANCE * (X * X).mean(axis=1) + B_VARIANCE
    theta = q.copy()
    for _ in range(depth):
        q, theta = W_VARIANCE * q / 2 + B_VARIANCE, W_VARIANCE * theta / 2
        theta += q
    return theta


def ntk_slope(S: np.ndarray, layers: list, dK: np.ndarray) -> np.ndarray:
    """Derivative by the first argument of sum dK * ntk(S, S); `layers` from `ntk_layers`.

    ntk(s, s) is linear in |s|^2, and half of its derivative belongs to each argument.
    """
    extra = 0.5 * np.diag(dK) * _diagonal_factor(len(layers))
    d_theta = dK.copy()
    np.fill_diagonal(d_theta, 0)
    d_s, d_q = np.zeros_like(dK), np.zeros(len(S))
    for root, c, sine, k0, q1, q2, theta in reversed(layers):
        # s' = w root (sine / 2 pi + k0 c) + b, k0 = (pi - arccos c) / 2 pi, theta' = s' + w k0 theta
        d_s += d_theta
        d_c = d_theta * theta
        d_c *= W_VARIANCE / (2 * np.pi)
        d_c /= np.maximum(sine, 1e-6)
        d_theta *= k0
        d_theta *= W_VARIANCE
        d_q *= W_VARIANCE / 2
        d_q += W_VARIANCE / (4 * np.pi) * ((d_s * sine) @ np.sqrt(q2)) / np.sqrt(q1)
        d_q -= (d_c * c).sum(axis=1) / (2 * q1)
        d_s *= k0
        d_s *= W_VARIANCE
        d_s += d_c / root
    d_s += d_theta
    scale = W_VARIANCE / S.shape[1]
    return scale * (d_s @ S) + 2 * scale * (d_q + extra)[:, None] * S


def ntk_layers(X: np.ndarray, Y: np.ndarray, depth: int) -> tuple[np.ndarray, list]:
    """The kernel and, per ReLU, root of the variances' product, cosine, sine, k0, both variances, kernel before it."""
    s = W_VARIANCE * (X @ Y.T) / X.shape[1] + B_VARIANCE
    q1 = W_VARIANCE * (X * X).mean(axis=1) + B_VARIANCE
    q2 = W_VARIANCE * (Y * Y).mean(axis=1) + B_VARIANCE
    theta, layers = s, []
    for _ in range(depth):
        root = np.sqrt(q1)[:, None] * np.sqrt(q2)
        c = np.clip(s / root, -1, 1)
        if X is Y:
            np.fill_diagonal(c, 1)  # rounding 1 down to 1 - 1e-16 would turn the angle from 0 to 1e-8
        sine = np.sqrt(1 - c * c)
        k0 = (np.pi - np.arccos(c)) / (2 * np.pi)
        layers.append((root, c, sine, k0, q1, q2, theta))
        s = W_VARIANCE * root * (sine / (2 * np.pi) + k0 * c) + B_VARIANCE
        theta = s + W_VARIANCE * k0 * theta
        q1, q2 = W_VARIANCE * q1 / 2 + B_VARIANCE, W_VARIANCE * q2 / 2 + B_VARIANCE
    return theta, layers


def _diagonal_factor(depth: int) -> float:
    """d ntk(x, x) / d q for the first layer's variance q; each layer adds 1, since the ReLU halves a variance of 2."""
    s = theta = 1.0
    for _ in range(depth):
        s *= W_VARIANCE / 2
        theta = s + W_VARIANCE / 2 * theta
    return theta
