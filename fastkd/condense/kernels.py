"""Kernels of kernel inducing points, with their derivatives by the first argument: Gaussian, and NTK of ReLU networks."""

from __future__ import annotations

import numpy as np

from fastkd.condense.centroids import squared_distances

W_VARIANCE, B_VARIANCE = 2.0, 0.01  # of weights and biases: standard deviations sqrt(2) and 0.1, as Nguyen et al. have them


def rbf(X: np.ndarray, Y: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |x - y|^2), (n, m)."""
    D = squared_distances(X, Y)
    D *= -gamma
    return np.exp(D, out=D)


def rbf_slope(X: np.ndarray, Y: np.ndarray, gamma: float, K: np.ndarray, dK: np.ndarray) -> np.ndarray:
    """Derivative by X of sum dK * K(X, Y)."""
    G = dK * K
    return -2 * gamma * (G.sum(axis=1)[:, None] * X - G @ Y)


def ntk(X: np.ndarray, Y: np.ndarray, depth: int) -> np.ndarray:
    """Neural tangent kernel of a ReLU network with `depth` hidden layers (Jacot et al. 2018; Cho and Saul 2009)."""
    return _ntk(X, Y, depth)[0]


def ntk_diagonal(X: np.ndarray, depth: int) -> np.ndarray:
    """ntk(x, x) row by row."""
    q = W_VARIANCE * (X * X).mean(axis=1) + B_VARIANCE
    theta = q.copy()
    for _ in range(depth):
        q, theta = W_VARIANCE * q / 2 + B_VARIANCE, W_VARIANCE * theta / 2
        theta += q
    return theta


def ntk_slope(X: np.ndarray, Y: np.ndarray, depth: int, dK: np.ndarray, same: bool = False) -> np.ndarray:
    """Derivative by X of sum dK * ntk(X, Y), Y held fixed; `same`: Y is X, whose diagonal is treated exactly."""
    _, layers = _ntk(X, Y, depth)
    extra = np.zeros(len(X))
    if same:  # ntk(x, x) is linear in |x|^2; half of its derivative belongs to each argument
        extra = 0.5 * np.diag(dK) * _diagonal_factor(depth)
        dK = dK.copy()
        np.fill_diagonal(dK, 0)
    d_theta, d_s, d_q = dK.copy(), np.zeros_like(dK), np.zeros(len(X))
    for s, q1, q2, theta in reversed(layers):
        # theta' = s' + w k0 theta, s' = w F + b, F = sqrt(q1 q2) (sin t + (pi - t) cos t) / 2 pi, k0 = (pi - t) / 2 pi
        root = np.sqrt(q1[:, None] * q2)
        c = np.clip(s / root, -1, 1)
        angle = np.arccos(c)
        sine = np.maximum(np.sin(angle), 1e-6)
        k0 = (np.pi - angle) / (2 * np.pi)
        d_s = d_s + d_theta
        d_k0 = W_VARIANCE * d_theta * theta
        d_theta = W_VARIANCE * k0 * d_theta
        d_c = d_k0 / (2 * np.pi * sine)
        d_q = W_VARIANCE / 2 * d_q
        d_q += (W_VARIANCE * d_s * (np.sqrt(q2 / q1[:, None]) * sine / (4 * np.pi))).sum(axis=1)
        d_q += (d_c * (-c / (2 * q1[:, None]))).sum(axis=1)
        d_s = W_VARIANCE * d_s * k0 + d_c / root
    d_s = d_s + d_theta
    scale = W_VARIANCE / X.shape[1]
    return scale * (d_s @ Y) + 2 * scale * (d_q + extra)[:, None] * X


def _ntk(X: np.ndarray, Y: np.ndarray, depth: int):
    """The kernel and, per ReLU, (covariance, variance of X, variance of Y, tangent kernel) before it."""
    s = W_VARIANCE * (X @ Y.T) / X.shape[1] + B_VARIANCE
    q1 = W_VARIANCE * (X * X).mean(axis=1) + B_VARIANCE
    q2 = W_VARIANCE * (Y * Y).mean(axis=1) + B_VARIANCE
    theta, layers = s.copy(), []
    for _ in range(depth):
        layers.append((s, q1, q2, theta))
        root = np.sqrt(q1[:, None] * q2)
        c = np.clip(s / root, -1, 1)
        angle = np.arccos(c)
        k0 = (np.pi - angle) / (2 * np.pi)
        F = root * (np.sin(angle) / (2 * np.pi) + k0 * c)
        s = W_VARIANCE * F + B_VARIANCE
        theta = s + W_VARIANCE * k0 * theta
        q1, q2 = W_VARIANCE * q1 / 2 + B_VARIANCE, W_VARIANCE * q2 / 2 + B_VARIANCE
    return theta, layers


def _diagonal_factor(depth: int) -> float:
    """d ntk(x, x) / d q for the first layer's variance q: weights of variance 2 halve by the ReLU, so 1 a layer adds up."""
    s = theta = 1.0
    for _ in range(depth):
        s *= W_VARIANCE / 2
        theta = s + W_VARIANCE / 2 * theta
    return theta
