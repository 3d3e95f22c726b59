"""Step 3, compute: what a plan wants of each column, table by table, shared out among threads."""

from __future__ import annotations

import numpy as np

from fastkd._core._native import Rows, Sorter
from fastkd.aggregate.read import Unscreened, Updates
from fastkd.aggregate.threads import share_columns

__all__ = ["Flat", "Plan", "compute", "sums"]

Flat = list[np.ndarray]  # a result, one flat array a table


class Plan:
    """Step 2's choice: which updates take part, and how each column of theirs becomes a number.

    `sorter`: by rank; `weights`: as a weighted sum; neither: as the mean. `rows` are positions of updates (None: all).
    `scores` (a number an update) and whether `rows` are a choice among clients are told with the result.
    """

    __slots__ = ("choice", "rows", "scores", "sorter", "weights")

    def __init__(
        self,
        sorter: Sorter | None = None,
        weights: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        choice: bool = False,
    ) -> None:
        self.sorter, self.weights, self.rows, self.scores, self.choice = sorter, weights, rows, scores, choice


def compute(u: Updates, plan: Plan, workers: int) -> Flat:
    """The result, in new arrays. Kernels notice NaN and inf, so that most updates are read once."""
    tables = u.tables if plan.rows is None else u.take(plan.rows)
    if plan.sorter is not None:
        return [_ordered(table, plan.sorter, u.screened, workers) for table in tables]
    if plan.rows is not None and len(plan.rows) == 1:
        return _checked([table.row(0).copy() for table in tables], u)
    return [_summed(table, plan.weights, u.screened, workers) for table in tables]


def _ordered(table: Rows, sorter: Sorter, screened: bool, workers: int) -> np.ndarray:
    to = table.new()
    if workers == 1:
        finite = table.order(sorter, to, 0, table.d)
    else:
        seen: list[bool] = []
        share_columns(table.n, table.d, workers, lambda c0, c1: seen.append(table.order(sorter, to, c0, c1)))
        finite = all(seen)
    if not (finite or screened):
        raise Unscreened
    return to


def _summed(table: Rows, weights: np.ndarray | None, screened: bool, workers: int) -> np.ndarray:
    to = table.new()
    if not sums(table, weights, to, workers):
        if not screened:
            raise Unscreened
        if weights is None:  # sums of the largest numbers overflow, their shares do not
            sums(table, np.full(table.n, 1 / table.n), to, workers)
        limit = np.finfo(to.dtype).max  # nor more than in the last bits of weights
        np.clip(to, -limit, limit, out=to)
    return to


def sums(table: Rows, weights: np.ndarray | None, to: np.ndarray, workers: int) -> bool:
    """sum_i weights[i] * row i into `to`, the mean for None; whether all of it is finite."""
    if workers == 1:
        return table.combine(weights, to, 0, table.d)
    finite: list[bool] = []
    share_columns(table.n, table.d, workers, lambda c0, c1: finite.append(table.combine(weights, to, c0, c1)))
    return all(finite)


def _checked(flat: Flat, u: Updates) -> Flat:
    if not u.screened and any(Rows([a]).not_finite() for a in flat):
        raise Unscreened
    return flat
