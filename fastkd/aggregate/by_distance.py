"""Rules that compare whole updates by their distances: Krum, Multi-Krum, Bulyan."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd.aggregate.bulyan_choice import bulyan_choice
from fastkd.aggregate.running import (
    as_count,
    as_workers,
    combine,
    enough,
    finish,
    order,
    require,
    sq_distances,
    targets,
    usable,
)
from fastkd.aggregate.scales import sq_distances_in_unit
from fastkd.aggregate.screening import krum_scores_of, lowest_scores, rough_distances
from fastkd.aggregate.updates import Updates, read, without_rejected

__all__ = ["bulyan", "krum", "krum_scores", "multi_krum", "pairwise_sq_distances"]

KRUM = "Blanchard et al. 2017"


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
    u, _ = usable(updates)
    D = sq_distances(u, workers)
    if not len(u.rejected):
        return D
    n = u.given
    every = np.full((n, n), np.nan)
    every[np.ix_(u.clients, u.clients)] = D
    return every


def krum_scores(updates: Any, f: int, *, workers: int = 1) -> np.ndarray:
    """Krum's score of each client: the sum of its n - f - 2 smallest squared distances to others; NaN if rejected.

    Parameters and errors are those of `krum`.

    Examples
    --------
    >>> from fastkd.aggregate import krum_scores
    >>> krum_scores([[0.0], [1.0], [3.0], [10.0]], f=0)
    array([ 10.,   5.,  13., 130.])
    """
    workers, f = as_workers(workers), as_count(f, "f")
    u, f = _usable(updates, f, "krum_scores")
    scores = np.full(u.given, np.nan)
    scores[u.clients] = krum_scores_of(sq_distances(u, workers), u.n - f - 2)
    return scores


def krum(updates: Any, f: int, *, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """The update with the smallest Krum score (Blanchard et al. 2017); ties go to the lower index; n >= 2f + 3.

    The score is the paper's, a sum of n - f - 2 squared distances, as in Flower; byzfl takes n - f - 1, so that its
    Krum(f + 1) chooses as this does with f.

    Parameters
    ----------
    updates, workers, out, return_info
        As for `mean`.
    f : int
        Clients that may lie, >= 0.

    Returns
    -------
    As `mean`: a copy of the chosen update.

    Raises
    ------
    ValueError
        As `mean`, and for n < 2f + 3 or more than f clients with NaN or inf.

    Examples
    --------
    >>> from fastkd.aggregate import krum
    >>> krum([[1.0], [3.0], [2.5], [0.0], [50.0]], f=1)
    array([2.5])
    """
    return _multi(updates, f, 1, "krum", workers, out, return_info)


def multi_krum(
    updates: Any, f: int, m: int | None = None, *, workers: int = 1, out: Any = None, return_info: bool = False
) -> Any:
    """Mean of the m updates with the smallest Krum scores (Blanchard et al. 2017); n >= 2f + 3.

    All chosen count alike. Flower weighs them by the number of examples that clients claim; byzfl's MultiKrum keeps
    n - f and sums n - f - 1 distances.

    Parameters
    ----------
    updates, f, workers, out, return_info
        As for `krum`.
    m : int, optional
        How many, 1 .. n - f; n - f - 2 by default.

    Returns
    -------
    As `mean`.

    Raises
    ------
    ValueError
        As `krum`, and for an m out of range.

    Examples
    --------
    >>> from fastkd.aggregate import multi_krum
    >>> multi_krum([[1.0], [1.2], [1.1], [0.9], [50.0]], f=1)
    array([1.05])
    """
    return _multi(updates, f, m, "multi_krum", workers, out, return_info)


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
    workers, f = as_workers(workers), as_count(f, "f")
    u, f = usable(updates, f)
    require(u.n, f, u.n >= 4 * f + 3, "n >= 4f + 3", "bulyan", "El Mhamdi, Guerraoui and Rouault 2018")
    D, scale = sq_distances_in_unit(u, workers)
    chosen = np.sort(bulyan_choice(D, f))
    few = u.subset(chosen)
    flat = targets(u, out)
    order(few, (few.n - 1) // 2, few.n // 2 + 1, u.n - 4 * f, flat, workers)
    with np.errstate(over="ignore"):
        scores = krum_scores_of(D, u.n - f - 2) / scale / scale
    return finish(u, flat, out, return_info, workers, chosen, scores)


def _usable(updates: Any, f: int, rule: str) -> tuple[Updates, int]:
    u, f = usable(updates, f)
    require(u.n, f, u.n >= 2 * f + 3, "n >= 2f + 3", rule, KRUM)
    return u, f


def _multi(updates: Any, f: int, m: int | None, rule: str, workers: int, out: Any, return_info: bool) -> Any:
    workers, f = as_workers(workers), as_count(f, "f")
    u = read(updates, look=False)
    D = rough_distances(u, workers)
    u, f = enough(u if D is not None else without_rejected(u), f)  # rough distances exist between finite updates only
    require(u.n, f, u.n >= 2 * f + 3, "n >= 2f + 3", rule, KRUM)
    m = u.n - f - 2 if m is None else as_count(m, "m", 1)
    if m > u.n - f:
        raise ValueError(f"m must be at most n - f = {u.n - f}, the clients that may be honest; got {m}")
    chosen, scores = lowest_scores(u, D, u.n - f - 2, m, workers)
    flat = targets(u, out)
    if m == 1:
        for table, to in zip(u.layers, flat):
            to[:] = table.arrays[chosen[0]]
    else:
        combine(u.subset(chosen), np.full(m, 1 / m), flat, workers)
    return finish(u, flat, out, return_info, workers, chosen, scores)
