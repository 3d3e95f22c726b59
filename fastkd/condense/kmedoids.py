"""k-medoids: rows of the data with the smallest sum of distances to their nearest one."""

from __future__ import annotations

import numpy as np

BLOCK = 32  # candidates weighed at once


def k_medoids(X: np.ndarray, k: int, rng: np.random.Generator, *, sweeps: int = 20) -> np.ndarray:
    """Numbers of the k medoids, by FasterPAM's eager swaps (Schubert and Rousseeuw 2021) from a k-means++ start.

    For a candidate row, all k swaps are weighed in one pass over its distances to the n rows, for BLOCK candidates at
    once; the first that helps is made, and those after it are weighed anew. Distances are computed when needed, so
    memory is O(n (k + BLOCK)) and no n x n matrix exists; a sweep costs O(n^2 (k + d)).
    """
    from scipy.spatial.distance import cdist

    n = len(X)
    if k >= n:
        return np.arange(n)
    X = np.asarray(X, np.float64)
    medoids = _start(X, k, rng)
    chosen = np.zeros(n, bool)
    chosen[medoids] = True
    D = cdist(X, X[medoids])
    order = rng.permutation(n)
    fruitless = 0
    state = _nearest(D)
    for _ in range(sweeps):
        for at in range(0, n, BLOCK):
            block = order[at : at + BLOCK]
            d = cdist(X[block], X)
            while len(block):
                change, out = _best_swaps(d, *state)
                helps = np.flatnonzero((change < -1e-12) & ~chosen[block])
                if not len(helps):
                    fruitless += len(block)
                    break
                j = int(helps[0])
                leaves = out[j]
                chosen[medoids[leaves]], chosen[block[j]] = False, True
                medoids[leaves], D[:, leaves] = block[j], d[j]
                state = _nearest(D)
                block, d, fruitless = block[j + 1 :], d[j + 1 :], 0
            if fruitless >= n:
                return np.sort(medoids)
    return np.sort(medoids)


def medoid_objective(X: np.ndarray, medoids: np.ndarray) -> float:
    """Sum of distances of all rows to their nearest medoid."""
    from scipy.spatial.distance import cdist

    X = np.asarray(X, np.float64)
    return float(cdist(X, X[medoids]).min(axis=1).sum())


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
    """Whose each row is (n, k), its distances to the nearest and second medoid, what removing each would cost."""
    n, k = D.shape
    near = D.argmin(axis=1)
    first = D[np.arange(n), near]
    second = np.partition(D, 1, axis=1)[:, 1] if k > 1 else np.full(n, np.inf)
    removal = np.bincount(near, second - first, minlength=k) if k > 1 else np.array([-first.sum()])
    return np.eye(k)[near], first, second, removal


def _best_swaps(
    d: np.ndarray, whose: np.ndarray, first: np.ndarray, second: np.ndarray, removal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For candidates at distances d (b, n): the change of the objective, and the medoid each had best replace."""
    if len(removal) == 1:
        return d.sum(axis=1) + removal[0], np.zeros(len(d), np.intp)
    closer = d < first
    gain = np.where(closer, d - first, 0.0).sum(axis=1)  # whichever medoid goes
    correction = np.where(closer, first - second, np.minimum(d - second, 0.0))
    change = removal + correction @ whose
    out = change.argmin(axis=1)
    return change[np.arange(len(d)), out] + gain, out
