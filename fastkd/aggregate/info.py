"""What a rule did, beside its result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AggregateInfo"]


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
        1e-9 for float64, in digits that may depend on the instruction set: `krum_scores` is exact. For Bulyan the exact
        score among all. For the geometric median the distance to the result. For centered clipping the distance to the
        center before the last step.
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
