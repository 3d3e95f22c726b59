"""Step 4, finish: the result in the form of an update, into `out`, and what is told beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._core._native import Rows
from fastkd.aggregate.compute import Flat, Plan
from fastkd.aggregate.read import Updates, read
from fastkd.aggregate.threads import as_workers, share

__all__ = ["AggregateInfo", "finish", "gap_to_mean"]

GAP_COLUMNS = 1024  # whose squares are summed at a time, as those of distances are
GAP_SHARE = 16 * GAP_COLUMNS  # that a worker takes at a time


@dataclass(frozen=True, eq=False)
class AggregateInfo:
    """What an aggregation rule did.

    Attributes
    ----------
    selected : ndarray of int64
        Clients (positions in `updates`) whose updates are in the result: the chosen ones for the Krum family, all that
        were not rejected for the other rules.
    scores : ndarray of shape (n,) or None
        A number per client, smaller is more trusted; NaN for rejected clients; None for rules by coordinate.
        For Krum and Multi-Krum its score, where the choice needed no more within 1e-5 of itself for float32 updates and
        1e-9 for float64, in digits that may depend on the instruction set: `krum_scores` is exact. For Bulyan the score
        among all, within 1e-9. For the geometric median the distance to the result. For centered clipping the distance
        to the center before the last step.
    rejected : ndarray of int64
        Clients left out since their updates held NaN or inf.
    gap_to_mean : float
        |result - mean of the updates that were not rejected|, Euclidean; large when somebody pulls.

    Notes
    -----
    The gap takes one more pass over the updates (none for `mean` without weights), which is most of the time of a rule
    as quick as `mean`.
    """

    selected: np.ndarray
    scores: np.ndarray | None
    rejected: np.ndarray
    gap_to_mean: float


def finish(u: Updates, plan: Plan, flat: Flat, out: Any, return_info: bool, workers: int) -> Any:
    """The result like one update, with an `AggregateInfo` if wanted."""
    constants = None if u.constants is None else u.constants[0 if u.clients is None else u.clients[0]]
    result = u.form.shaped(flat, constants)
    if out is not None:
        result = u.form.write(result, out)
    if not return_info:
        return result
    clients = np.arange(u.n) if u.clients is None else u.clients
    scores = plan.scores
    if scores is not None and len(u.rejected):
        scores = np.full(u.given, np.nan)
        scores[u.clients] = plan.scores
    chosen = clients[plan.rows] if plan.choice else clients.copy()
    plain = plan.sorter is None and plan.weights is None and plan.rows is None
    gap = 0.0 if plain else _gap(u, flat, workers)
    return result, AggregateInfo(chosen, scores, u.rejected, gap)


def gap_to_mean(updates: Any, result: Any, workers: int = 1) -> float:
    """|result - mean of the updates|, Euclidean, for finite updates and a result like one of them."""
    u = read(updates)
    layers = [np.asarray(a) for a in u.form.layers(result, "result")]
    tables = list(u.tables)
    flat = [np.ascontiguousarray(a.reshape(-1), table.row(0).dtype) for table, a in zip(tables, layers, strict=True)]
    return _gap(u, flat, as_workers(workers))


def _gap(u: Updates, flat: Flat, workers: int) -> float:
    """|flat - mean of the updates|, also where squares overflow; no array of the size of an update is made for it.

    Squares are summed in blocks of columns, and these sums without rounding: so neither workers nor tables change it.
    """
    for scale in (1.0, 2.0**-540):  # squares of the second one cannot overflow
        blocks = [square for table, at in zip(u.tables, flat) for square in _squares(table, at, scale, workers)]
        if all(map(math.isfinite, blocks)):
            break
    return math.sqrt(math.fsum(blocks)) / scale


def _squares(table: Rows, at: np.ndarray, scale: float, workers: int) -> list[float]:
    """Sums over blocks of columns of the squares of scale * (at - mean)."""
    weights, d, blocks = np.full(table.n, 1 / table.n), table.d, list[float]()

    def columns(k: int) -> None:
        for c in range(k * GAP_SHARE, min((k + 1) * GAP_SHARE, d), GAP_COLUMNS):
            blocks.append(table.gap(weights, at, scale, c, min(c + GAP_COLUMNS, d)))

    share(-(-d // GAP_SHARE), workers, columns)
    return blocks
