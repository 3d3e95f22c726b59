"""Rules that compare whole updates by their distances: Krum, Multi-Krum, Bulyan."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastkd.aggregate.by_coordinate import by_rank
from fastkd.aggregate.choose import (
    KRUM,
    bulyan_choice,
    krum_scores_of,
    lowest_scores,
    neighbors_of,
    within,
)
from fastkd.aggregate.compute import Plan
from fastkd.aggregate.distances import sq_distances
from fastkd.aggregate.read import Unscreened, Updates, as_count, require
from fastkd.aggregate.threads import as_workers
from fastkd.aggregate.walk import attempt, walk

__all__ = ["bulyan", "krum", "krum_scores", "multi_krum", "pairwise_sq_distances"]


def pairwise_sq_distances(updates: Any, *, workers: int = 1) -> np.ndarray:
    """Squared Euclidean distances |x_i - x_j|^2 between updates.

    Taken from differences, not from norms and products, so that updates far from 0 and close to one another keep their
    digits. Distances that overflow are inf.

    Parameters
    ----------
    updates, workers
        As for `mean`.

    Returns
    -------
    ndarray of shape (n, n), float64
        Symmetric, zeros on the diagonal; NaN in rows and columns of rejected clients.

    Raises
    ------
    ValueError, TypeError
        As `mean`.

    Examples
    --------
    >>> from fastkd.aggregate import pairwise_sq_distances
    >>> pairwise_sq_distances([[0.0, 0.0], [3.0, 4.0]])
    array([[ 0., 25.],
           [25.,  0.]])
    """
    workers = as_workers(workers)
    u, D = attempt(updates, None, lambda u, f: _finite_distances(u, workers))
    return _with_rejected(u, D, (u.given, u.given))


def _finite_distances(u: Updates, workers: int) -> np.ndarray:
    exact = sq_distances(u, workers)
    if not u.screened and (u.n < 2 or not np.isfinite(exact.largest)):  # inf may be two huge updates, or one inf
        raise Unscreened
    return exact.D


def _with_rejected(u: Updates, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the updates that took part, with NaN for those that did not."""
    if u.clients is None:
        return found
    every = np.full(shape, np.nan)
    every[np.ix_(*[u.clients] * len(shape))] = found
    return every


def krum_scores(updates: Any, f: int, *, neighbors: int | None = None, workers: int = 1) -> np.ndarray:
    """Krum's score of each client: the sum of its n - f - 2 smallest squared distances to others; NaN if rejected.

    Parameters and errors are those of `krum`.

    Examples
    --------
    >>> from fastkd.aggregate import krum_scores
    >>> krum_scores([[0.0], [1.0], [3.0], [10.0]], f=0)
    array([ 10.,   5.,  13., 130.])
    """
    workers, f = as_workers(workers), as_count(f, "f")

    def scores(u: Updates, f: int) -> np.ndarray:
        require(u, f, u.n >= 2 * f + 3, "n >= 2f + 3", "krum_scores", KRUM)
        return krum_scores_of(_finite_distances(u, workers), neighbors_of(u.n, f, neighbors))

    u, found = attempt(updates, f, scores)
    return _with_rejected(u, found, (u.given,))


def krum(
    updates: Any,
    f: int,
    *,
    neighbors: int | None = None,
    workers: int = 1,
    out: Any = None,
    return_info: bool = False,
) -> Any:
    """The update with the smallest Krum score (Blanchard et al. 2017); ties go to the lower index; n >= 2f + 3.

    The score is the paper's, a sum of n - f - 2 squared distances, as in Flower; byzfl takes n - f - 1.

    Parameters
    ----------
    updates, workers, out, return_info
        As for `mean`.
    f : int
        Clients that may lie, >= 0.
    neighbors : int, optional
        Distances that make up a score, 1 .. n - 1; n - f - 2 by default.

    Returns
    -------
    As `mean`: a copy of the chosen update.

    Raises
    ------
    ValueError
        As `mean`, and for n < 2f + 3, `neighbors` out of range or more than f clients with NaN or inf.

    Examples
    --------
    >>> from fastkd.aggregate import krum
    >>> krum([[1.0], [3.0], [2.5], [0.0], [50.0]], f=1)
    array([2.5])
    """
    return _lowest(updates, f, 1, neighbors, "krum", workers, out, return_info)


