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
        A number per client, smaller is more trusted: Krum's score for its family, the distance to the result for the
        geometric median and centered clipping; NaN for rejected clients; None for rules by coordinate.
    rejected : ndarray of int64
        Clients left out since their updates held NaN or inf.
    gap_to_mean : float
        |result - mean of the updates that were not rejected|, Euclidean; large when somebody pulls.
    """

    selected: np.ndarray
    scores: np.ndarray | None
    rejected: np.ndarray
    gap_to_mean: float
