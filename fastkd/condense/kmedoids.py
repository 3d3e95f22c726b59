"""k-medoids: rows of the data with the smallest sum of distances to their nearest one."""

from __future__ import annotations

import numpy as np


def k_medoids(X: np.ndarray, k: int, rng: np.random.Generator, *, sweeps: int = 20) -> np.ndarray:
    """Numbers of the k medoids, by FasterPAM's eager swaps (Schubert and Rousseeuw 2021) from a k-means++ start.

    For a candidate row, all k swaps are weighed in one pass over its distances to the n rows. These are computed when
    needed, so memory is O(n k) and no n x n matrix exists; a sweep costs O(n^2 (k + d)).
    """
    n = len(X)
    if k >= n:
        return np.arange(n)
    X = np.asarray(X, np.float64)
    medoids = _start(X, k, rng)
    D = _distances(X, X[medoids])
    order = rng.permutation(n)
    fruitless = 0
    state = _nearest(D)
    for _ in range(sweeps):
        for candidate in order:
            if candidate in medoids:
                fruitless += 1
            else:
                d = _distances(X, X[candidate : candidate + 1])[:, 0]
                change, out = _best_swap(d, k, *state)
                if change < -1e-12:
                    medoids[out], D[:, out] = candidate, d
                    state = _nearest(D)
                    fruitless = 0
                else:
                    fruitless += 1
            if fruitless >= n:
                return np.sort(medoids)
    return np.sort(medoids)


def medoid_objective(X: np.ndarray, medoids: np.ndarray) -> float:
    """Sum of distances of all rows to their nearest medoid."""
    X = np.asarray(X, np.float64)
    return float(_distances(X, X[medoids]).min(axis=1).sum())


def _distances(X: np.ndarray, C: np.ndarray) -> np.ndarray:
    """From differences: 0 is 0, where a product of matrices would leave a rounding error of 1e-8."""
    return np.column_stack([np.sqrt(((X - c) ** 2).sum(axis=1)) for c in C])


def _start(X: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    medoids = [int(rng.integers(len(X)))]
    nearest = ((X - X[medoids[0]]) ** 2).sum(axis=1)
    while len(medoids) < k:
        nearest[medoids] = 0
        total = nearest.sum()
        free = np.setdiff1d(np.arange(len(X)), medoids)
        medoids.append(int(rng.choice(len(X), p=nearest / total) if total > 0 else free[0]))
        np.minimum(nearest, ((X - X[medoids[-1]]) ** 2).sum(axis=1), out=nearest)
    return np.array(medoids)


def _nearest(D: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nearest medoid, distances to it and to the second, and what the removal of each medoid would cost."""
    n, k = D.shape
    near = D.argmin(axis=1)
    first = D[np.arange(n), near]
    second = np.partition(D, 1, axis=1)[:, 1] if k > 1 else np.full(n, np.inf)
    removal = np.bincount(near, second - first, minlength=k) if k > 1 else np.array([-first.sum()])
    return near, first, second, removal


def _best_swap(
    d: np.ndarray, k: int, near: np.ndarray, first: np.ndarray, second: np.ndarray, removal: np.ndarray
) -> tuple[float, int]:
    """The change of the objective, and the medoid that a row at distances d had best replace."""
    if k == 1:
        return float(d.sum() + removal[0]), 0
    closer = d < first
    gain = np.where(closer, d - first, 0.0).sum()  # whichever medoid goes
    correction = np.where(closer, first - second, np.where(d < second, d - second, 0.0))
    change = removal + np.bincount(near, correction, minlength=k)
    out = int(change.argmin())
    return float(change[out] + gain), out
