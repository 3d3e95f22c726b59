"""Rules that treat each coordinate on its own: mean, median, trimmed mean, mean around the median."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastkd import _check
from fastkd.aggregate.running import as_count, as_workers, combine, enough, finish, order, require, sums, targets
from fastkd.aggregate.updates import Updates, read, without_rejected

__all__ = ["meamed", "mean", "median", "trimmed_mean"]

Ranks = tuple[int, int, int]  # lo, hi and keep, as `order` takes them


def mean(updates: Any, *, weights: Any = None, workers: int = 1, out: Any = None, return_info: bool = False) -> Any:
    """Weighted mean, sum_i w_i x_i / sum_i w_i: no defense, a single client moves it anywhere.

    Parameters
    ----------
    updates : array of shape (n, d), or sequence of n arrays of one shape, or of n lists of layer arrays
        Updates of n clients; see `fastkd.aggregate` on what becomes of NaN and inf.
    weights : array of shape (n,), optional
        Weights of the clients, finite, >= 0, not all zero; equal by default. Those of rejected clients do not matter.
    workers : int
        Threads, -1 for one a core. The result does not depend on it.
    out : ndarray or list of ndarrays, optional
        Where to write: shape and dtype of one update.
    return_info : bool
        Also return an `AggregateInfo`, whose gap to the mean takes one more pass over the updates (none where this is
        their plain mean).

    Returns
    -------
    ndarray or list of ndarrays, shaped like one update
        float32 if all updates are float32, else float64; with ``return_info`` a pair (result, info).

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
    workers = as_workers(workers)
    w = None if weights is None else _check.as_real(weights, "weights", np.float64)
    bad = w is not None and not ((w >= 0) & np.isfinite(w)).all()  # which does not matter where the client is rejected
    look = bad or out is not None  # an error must leave `out` as it was
    u, _ = enough(read(updates, look=look), None)
    gap = 0.0 if weights is None else None
    flat = targets(u, out)
    if not sums(u, _shares(w, u), flat, workers):
        u, _ = enough(without_rejected(u), None)
        combine(u, _shares(w, u), flat, workers)
    return finish(u, flat, out, return_info, workers, gap=gap)


def _shares(w: np.ndarray | None, u: Updates) -> np.ndarray:
    """Weights of the usable clients, with sum 1."""
    if w is None:
        return np.full(u.n, 1 / u.n)
    if w.shape != (u.given,):
        raise ValueError(f"weights must be {u.given} numbers, one a client; got shape {w.shape}")
    w = w[u.clients]
    bad = np.flatnonzero(~((w >= 0) & np.isfinite(w)))
    if len(bad):
        raise ValueError(f"weights must be finite and >= 0; got {w[bad[0]]} for client {u.clients[bad[0]]}")
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
    workers = as_workers(workers)
    u, flat = _by_rank(updates, None, lambda n, _: ((n - 1) // 2, n // 2 + 1, 0), workers, out)
    return finish(u, flat, out, return_info, workers)


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
    workers, f = as_workers(workers), as_count(f, "f")

    def ranks(n: int, f: int) -> Ranks:
        require(n, f, n > 2 * f, "n > 2f", "trimmed_mean", "Yin et al. 2018")
        return f, n - f, 0

    u, flat = _by_rank(updates, f, ranks, workers, out)
    return finish(u, flat, out, return_info, workers)


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
    workers, f = as_workers(workers), as_count(f, "f")

    def ranks(n: int, f: int) -> Ranks:
        require(n, f, n > 2 * f, "n > 2f", "meamed", "Xie, Koyejo and Gupta 2018")
        return (n - 1) // 2, n // 2 + 1, n - f

    u, flat = _by_rank(updates, f, ranks, workers, out)
    return finish(u, flat, out, return_info, workers)


def _by_rank(
    updates: Any, f: int | None, ranks: Callable[[int, int], Ranks], workers: int, out: Any
) -> tuple[Updates, list[np.ndarray]]:
    """The usable updates and what `order` makes of them; `ranks` says which ranks of n values are wanted with f.

    The kernel itself notices NaN and inf, so that most updates are read once; `out` must not be written to before they
    have been looked for, since an error must leave it as it was.
    """
    u, left = enough(read(updates, look=False), f)
    look = out is not None or u.n <= 2 * left
    if look:
        u, left = enough(without_rejected(u), f)
    flat = targets(u, out)
    if not order(u, *ranks(u.n, left), flat, workers) and not look:
        u, left = enough(without_rejected(u), f)
        order(u, *ranks(u.n, left), flat, workers)
    return u, flat
