"""What goes before a rule: nearest-neighbor mixing and bucketing make the updates of honest clients more alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd import _check
from fastkd.aggregate.compute import Plan, compute
from fastkd.aggregate.distances import sq_distances_in_unit
from fastkd.aggregate.read import Updates, as_count, left, read, require
from fastkd.aggregate.threads import as_workers

__all__ = ["bucketing", "nearest_neighbor_mixing"]


def nearest_neighbor_mixing(updates: Any, f: int, *, workers: int = 1) -> Any:
    """Each update becomes the mean of the n - f nearest to it, itself included (Allouah et al. 2023); n > 2f.

    Ties go to the lower index. For use before a robust rule when clients' data differ.

    Parameters
    ----------
    updates, workers
        As for `mean`.
    f : int
        Clients that may lie, >= 0.

    Returns
    -------
    ndarray of shape (n', d), or n' lists of layer arrays for lists of layers
        One for each client that was not rejected.

    Raises
    ------
    ValueError, TypeError
        As `trimmed_mean`.

    Examples
    --------
    >>> from fastkd.aggregate import nearest_neighbor_mixing
    >>> nearest_neighbor_mixing([[0.0], [3.0], [6.0], [99.0]], f=1)
    array([[ 3.],
           [ 3.],
           [ 3.],
           [36.]])
    """
    workers, f = as_workers(workers), as_count(f, "f")
    u = read(updates).screen()
    f = left(u, f)
    require(u, f, u.n > 2 * f, "n > 2f", "nearest_neighbor_mixing", "Allouah et al. 2023")
    near = np.argsort(sq_distances_in_unit(u, workers)[0], axis=1, kind="stable")[:, : u.n - f]
    for i, row in enumerate(near):  # itself always, also among its copies and where all distances overflow
        if i not in row:
            row[-1] = i
    return _means(u, [np.sort(row) for row in near], workers)


def bucketing(updates: Any, size: int, *, random_state: Any = None, workers: int = 1) -> Any:
    """Means of buckets of `size` updates (Karimireddy, He and Jaggi 2022), the last one of what is left.

    Parameters
    ----------
    updates, workers
        As for `mean`.
    size : int
        Updates a bucket, >= 1.
    random_state : None, int or Generator, optional
        Shuffles the updates first, which the defense needs if clients can foresee their places; None keeps the order.

    Returns
    -------
    ndarray of shape (ceil(n / size), d), or that many lists of layer arrays for lists of layers

    Raises
    ------
    ValueError, TypeError
        As `mean`.

    Examples
    --------
    >>> from fastkd.aggregate import bucketing
    >>> bucketing([[0.0], [2.0], [4.0], [8.0], [9.0]], size=2)
    array([[1.],
           [6.],
           [9.]])
    """
    workers, size = as_workers(workers), as_count(size, "size", 1)
    u = read(updates).screen()
    left(u, None)
    places = np.arange(u.n)
    if random_state is not None:
        places = _check.as_rng(random_state).permutation(u.n)
    return _means(u, [places[i : i + size] for i in range(0, u.n, size)], workers)


def _means(u: Updates, groups: list[np.ndarray], workers: int) -> Any:
    """The mean of each group of updates: an array of them, or a list of what has several layers."""
    means = []
    for rows in groups:
        flat = compute(u, Plan(rows=rows), workers)
        constants = None if u.constants is None else u.constants[0 if u.clients is None else u.clients[0]]
        means.append(u.form.shaped(flat, constants))
    return means if u.form.several else np.array(means)
