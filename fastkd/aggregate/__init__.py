"""Aggregation of updates from clients that may lie.

`updates` are an (n, d) array, a sequence or iterator of n arrays of one shape, or of n lists of layer arrays; they are
read in place (rows whose entries are not adjacent, and other types than float32 and float64, are copied). A result has
the shape of one update, float32 if all updates are float32 (or bfloat16 tensors) and float64 otherwise, and never
shares memory with an update.

An update with NaN or inf is rejected before the rule runs: it is left out and counts against f, so that the rule runs
on the other n - r with f - r. More than f rejected raise ValueError; for rules without f, half or more do. Huge finite
values are legal and do not win: where distances overflow between the updates of the many, they are taken in another
unit. Order statistics (median, trimmed_mean, meamed, bulyan) serve up to 65535 clients.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastkd.aggregate.by_coordinate import meamed, mean, median, trimmed_mean
from fastkd.aggregate.by_distance import bulyan, krum, krum_scores, multi_krum, pairwise_sq_distances
from fastkd.aggregate.centers import centered_clipping, geometric_median
from fastkd.aggregate.choose import krum_choice
from fastkd.aggregate.finish import AggregateInfo
from fastkd.aggregate.mixing import bucketing, nearest_neighbor_mixing

__all__ = [
    "AggregateInfo",
    "bucketing",
    "bulyan",
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
    known = set(inspect.signature(rule).parameters) - {"updates"}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TypeError(f"{name} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    return functools.partial(rule, **parameters)
