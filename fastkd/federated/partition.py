"""Who holds which rows: equal shares, unequal class mixes, symbols, periods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd._check import as_rng, to_array
from fastkd.models._hyperparameters import integer, real

__all__ = ["partition"]

Parts = list[NDArray[np.int64]]


def partition(
    y: Any,
    n_clients: int,
    *,
    how: str = "iid",
    alpha: float = 0.5,
    shards_per_client: int = 2,
    groups: Any = None,
    times: Any = None,
    random_state: Any = None,
) -> Parts:
    """Deal the rows of a data set out to clients.

    Parameters
    ----------
    y : (n,)
        Labels; only their number matters for "iid" and "time".
    n_clients : int
        Number of parts.
    how : {"iid", "dirichlet", "label", "group", "time"}
        * "iid": at random, parts of equal size (up to one row);
        * "dirichlet": the rows of each class are divided in proportions drawn from Dirichlet(alpha, ..., alpha)
          (Hsu, Qi and Brown 2019); small `alpha` gives clients with few classes;
        * "label": rows sorted by label and cut into n_clients * shards_per_client shards, which are dealt out at
          random (McMahan et al. 2017);
        * "group": no client holds rows of two groups, such as symbols. With k clients a group, each gets one of k
          consecutive periods of it;
        * "time": consecutive periods of equal length (in rows).
    alpha : float
        > 0, for "dirichlet".
    shards_per_client : int
        For "label"; 1 leaves most clients with one class.
    groups : (n,), for "group"
        Name of each row's group; `n_clients` must be a multiple of the number of groups.
    times : (n,), optional, for "time" and "group"
        Sort key of the rows; without it they are taken to be in time order.
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    list of numpy.ndarray of int64
        Row numbers of each client, ascending. Every row belongs to exactly one client, and no client is empty.

    Raises
    ------
    ValueError
        Fewer rows than clients, arguments that do not fit each other or are out of range.

    Examples
    --------
    >>> partition([0, 0, 1, 1, 2, 2], 3, how="time")
    [array([0, 1]), array([2, 3]), array([4, 5])]
    >>> [len(rows) for rows in partition([0, 1] * 50, 4, how="dirichlet", alpha=0.3, random_state=0)]
    [43, 29, 9, 19]
    """
    labels = to_array(y, "y")
    if labels.ndim != 1:
        raise ValueError(f"y must have one dimension, one label a row; got shape {labels.shape}")
    integer("n_clients", n_clients, low=1)
    if len(labels) < n_clients:
        raise ValueError(f"{len(labels)} rows cannot go to {n_clients} clients: every client needs at least one")
    if how not in _METHODS:
        raise ValueError(f"how must be one of {tuple(_METHODS)}; got {how!r}")
    for name, value, methods in (("groups", groups, ("group",)), ("times", times, ("group", "time"))):
        if value is not None and how not in methods:
            raise ValueError(f"{name} has no meaning with how={how!r}; use how={methods[0]!r} or leave it out")
    rng = as_rng(random_state)
    options = {"alpha": alpha, "shards_per_client": shards_per_client, "groups": groups, "times": times}
    return [np.sort(rows).astype(np.int64) for rows in _METHODS[how](labels, int(n_clients), rng, options)]


def _iid(y: np.ndarray, n_clients: int, rng: np.random.Generator, options: dict[str, Any]) -> Parts:
    return np.array_split(rng.permutation(len(y)), n_clients)


def _dirichlet(y: np.ndarray, n_clients: int, rng: np.random.Generator, options: dict[str, Any]) -> Parts:
    alpha = real("alpha", options["alpha"], low=0.0, low_open=True)
    pieces: list[list[np.ndarray]] = [[] for _ in range(n_clients)]
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        shares = rng.gamma(alpha, size=n_clients)  # normalized, a Dirichlet draw; all may underflow to 0
        shares = shares / shares.sum() if shares.sum() > 0.0 else np.eye(n_clients)[rng.integers(n_clients)]
        cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for piece, part in zip(pieces, np.split(rows, cuts)):
            piece.append(part)
    parts = [np.concatenate(piece) for piece in pieces]
    for k in range(n_clients):  # a client left without rows gets one from the largest
        if len(parts[k]) == 0:
            largest = max(range(n_clients), key=lambda i: len(parts[i]))
            parts[largest], parts[k] = parts[largest][:-1], parts[largest][-1:]
    return parts


def _label(y: np.ndarray, n_clients: int, rng: np.random.Generator, options: dict[str, Any]) -> Parts:
    per_client = options["shards_per_client"]
    integer("shards_per_client", per_client, low=1)
    n_shards = n_clients * per_client
    if len(y) < n_shards:
        raise ValueError(f"{len(y)} rows do not fill {n_clients} * {per_client} shards; lower shards_per_client")
    shuffled = rng.permutation(len(y))  # so that a shard is no period of its class
    shards = np.array_split(shuffled[np.argsort(y[shuffled], kind="stable")], n_shards)
    order = rng.permutation(n_shards).reshape(n_clients, per_client)
    return [np.concatenate([shards[s] for s in own]) for own in order]


def _group(y: np.ndarray, n_clients: int, rng: np.random.Generator, options: dict[str, Any]) -> Parts:
    if options["groups"] is None:
        raise ValueError('how="group" needs groups=, the group (such as the symbol) of each row')
    groups = to_array(options["groups"], "groups")
    if groups.shape != y.shape:
        raise ValueError(f"groups must have shape {y.shape}, one entry a row; got {groups.shape}")
    order = _time_order(y, options["times"])
    names = np.unique(groups)
    if n_clients % len(names):
        raise ValueError(f"n_clients must be a multiple of the {len(names)} groups; got {n_clients}")
    per_group = n_clients // len(names)
    parts: Parts = []
    for name in names:
        rows = order[groups[order] == name]
        if len(rows) < per_group:
            raise ValueError(f"group {name!s} has {len(rows)} rows, too few for {per_group} clients")
        parts += np.array_split(rows, per_group)
    return parts


def _time(y: np.ndarray, n_clients: int, rng: np.random.Generator, options: dict[str, Any]) -> Parts:
    return np.array_split(_time_order(y, options["times"]), n_clients)


def _time_order(y: np.ndarray, times: Any) -> np.ndarray:
    if times is None:
        return np.arange(len(y))
    keys = to_array(times, "times")
    if keys.shape != y.shape:
        raise ValueError(f"times must have shape {y.shape}, one entry a row; got {keys.shape}")
    return np.argsort(keys, kind="stable")


_METHODS: dict[str, Callable[[np.ndarray, int, np.random.Generator, dict[str, Any]], Parts]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
    "label": _label,
    "group": _group,
    "time": _time,
}
