"""Features inside a network, and their derivatives with respect to its input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastkd._core._native import MLPKernel

SQRT_HALF = 0.7071067811865476


def features(params: np.ndarray, sizes: tuple[int, ...], activation: str, X: np.ndarray):
    """[(features, slope of the activation), ...] of the hidden layers; of the outputs if there is none."""
    layers = _layers(params, sizes)
    passed = []
    h = X
    for W, b in layers[: max(1, len(layers) - 1)]:
        h = h @ W
        h += b
        slope = None
        if len(layers) > 1:
            h, slope = _activate(activation, h)
        passed.append((h, slope))
    return passed


def last_features(lower: MLPKernel, params: np.ndarray, X: np.ndarray) -> np.ndarray:
    """The last hidden features alone, from the kernel of the layers up to them."""
    h = lower.forward(params[: lower.n_parameters], X)
    return np.maximum(h, 0, out=h) if lower.activation == "relu" else _activate(lower.activation, h)[0]


def pull_back(params: np.ndarray, sizes: tuple[int, ...], passed: list, slopes: list) -> np.ndarray:
    """Derivative by X of sum_l <slopes_l, features_l>; a slope of None is 0."""
    layers = _layers(params, sizes)
    d: np.ndarray | None = None
    for k in reversed(range(len(passed))):
        if slopes[k] is not None:
            d = slopes[k] if d is None else d + slopes[k]
        assert d is not None
        if passed[k][1] is not None:
            d = d * passed[k][1]
        d = d @ layers[k][0].T
    assert d is not None
    return d


def group_means(h: np.ndarray, counts: list[int]) -> np.ndarray:
    """Means of consecutive groups of rows."""
    n = counts[0]
    if counts.count(n) == len(counts):  # a product of matrices is faster than a sum along an axis
        return (np.full((1, n), 1 / n, h.dtype) @ h.reshape(len(counts), n, -1))[:, 0]
    starts = np.cumsum([0, *counts[:-1]])
    return np.add.reduceat(h, starts, axis=0) / np.array(counts, h.dtype)[:, None]


def _layers(params: np.ndarray, sizes: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views (W, b) of the layers of a flat vector."""
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        end = at + n_in * n_out
        layers.append((params[at:end].reshape(n_in, n_out), params[end : end + n_out]))
        at = end + n_out
    return layers


def _activate(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if name == "relu":
        h = np.maximum(z, 0)
        return h, h > 0
    if name == "tanh":
        h = np.tanh(z)
        return h, 1 - h * h
    if name == "gelu":
        from scipy.special import erf

        cdf = 0.5 * (1 + erf(z * SQRT_HALF))
        return z * cdf, cdf + z * np.exp(-0.5 * z * z) * z.dtype.type(0.3989422804014327)
    return z, np.ones_like(z)
