"""Step 2, choose: which updates Krum and Bulyan take. Quick distances tell most apart, exact ones decide the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core import _native
from fastkd.aggregate.distances import LARGE, NEAR, ROUGH, SMALL, Distances, sq_distances, sq_distances_in_unit
from fastkd.aggregate.read import Unscreened, Updates, as_count

__all__ = ["bulyan_choice", "krum_choice", "krum_scores_of", "lowest_scores", "neighbors_of", "rough_distances"]

KRUM = "Blanchard et al. 2017"
ROUNDING = 1e-12  # far above what the order of a sum changes in its last bits
ROUGH_UP_TO = 1e36  # a sum of that size does not come near the end of float32


def krum_choice(D: Any, f: int, m: int = 1, *, neighbors: int | None = None) -> np.ndarray:
    """Which m updates Krum takes, from squared distances alone: for who has those, but not the updates in one place.

    Squared distances of parts of the updates add: servers that hold some columns each sum their
    `pairwise_sq_distances`, choose by this, and average the chosen, each its own columns.

    Parameters
    ----------
    D : array of shape (n, n)
        Squared distances, symmetric, >= 0, zeros on the diagonal. A client whose row and column are NaN is rejected, as
        `pairwise_sq_distances` says it, and counts against f.
    f : int
        Clients that may lie, >= 0; n >= 2f + 3.
    m : int
        How many to choose, 1 .. n - f.
    neighbors : int, optional
        Distances in a score; n - f - 2 by default.

    Returns
    -------
    ndarray of int64, shape (m,)
        Positions with the smallest scores, ascending; ties go to the lower one.

    Raises
    ------
    ValueError
        For a D that holds no distances, n < 2f + 3, an m or `neighbors` out of range, more than f clients rejected.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.aggregate import krum_choice, pairwise_sq_distances
    >>> X = np.array([[1.0, 0.0], [3.0, 1.0], [2.5, 1.0], [0.0, 2.0], [50.0, 9.0]])
    >>> krum_choice(pairwise_sq_distances(X[:, :1]) + pairwise_sq_distances(X[:, 1:]), f=1)
    array([2])
    """
    f, m = as_count(f, "f"), as_count(m, "m", 1)
    D = np.array(_check.as_real(D, "D", np.float64))
    if D.ndim != 2 or D.shape[0] != D.shape[1] or not len(D):
        raise ValueError(f"D must be square, the squared distances of n updates; got shape {D.shape}")
    n = len(D)
    np.fill_diagonal(D, 0.0)
    rejected = np.isnan(D).sum(axis=1) == n - 1 if n > 1 else np.zeros(1, bool)
    clients = np.flatnonzero(~rejected)
    D = np.ascontiguousarray(D[np.ix_(clients, clients)])
    r = n - len(clients)
    if r > f:
        raise ValueError(f"{r} of {n} clients have no distances (NaN); f={f} allows {f}")
    if not (D >= 0).all() or not np.allclose(D, D.T, rtol=1e-9, atol=0):
        raise ValueError("D must be symmetric and >= 0, as squared distances are; NaN only in rows of rejected clients")
    f, n = f - r, n - r
    if n < 2 * f + 3:
        raise ValueError(f"krum_choice needs n >= 2f + 3 ({KRUM}); got n={n}, f={f}")
    scores = krum_scores_of(D, neighbors_of(n, f, neighbors))
    return np.sort(clients[np.argsort(scores, kind="stable")[: within(m, n, f)]])


def neighbors_of(n: int, f: int, neighbors: int | None) -> int:
    """How many distances make up a score."""
    if neighbors is None:
        return n - f - 2
    if as_count(neighbors, "neighbors", 1) >= n:
        raise ValueError(f"neighbors must be less than n = {n}, the updates that there are; got {neighbors}")
    return int(neighbors)


def within(m: int, n: int, f: int) -> int:
    if m > n - f:
        raise ValueError(f"m must be at most n - f = {n - f}, the clients that may be honest; got {m}")
    return m


def krum_scores_of(D: np.ndarray, neighbors: int) -> np.ndarray:
    """Sum of each row's smallest distances to others; the 0 of a row to itself sorts first and adds nothing."""
    with np.errstate(over="ignore"):
        return np.sort(D, axis=1)[:, : neighbors + 1].sum(axis=1)


