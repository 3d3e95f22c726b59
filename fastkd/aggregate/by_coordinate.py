"""Rules that treat each coordinate on its own: mean, median, trimmed mean, mean around the median."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastkd import _check
from fastkd.aggregate.compute import Plan
from fastkd.aggregate.read import Unscreened, Updates, as_count, require
from fastkd.aggregate.sorting import sorter
from fastkd.aggregate.walk import walk

__all__ = ["meamed", "mean", "median", "trimmed_mean"]

MEAN = Plan()


def mean(updates: Any, *, weights: Any = None, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Weighted mean, sum_i w_i x_i / sum_i w_i: no defense, a single client moves it anywhere.

    Parameters
    ----------
    updates : array of shape (n, d), or sequence of n arrays of one shape, of n lists of layer arrays or of n dicts
        Updates of n clients; see `fastkd.aggregate` on what becomes of NaN and inf, and of whole numbers in a dict.
    weights : array of shape (n,), optional
        Weights of the clients, finite, >= 0, not all zero; equal by default. Those of rejected clients do not matter.
    workers : int
        Threads, -1 for one a core. The result does not depend on it.
    out : ndarray, list or dict of ndarrays, optional
        Where to write: shape and dtype of one update. An error leaves it as it was.
    return_info : bool
        Also return an `AggregateInfo`, whose gap to the mean takes one more pass over the updates (none where this is
        their plain mean).

    Returns
    -------
    ndarray, list or dict of ndarrays, shaped like one update
        Each array float32 if it is of all clients, else float64; with ``return_info`` a pair (result, info).

    Raises
    ------
    ValueError
        For updates that do not match (the client is named), bad weights, or half or more clients with NaN or inf.
    TypeError
        For a client with complex numbers, objects or strings.

    Examples
    --------
    >>> from fastkd.aggregate import mean
    >>> mean([[1.0, 2.0], [3.0, 6.0]], weights=[3, 1])
    array([1.5, 3. ])
    """
    if weights is None:
        return walk(updates, None, _plain, workers, out, return_info)
    w = _check.as_real(weights, "weights", np.float64)
    return walk(updates, None, lambda u, f, workers: Plan(weights=_shares(w, u)), workers, out, return_info)


def _plain(u: Updates, f: int, workers: int) -> Plan:
    return MEAN


def _shares(w: np.ndarray, u: Updates) -> np.ndarray:
    """Weights of the usable clients, with sum 1."""
    if w.shape != (u.given,):
        raise ValueError(f"weights must be {u.given} numbers, one a client; got shape {w.shape}")
    if u.clients is not None:
        w = w[u.clients]
    bad = np.flatnonzero(~((w >= 0) & np.isfinite(w)))
    if len(bad):
        if not u.screened:  # it does not matter where the client is rejected
            raise Unscreened
        i = bad[0] if u.clients is None else u.clients[bad[0]]
        raise ValueError(f"weights must be finite and >= 0; got {w[bad[0]]} for client {i}")
    if not w.any():
        raise ValueError("weights of the usable clients are all zero")
    w = w / w.max()
    return w / w.sum()


def median(updates: Any, *, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Coordinate-wise median (Yin et al. 2018); the mean of the two middle values for even n.

    (torch.median takes the lower one.)
    Breaks down at half: it stays within the honest values of each coordinate while fewer than n / 2 lie. n <= 65535.
    Parameters, result and errors are those of `mean`.

    Examples
    --------
    >>> from fastkd.aggregate import median
    >>> median([[1.0, 2.0], [3.0, 6.0], [1e9, -1e9]])
    array([3., 2.])
    """
    return walk(updates, None, _middle, workers, out, return_info)


def _middle(u: Updates, f: int, workers: int) -> Plan:
    return by_rank(u.n, (u.n - 1) // 2, u.n // 2 + 1)


def trimmed_mean(updates: Any, f: int, *, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Mean of each coordinate without its f smallest and f largest values (Yin et al. 2018); n > 2f.

    Parameters
    ----------
    updates, workers, out, return_info
        As for `mean`.
    f : int
        Clients that may lie, >= 0.

    Returns
    -------
    As `mean`.

    Raises
    ------
    ValueError
        As `mean`, and for n <= 2f, n > 65535 or more than f clients with NaN or inf.

    Examples
    --------
    >>> from fastkd.aggregate import trimmed_mean
    >>> trimmed_mean([[1.0], [2.0], [3.0], [1e9]], f=1)
    array([2.5])
    """
    return walk(updates, as_count(f, "f"), _trimmed, workers, out, return_info)


def _trimmed(u: Updates, f: int, workers: int) -> Plan:
    require(u, f, u.n > 2 * f, "n > 2f", "trimmed_mean", "Yin et al. 2018")
    return by_rank(u.n, f, u.n - f)


def meamed(updates: Any, f: int, *, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Mean around the median (Xie, Koyejo and Gupta 2018): of each coordinate the n - f values nearest to its median.

    Of two values equally near the lower counts as nearer. n <= 65535.
    Parameters, result and errors are those of `trimmed_mean`.

    Examples
    --------
    >>> from fastkd.aggregate import meamed
    >>> meamed([[1.0], [2.0], [3.0], [1e9]], f=1)
    array([2.])
    """
    return walk(updates, as_count(f, "f"), _around, workers, out, return_info)


def _around(u: Updates, f: int, workers: int) -> Plan:
    require(u, f, u.n > 2 * f, "n > 2f", "meamed", "Xie, Koyejo and Gupta 2018")
    return by_rank(u.n, (u.n - 1) // 2, u.n // 2 + 1, u.n - f)


@functools.lru_cache(maxsize=64)
def by_rank(n: int, lo: int, hi: int, keep: int = 0) -> Plan:
    """Means of ranks lo .. hi - 1 of each column, or of the `keep` values nearest to its median."""
    return Plan(sorter(n, lo, hi, keep))
