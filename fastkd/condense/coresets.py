"""Coresets of real rows without optimization: herding, k-center, random."""

from __future__ import annotations

import numpy as np


def herding(X: np.ndarray, k: int) -> np.ndarray:
    """Numbers of k rows, each chosen so that the mean of the chosen comes nearest to the mean of all (Welling 2009)."""
    X = np.asarray(X, np.float64)
    mean, total = X.mean(axis=0), np.zeros(X.shape[1])
    chosen: list[int] = []
    norms = (X * X).sum(axis=1)
    for t in range(1, k + 1):
        wanted = t * mean - total  # |wanted - x| is t times the distance of the means
        gap = norms - 2 * X @ wanted
        gap[chosen] = np.inf
        chosen.append(int(gap.argmin()))
        total += X[chosen[-1]]
    return np.array(chosen)


def k_center(X: np.ndarray, k: int) -> np.ndarray:
    """Numbers of k rows: that nearest to the mean, then each farthest from all before (Gonzalez 1985)."""
    X = np.asarray(X, np.float64)
    chosen = [int(((X - X.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    nearest = ((X - X[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k:
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, ((X - X[chosen[-1]]) ** 2).sum(axis=1), out=nearest)
    return np.array(chosen)
