"""Bulyan's first stage: Krum again and again, each time without the updates that it has taken."""

from __future__ import annotations

import numpy as np

from fastkd.aggregate.screening import krum_scores_of

__all__ = ["bulyan_choice"]


def bulyan_choice(D: np.ndarray, f: int) -> np.ndarray:
    """The n - 2f rows that Krum takes one after the other from those that are left, in that order.

    With L rows left a score is the sum of the max(L - f - 2, 1) smallest distances to them. When a row goes, so does
    one neighbor of every score: that row where it was one, else the farthest. So scores are kept by subtraction, and
    only those within its rounding errors of the lowest are summed afresh.
    """
    n = len(D)
    left, chosen = np.ones(n, bool), []
    others = D.astype(np.float64, copy=True)
    np.fill_diagonal(others, np.inf)
    order = np.argsort(others, axis=1, kind="stable")
    count = max(n - f - 2, 1)
    counts = np.zeros((n, n), bool)  # counts[i, j]: j is among the neighbors of i
    np.put_along_axis(counts, order[:, :count], True, axis=1)
    farthest = np.full(n, count - 1)  # place in the order of the farthest neighbor
    with np.errstate(over="ignore"):
        scores = np.where(counts, D, 0.0).sum(axis=1)
    error = np.where(np.isfinite(scores), 8 * n * np.finfo(float).eps * scores, np.inf)  # inf is summed afresh
    for size in range(n, 2 * f, -1):
        rows = np.flatnonzero(left)
        if size - f - 2 < 1 or size <= 3:  # the number of neighbors no longer falls: a handful of rows is left
            row = rows[np.argmin(krum_scores_of(D[np.ix_(rows, rows)], max(size - f - 2, 1)))]
        else:
            with np.errstate(invalid="ignore"):
                low, high = scores[rows] - error[rows], scores[rows] + error[rows]
            close = rows[~(low > np.nanmin(np.where(np.isnan(high), np.inf, high)))]
            if len(close) > 1:
                scores[close] = krum_scores_of(D[np.ix_(close, rows)], size - f - 2)
                error[close] = np.where(np.isfinite(scores[close]), 8 * n * np.finfo(float).eps * scores[close], np.inf)
            row = close[np.argmin(scores[close])]
        chosen.append(row)
        left[row] = False
        if size - 1 - f - 2 < 1:
            continue
        rows = np.flatnonzero(left)
        gone = np.where(counts[rows, row], row, order[rows, farthest[rows]])
        with np.errstate(invalid="ignore"):
            scores[rows] -= D[rows, gone]
        counts[rows, gone] = False
        while len(rows := rows[~counts[rows, order[rows, farthest[rows]]]]):
            farthest[rows] -= 1
    return np.array(chosen)
