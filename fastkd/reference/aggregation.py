"""Robust aggregation in float64 NumPy. X holds the updates of n clients, (n, d), finite; f clients may lie."""

import numpy as np


def sq_distances(X):
    """|x_i - x_j|^2."""
    X = np.asarray(X, float)
    with np.errstate(over="ignore"):
        return np.array([((X - x) ** 2).sum(1) for x in X])


def median(X):
    """Per coordinate the middle value, or the mean of the two middle ones."""
    s = np.sort(np.asarray(X, float), axis=0)
    n = len(s)
    return s[(n - 1) // 2] / 2 + s[n // 2] / 2


def trimmed_mean(X, f):
    """Per coordinate the mean without the f smallest and the f largest values."""
    return np.sort(np.asarray(X, float), axis=0)[f : len(X) - f].mean(axis=0)


def mean_near_median(X, keep):
    """Per coordinate the mean of the `keep` values nearest to the median, of equally near ones the lower first."""
    X = np.sort(np.asarray(X, float), axis=0)
    nearest = np.argsort(np.abs(X - median(X)), axis=0, kind="stable")[:keep]
    return np.take_along_axis(X, np.sort(nearest, axis=0), axis=0).mean(axis=0)


def krum_scores(X, f):
    """The sum of the n - f - 2 smallest squared distances to others."""
    return _krum_scores(sq_distances(X), len(X) - f - 2)


def _krum_scores(D, neighbors):
    with np.errstate(over="ignore"):
        return np.array([np.sort(np.delete(row, i))[:neighbors].sum() for i, row in enumerate(D)])


def krum(X, f):
    """Index of the smallest score, the lower of equals."""
    return int(np.argmin(krum_scores(X, f)))


def multi_krum(X, f, m):
    """Mean of the m updates with the smallest scores."""
    return np.asarray(X, float)[np.argsort(krum_scores(X, f), kind="stable")[:m]].mean(axis=0)


def bulyan(X, f):
    """Krum takes n - 2f updates one by one; then the mean of the n - 4f of them nearest to the median."""
    X = np.asarray(X, float)
    left = list(range(len(X)))
    chosen: list[int] = []
    while len(chosen) < len(X) - 2 * f:
        scores = _krum_scores(sq_distances(X[left]), max(len(left) - f - 2, 1))
        chosen.append(left.pop(int(np.argmin(scores))))
    return mean_near_median(X[chosen], len(X) - 4 * f)


def sum_of_distances(X, y):
    """What the geometric median minimizes."""
    return np.linalg.norm(np.asarray(X, float) - y, axis=1).sum()


def geometric_median(X, steps=20000):
    """Weiszfeld's iteration, distances kept above a small number."""
    X = np.asarray(X, float)
    y = X.mean(axis=0)
    for _ in range(steps):
        w = 1 / np.maximum(np.linalg.norm(X - y, axis=1), 1e-12)
        y = (w / w.sum()) @ X
    return y


def centered_clipping(X, radius, center):
    """c + mean_i (x_i - c) min(1, radius / |x_i - c|)."""
    X, c = np.asarray(X, float), np.asarray(center, float)
    norms = np.linalg.norm(X - c, axis=1)
    return c + ((X - c) * np.minimum(1, radius / np.maximum(norms, 1e-300))[:, None]).mean(axis=0)


def nearest_neighbor_mixing(X, f):
    """Each update becomes the mean of the n - f nearest to it, itself included."""
    X = np.asarray(X, float)
    return np.array([X[np.argsort(row, kind="stable")[: len(X) - f]].mean(axis=0) for row in sq_distances(X)])