def multi_krum(
    updates: Any,
    f: int,
    m: int | None = None,
    *,
    neighbors: int | None = None,
    workers: int = 1,
    out: Any = None,
    return_info: bool = False,
) -> Any:
    """Mean of the m updates with the smallest Krum scores (Blanchard et al. 2017); n >= 2f + 3.

    All chosen count alike. Flower weighs them by the number of examples that clients claim.

    Parameters
    ----------
    updates, f, neighbors, workers, out, return_info
        As for `krum`.
    m : int, optional
        How many, 1 .. n - f. Nobody agrees on it: n - f - 2 by default (El Mhamdi et al. 2018), with a warning; byzfl
        takes n - f (and n - f - 1 neighbors), others n - 2f - 2. The more, the less noise and the more liars.

    Returns
    -------
    As `mean`.

    Raises
    ------
    ValueError
        As `krum`, and for an m out of range.

    Warns
    -----
    UserWarning
        Where m is left to the default and f > 0.

    Examples
    --------
    >>> from fastkd.aggregate import multi_krum
    >>> multi_krum([[1.0], [1.2], [1.1], [0.9], [50.0]], f=1, m=2)
    array([1.05])
    """
    if m is None and f:
        warnings.warn(
            f"multi_krum averages m = n - f - 2 updates by default; libraries differ (n - f, n - 2f - 2): give m "
            f"(here f={f})",
            stacklevel=2,
        )
    return _lowest(updates, f, m, neighbors, "multi_krum", workers, out, return_info)


def bulyan(updates: Any, f: int, *, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Bulyan over Krum (El Mhamdi, Guerraoui and Rouault 2018); n >= 4f + 3.

    Krum chooses n - 2f updates one after the other, each time among those that are left (with their number less f and 2
    as its neighbors, at least 1); then each coordinate is the mean of the n - 4f chosen values nearest to their median.
    So does Flower; other libraries differ in what they select. n <= 65535.
    Parameters, result and errors are those of `krum`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.aggregate import bulyan
    >>> bulyan(np.array([[1.0], [1.2], [1.1], [0.9], [1.3], [0.8], [50.0]]), f=1).round(2)
    array([1.1])
    """
    return walk(updates, as_count(f, "f"), _bulyan, workers, out, return_info)


def _bulyan(u: Updates, f: int, workers: int) -> Plan:
    require(u, f, u.n >= 4 * f + 3, "n >= 4f + 3", "bulyan", "El Mhamdi, Guerraoui and Rouault 2018")
    chosen, scores = bulyan_choice(u, f, workers)
    few = len(chosen)
    return Plan(by_rank(few, (few - 1) // 2, few // 2 + 1, u.n - 4 * f).sorter, None, chosen, scores, True)


def _lowest(
    updates: Any, f: int, m: int | None, neighbors: int | None, rule: str, workers: int, out: Any, return_info: bool
) -> Any:
    if m is not None:
        m = as_count(m, "m", 1)

    def choose(u: Updates, f: int, workers: int) -> Plan:
        require(u, f, u.n >= 2 * f + 3, "n >= 2f + 3", rule, KRUM)
        count = u.n - f - 2 if m is None else within(m, u.n, f)
        chosen, scores = lowest_scores(u, neighbors_of(u.n, f, neighbors), count, workers)
        return Plan(None, None, chosen, scores, True)

    return walk(updates, as_count(f, "f"), choose, workers, out, return_info)
