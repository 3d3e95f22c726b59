"""Which updates have the lowest Krum scores: quick distances tell nearly all apart, exact ones decide the rest."""

from __future__ import annotations

import numpy as np

from fastkd._core import _native
from fastkd.aggregate.running import sq_distances, sq_distances_and_largest
from fastkd.aggregate.scales import SMALL, sq_distances_in_unit
from fastkd.aggregate.updates import DOUBLE, SINGLE, Updates

__all__ = ["krum_scores_of", "lowest_scores", "rough_distances"]

SLACK = {SINGLE: 1e-5, DOUBLE: 1e-9}  # relative error that a rough distance never has (csrc/distances.inc.h)
ROUNDING = 1e-12  # far above what the order of a sum changes in its last bits
# absolute error of a column where squares are subnormal, which this thread's processor may take for 0
TINY = {SINGLE: float(np.finfo(np.float32).tiny), DOUBLE: float(np.finfo(np.float64).tiny)}
ROUGH_UP_TO = 1e36  # nor does a sum of that size come near the end of float32


def krum_scores_of(D: np.ndarray, neighbors: int) -> np.ndarray:
    """Sum of each row's smallest distances to others; the 0 of a row to itself sorts first and adds nothing."""
    with np.errstate(over="ignore"):
        return np.sort(D, axis=1)[:, : neighbors + 1].sum(axis=1)


def rough_distances(u: Updates, workers: int) -> np.ndarray | None:
    """Distances within `SLACK`; None for updates so large that float32 overflows, and for NaN and inf."""
    if u.n < 2:
        return None
    D, largest = sq_distances_and_largest(u, workers, rough=True)
    return D if largest < ROUGH_UP_TO else None


def lowest_scores(
    u: Updates, D: np.ndarray | None, neighbors: int, m: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """(positions of the m updates with the lowest scores in float64, ascending; scores of all, rough where they do).

    `D` are rough distances, None if there are none. Ties go to the lower position. A sum of the k smallest distances
    grows with each of them, so errors of the distances within `SLACK` leave the score within it, too: only scores that
    overlap at the border need exact ones.
    """
    if D is None:
        D, scale = sq_distances_in_unit(u, workers)
        scores, chosen = _choice(D, neighbors, m, ROUNDING, 0.0)
        if chosen is None:
            scores = krum_scores_of(D, neighbors)
            chosen = np.sort(np.argsort(scores, kind="stable")[:m])
        with np.errstate(over="ignore"):
            return chosen, scores / scale / scale
    slack = SLACK[u.dtype]
    tiny = TINY[u.dtype] * neighbors * sum(table.d for table in u.layers)
    scores, chosen = _choice(D, neighbors, m, slack, tiny)
    if u.dtype == DOUBLE and scores.min() < SMALL:
        return lowest_scores(u, None, neighbors, m, workers)
    if chosen is not None:
        return chosen, scores
    error = slack * scores + tiny
    low, high = scores - error, scores + error
    possible = low <= np.partition(high, m - 1)[m - 1]
    if possible.sum() == m:
        return np.flatnonzero(possible), scores
    certain = high < np.partition(low, m)[m]
    unclear = np.flatnonzero(possible & ~certain)
    scores[unclear] = krum_scores_of(_exact_rows(u, unclear, workers), neighbors)
    best = unclear[np.argsort(scores[unclear], kind="stable")[: m - int(certain.sum())]]
    return np.sort(np.r_[np.flatnonzero(certain), best]), scores


def _choice(D: np.ndarray, neighbors: int, m: int, slack: float, tiny: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores and the positions of the lowest, None where errors leave them open."""
    if len(D) <= 64:  # a hundred numbers, told apart sooner than NumPy has begun
        return _native.krum_choice(D, neighbors, m, slack, tiny)
    return krum_scores_of(D, neighbors), None


def _exact_rows(u: Updates, rows: np.ndarray, workers: int) -> np.ndarray:
    """Distances in float64 of some updates to all."""
    if 2 * len(rows) > u.n:
        return sq_distances(u, workers)[rows]
    first = np.r_[rows, np.setdiff1d(np.arange(u.n), rows)]
    D = np.empty((len(rows), u.n))
    D[:, first] = sq_distances(u.subset(first), workers, rows=len(rows))[: len(rows)]
    return D
