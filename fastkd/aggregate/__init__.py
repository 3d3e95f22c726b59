"""Aggregation of updates from clients that may lie.

`updates` are an (n, d) array, a sequence or iterator of n arrays of one shape, of n lists of layer arrays, or of n
dicts of arrays (state_dicts); they are read in place (rows whose entries are not adjacent, and other types than float32
and float64, are copied). A result has the shape of one update, each of its arrays float32 if it is float32 (or a
bfloat16 tensor) of all clients and float64 otherwise, and never shares memory with an update. Entries of dicts that
hold whole numbers, as counters do, are left out of the rule and taken from the first usable client.

An update with NaN or inf is rejected before the rule runs: it is left out and counts against f, so that the rule runs
on the other n - r with f - r. More than f rejected raise ValueError; for rules without f, half or more do. Huge finite
values are legal and do not win: where distances overflow between the updates of the many, they are taken in another
unit. Order statistics (median, trimmed_mean, meamed, bulyan) serve up to 65535 clients.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from fastkd.aggregate.blocks import Blocks
from fastkd.aggregate.by_coordinate import meamed, mean, median, trimmed_mean
from fastkd.aggregate.by_distance import bulyan, krum, krum_scores, multi_krum, pairwise_sq_distances
from fastkd.aggregate.centers import centered_clipping, geometric_median
from fastkd.aggregate.choose import krum_choice
from fastkd.aggregate.finish import AggregateInfo
from fastkd.aggregate.mixing import bucketing, nearest_neighbor_mixing
from fastkd.aggregate.streams import Stream

__all__ = [
    "AggregateInfo",
    "Stream",
    "bucketing",
    "bulyan",
    "by_blocks",
    "centered_clipping",
    "geometric_median",
    "get",
    "krum",
    "krum_aggregate",
    "krum_choice",
    "krum_scores",
    "meamed",
    "mean",
    "median",
    "median_aggregate",
    "multi_krum",
    "nearest_neighbor_mixing",
    "pairwise_sq_distances",
    "stream",
    "trimmed_mean",
    "trimmed_mean_aggregate",
]

krum_aggregate = krum
trimmed_mean_aggregate = trimmed_mean
median_aggregate = median

_RULES: dict[str, Callable[..., Any]] = {
    rule.__name__: rule
    for rule in (mean, median, trimmed_mean, meamed, krum, multi_krum, bulyan, geometric_median, centered_clipping)
}
_BY_BLOCKS = _RULES | {"krum_scores": krum_scores, "pairwise_sq_distances": pairwise_sq_distances}


def get(name: str, **parameters: Any) -> Callable[..., Any]:
    """The rule of that name with those parameters set, as configuration files and federations want it.

    Parameters
    ----------
    name : str
        mean, median, trimmed_mean, meamed, krum, multi_krum, bulyan, geometric_median or centered_clipping.
    **parameters
        Arguments of the rule but `updates`; those it requires and are not given here are given at the call.

    Returns
    -------
    callable
        Takes `updates` and further arguments of the rule.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For a parameter that the rule does not take.

    Examples
    --------
    >>> from fastkd.aggregate import get
    >>> get("trimmed_mean", f=1)([[1.0], [2.0], [9.0]])
    array([2.])
    """
    if name not in _RULES:
        raise ValueError(f"unknown rule {name!r}; known are {', '.join(sorted(_RULES))}")
    rule = _RULES[name]
    _require_known(name, rule, parameters)
    return functools.partial(rule, **parameters)


def by_blocks(name: str, blocks: Callable[[], Iterable[Any]], **parameters: Any) -> Any:
    """A rule over updates that do not fit in memory, or that several processes share: they come as blocks of columns.

    Order statistics and means treat columns one by one, squared distances add. So the result has the same bits as one
    call with the whole, while no more than a block of each is held. Rules of distances (krum, multi_krum, bulyan,
    geometric_median, centered_clipping) walk the blocks twice, others once; once more each where a client is found to
    have sent NaN or inf, and where distances taken quickly leave a choice open. Processes with a part of the columns
    each take one rule by coordinate each, or sum their "pairwise_sq_distances" and choose by `krum_choice`.

    Parameters
    ----------
    name : str
        A rule that `get` knows, "pairwise_sq_distances" or "krum_scores".
    blocks : callable
        Called without arguments for each walk, returns an iterable of blocks: arrays (n, d_i) of the same n clients
        and type, or n vectors; of files, memory maps or whatever makes them. Any d_i will do.
    **parameters
        Arguments of the rule. `workers` share the columns of a block.

    Returns
    -------
    As the rule: for most a vector of all columns.

    Raises
    ------
    ValueError
        As the rule; for an unknown name, no block, blocks that do not match (named), or other columns on a later walk.
    TypeError
        For blocks that are no function, or a parameter that the rule does not take.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd import aggregate
    >>> X = np.array([[1.0, 5.0, 2.0], [2.0, 6.0, 1.0], [9.0, -7.0, 3.0]])
    >>> aggregate.by_blocks("median", lambda: (X[:, c : c + 2] for c in range(0, 3, 2)))
    array([2., 5., 2.])
    """
    if name in ("nearest_neighbor_mixing", "bucketing"):
        raise ValueError(f"{name} gives about as many updates as it takes, which blocks would not spare: not by_blocks")
    if name not in _BY_BLOCKS:
        raise ValueError(f"unknown rule {name!r}; known are {', '.join(sorted(_BY_BLOCKS))}")
    rule = _BY_BLOCKS[name]
    _require_known(name, rule, parameters)
    return rule(Blocks(blocks), **parameters)


def _require_known(name: str, rule: Callable[..., Any], parameters: dict[str, Any]) -> None:
    known = set(inspect.signature(rule).parameters) - {"updates"}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TypeError(f"{name} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}")


def stream(name: str, *, buckets: int | None = None, random_state: Any = None, **parameters: Any) -> Stream:
    """An aggregate of updates that come one by one, in memory for one vector, or for `buckets` of them.

    "mean" is exact, up to the order of additions. "centered_clipping" (of one iteration, around a center that is there
    before: the aggregate of the last round) is robust in the memory of a mean. Other rules are taken of the means of
    buckets, into which updates are drawn at random: no defense by itself, since f liars spoil up to f buckets, so that
    there must be more than twice (with Krum's rules, 2f + 3; Bulyan's, 4f + 3) as many.

    Parameters
    ----------
    name : str
        mean, centered_clipping; with buckets median, trimmed_mean, meamed, krum, multi_krum, bulyan, geometric_median.
    buckets : int, optional
        How many buckets. f counts buckets, and each rejected update as one.
    random_state : None, int or Generator, optional
        Draws the buckets; liars should not foresee it.
    **parameters
        Arguments of the rule but `updates`, `out`, `workers` and `return_info`; radius and center of clipping.

    Returns
    -------
    Stream
        ``add(update)``, ``merge(other)`` (of another process, say), ``result()``; ``n``, ``rejected``.

    Raises
    ------
    ValueError
        For a rule that cannot stream, missing buckets, or bad parameters. `result` raises where half of the updates or
        more (for rules with f: more than f) held NaN or inf.
    TypeError
        For a parameter that the rule does not take, or lacks.

    Examples
    --------
    >>> from fastkd import aggregate
    >>> site, other = aggregate.stream("mean"), aggregate.stream("mean")
    >>> site.add([1.0, 2.0]).add([3.0, 4.0]).merge(other.add([5.0, 9.0])).result()
    array([3., 5.])
    """
    if name not in _RULES:
        raise ValueError(f"unknown rule {name!r}; known are {', '.join(sorted(_RULES))}")
    _require_known(name, _RULES[name], parameters)
    if given := sorted({"out", "workers", "return_info"} & set(parameters)):
        raise TypeError(f"a stream takes no {', '.join(given)}")
    inspect.signature(_RULES[name]).bind(None, **parameters)  # what the rule requires must be there
    return Stream(name, _RULES[name], {**parameters, "buckets": buckets, "random_state": random_state})
