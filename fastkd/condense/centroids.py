"""k-means centroids: the simplest condensation, and the one to beat."""

from __future__ import annotations

import numpy as np


def squared_distances(X: np.ndarray, C: np.ndarray) -> np.ndarray:
    """|x_i - c_j|^2 after centering, which keeps a large common offset from cancelling; (n, k)."""
    mean = C.mean(axis=0)
    X, C = X - mean, C - mean
    return np.maximum((X * X).sum(1)[:, None] + (C * C).sum(1) - 2 * X @ C.T, 0)


def k_means(X: np.ndarray, k: int, rng: np.random.Generator, *, iterations: int = 50) -> np.ndarray:
    """k centroids: k-means++ starts (Arthur and Vassilvitskii 2007), then Lloyd's iteration (1982).

    An empty cluster takes the row farthest from its centroid.
    """
    if k == 1:
        return X.mean(axis=0, keepdims=True, dtype=np.float64).astype(X.dtype)
    C = np.empty((k, X.shape[1]), X.dtype)
    C[0] = X[rng.integers(len(X))]
    nearest = squared_distances(X, C[:1])[:, 0]
    for j in range(1, k):
        total = nearest.sum()
        C[j] = X[rng.choice(len(X), p=nearest / total) if total > 0 else rng.integers(len(X))]
        np.minimum(nearest, squared_distances(X, C[j : j + 1])[:, 0], out=nearest)
    for _ in range(iterations):
        D = squared_distances(X, C)
        label = D.argmin(axis=1)
        order = np.argsort(label, kind="stable")
        sizes = np.bincount(label, minlength=k)
        new = C.copy()
        full = np.flatnonzero(sizes)
        starts = (np.cumsum(sizes) - sizes)[full]
        sums = np.add.reduceat(X[order].astype(np.float64), starts, axis=0)
        new[full] = sums / sizes[full, None]
        far = np.argsort(-D[np.arange(len(X)), label], kind="stable")
        empty = np.flatnonzero(sizes == 0)
        new[empty] = X[far[: len(empty)]]
        if np.array_equal(new, C):
            break
        C = new
    return C