def rough_distances(u: Updates, workers: int) -> Distances | None:
    """Distances within `slack`, between finite updates; None where float32 overflows."""
    if u.n < 2:
        if not u.screened:
            raise Unscreened
        return None
    rough = sq_distances(u, workers, ROUGH)
    if rough.largest < ROUGH_UP_TO:
        return rough
    if not u.screened:
        raise Unscreened
    return None


def lowest_scores(u: Updates, neighbors: int, m: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions of the m updates with the lowest scores in float64, ascending; scores of all, rough where they do).

    Ties go to the lower position. A sum of the k smallest distances grows with each of them, so errors of the distances
    within their slack leave the score within it, too: only scores that overlap at the border need exact ones.
    """
    rough = rough_distances(u, workers)
    if rough is None:
        return _lowest_exact(u, neighbors, m, workers)
    tiny = rough.tiny * neighbors
    scores, chosen = _choice(rough.D, neighbors, m, rough.slack, tiny)
    if rough.doubles and scores.min() < SMALL:
        return _lowest_exact(u, neighbors, m, workers)
    if chosen is not None:
        return chosen, scores
    error = rough.slack * scores + tiny
    low, high = scores - error, scores + error
    possible = low <= np.partition(high, m - 1)[m - 1]
    if possible.sum() == m:
        return np.flatnonzero(possible), scores
    certain = high < np.partition(low, m)[m]
    unclear = np.flatnonzero(possible & ~certain)
    scores[unclear] = krum_scores_of(_exact_rows(u, unclear, workers), neighbors)
    best = unclear[np.argsort(scores[unclear], kind="stable")[: m - int(certain.sum())]]
    return np.sort(np.r_[np.flatnonzero(certain), best]), scores


def _lowest_exact(u: Updates, neighbors: int, m: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    D, scale = sq_distances_in_unit(u, workers)
    scores, chosen = _choice(D, neighbors, m, ROUNDING, 0.0)
    if chosen is None:
        scores = krum_scores_of(D, neighbors)
        chosen = np.sort(np.argsort(scores, kind="stable")[:m])
    with np.errstate(over="ignore"):
        return chosen, scores / scale / scale


def _choice(D: np.ndarray, neighbors: int, m: int, slack: float, tiny: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores and the positions of the lowest, None where errors leave them open."""
    if len(D) <= 64:  # a hundred numbers, told apart sooner than NumPy has begun
        return _native.krum_choice(D, neighbors, m, slack, tiny)
    return krum_scores_of(D, neighbors), None


def _exact_rows(u: Updates, rows: np.ndarray, workers: int) -> np.ndarray:
    """Distances in float64 of some updates to all."""
    if 2 * len(rows) > u.n:
        return sq_distances(u, workers).D[rows]
    first = np.r_[rows, np.setdiff1d(np.arange(u.n), rows)]
    moved = Updates(u.take(first), u.n, u.form)
    D = np.empty((len(rows), u.n))
    D[:, first] = sq_distances(moved, workers, rows=len(rows)).D[: len(rows)]
    return D


def bulyan_choice(u: Updates, f: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(the n - 2f updates that Krum takes one after the other, ascending; scores of all among all)."""
    near = sq_distances(u, workers, NEAR)
    if not near.largest < LARGE and not u.screened:
        raise Unscreened
    D, scale, chosen = near.D, 1.0, None
    apart = D[~np.eye(len(D), dtype=bool)]
    if near.largest < LARGE and apart.min(initial=np.inf) > SMALL:
        chosen = _native.bulyan_choice(D, f, near.slack)
    if chosen is None:
        D, scale = sq_distances_in_unit(u, workers)
        chosen = _native.bulyan_choice(D, f, 0.0)
    with np.errstate(over="ignore"):
        return np.sort(chosen), krum_scores_of(D, u.n - f - 2) / scale / scale
