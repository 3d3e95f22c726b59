"""From the updates of a round to one: unusable ones out, pre-aggregation, the rule, and who was chosen."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd import aggregate
from fastkd.aggregate import running
from fastkd.aggregate.updates import read
from fastkd.federated.checkpoint import stable

__all__ = ["Aggregation", "Outcome", "parameters_of"]

Spec = str | tuple[str, Mapping[str, Any]] | Callable[..., Any]
PRE = ("bucketing", "nearest_neighbor_mixing")


@dataclass(frozen=True, eq=False)
class Outcome:
    """The aggregate (d,), rows that the rule chose (None: it works by coordinates), and the distance to the mean."""

    vector: np.ndarray
    selected: np.ndarray | None
    gap_to_mean: float


class Aggregation:
    """A rule of `fastkd.aggregate` or a callable, with the f it defends against and what goes before it."""

    def __init__(self, rule: Spec, f: int, pre: Spec | None, workers: int) -> None:
        self.f, self.workers = f, workers
        self.rule, self.options = _named(rule, "aggregator")
        if isinstance(rule, functools.partial):  # as `aggregate.get` makes them, perhaps with an f
            self.f = self.options.pop("f", f)
            if f not in (0, self.f):
                raise ValueError(f"the aggregator was made for f={self.f} and the federation for f={f}; give one f")
        self.pre: Any = None
        self.pre_options: dict[str, Any] = {}
        if pre is not None:
            self.pre, self.pre_options = _named(pre, "pre")
        if isinstance(self.pre, str) and self.pre not in PRE:
            raise ValueError(f"pre must be one of {PRE} or a callable; got {self.pre!r}")
        if "f" in self.options or "f" in self.pre_options:
            raise ValueError("give f as the argument f of the federation, not among the options of a rule")
        if self.pre == "bucketing":
            self.pre_options.setdefault("size", 2)
        self._accepts = parameters_of(self.rule)
        if isinstance(self.rule, str):
            aggregate.get(self.rule, **self.options, **self._own_f(self.f))  # unknown names and options fail here

    def describe(self) -> dict[str, Any]:
        """What decides the result, for comparison with a checkpoint."""
        return {
            "aggregator": [stable(self.rule), stable(self.options)],
            "pre": [stable(self.pre), stable(self.pre_options)],
            "f": self.f,
        }

    def _own_f(self, f: int) -> dict[str, int]:
        return {"f": f} if "f" in self._accepts and isinstance(self.rule, str) else {}

    def require_fits(self, n: int) -> None:
        """Errors about n updates for which the rule lacks an option, or which are too few for f."""
        if isinstance(self.rule, str) and (self.pre is None or isinstance(self.pre, str)):
            width = np.size(self.options.get("center", 0.0))
            try:
                self(np.zeros((n, width)), 0, None, np.random.default_rng(0))
            except TypeError as error:  # a required option is not there
                raise TypeError(f"aggregator {self.rule!r}: {error}; give (name, options)") from None
            except ValueError as error:
                raise ValueError(f"aggregator {self.rule!r} with {n} clients a round: {error}") from None

    def check_rejected(self, n: int, rejected: Mapping[str, str]) -> None:
        """More unusable updates than the rule may meet: an error that names the clients."""
        r = len(rejected)
        by_f = bool(self._own_f(self.f)) or self.pre == "nearest_neighbor_mixing"
        if r == n or (r > self.f if by_f else 2 * r >= n and r > 0):
            bound = f"f={self.f} allows {self.f}" if by_f else "fewer than half may be"
            listed = "; ".join(f"{name}: {why}" for name, why in rejected.items())
            raise ValueError(f"{r} of {n} updates are unusable, {bound} ({listed})")

    def __call__(
        self,
        updates: Sequence[np.ndarray] | np.ndarray,
        n_rejected: int,
        last: np.ndarray | None,
        rng: np.random.Generator,
    ) -> Outcome:
        """Aggregate n finite updates, read in place; `n_rejected` others were left out, and count against f."""
        dtype, shape = updates[0].dtype, updates[0].shape
        f = max(self.f - n_rejected, 0)
        mixed, members = self._mix(updates, f, rng)
        options = {**self.options, **self._own_f(f)}
        if "center" in self._accepts and "center" not in options and last is not None:
            options["center"] = last  # centered clipping: around the aggregate of the round before
        rule = aggregate.get(self.rule, **options) if isinstance(self.rule, str) else self.rule
        extra: dict[str, Any] = {"return_info": True} if "return_info" in self._accepts else {}
        if "workers" in self._accepts:
            extra["workers"] = self.workers
        answer = rule(mixed if isinstance(self.rule, str) else np.asarray(mixed), **extra)
        vector, info = answer if extra.get("return_info") else (answer, None)
        vector = np.asarray(vector, dtype)
        if vector.shape != shape:
            raise ValueError(f"the aggregator must return shape {shape}; it returned {vector.shape}")
        if mixed is updates and isinstance(info, aggregate.AggregateInfo):
            gap = info.gap_to_mean
        else:
            u = read(updates, look=False)
            flat = np.ascontiguousarray(vector.ravel(), u.dtype)
            gap = running.gap_to_mean(u, [flat], running.as_workers(self.workers))
        selected = _selected(info, len(mixed))
        if selected is not None:
            selected = None if members is None else np.unique(np.concatenate([members[k] for k in selected]))
        return Outcome(vector, selected, gap)

    def _mix(
        self, updates: Sequence[np.ndarray] | np.ndarray, f: int, rng: np.random.Generator
    ) -> tuple[Any, list[np.ndarray] | None]:
        """Pre-aggregated updates, and which updates each of them stands for."""
        each = [np.array([k]) for k in range(len(updates))]
        if self.pre is None:
            return updates, each
        if self.pre == "nearest_neighbor_mixing":
            return aggregate.nearest_neighbor_mixing(updates, f, **{"workers": self.workers, **self.pre_options}), each
        if self.pre == "bucketing":  # the buckets must be unknown to attackers, so they are drawn anew every round
            order, size = rng.permutation(len(updates)), int(self.pre_options["size"])
            mixed = aggregate.bucketing([updates[k] for k in order], **{"workers": self.workers, **self.pre_options})
            return mixed, [order[k : k + size] for k in range(0, len(order), size)]
        return np.asarray(self.pre(np.asarray(updates)), updates[0].dtype), None


def _named(spec: Any, what: str) -> tuple[Any, dict[str, Any]]:
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], str) and isinstance(spec[1], Mapping):
        return spec[0], dict(spec[1])
    if what == "aggregator" and isinstance(spec, functools.partial) and not spec.args and _is_ours(spec.func):
        return spec.func.__name__, dict(spec.keywords)
    if isinstance(spec, str) or callable(spec):
        return spec, {}
    raise TypeError(f"{what} must be a name, a pair (name, options) or a callable; got {spec!r}")


def _is_ours(function: Any) -> bool:
    return getattr(aggregate, getattr(function, "__name__", ""), None) is function


def parameters_of(rule: Any) -> set[str]:
    """Names of the arguments a rule takes; none for a callable that does not tell."""
    function = getattr(aggregate, rule, None) if isinstance(rule, str) else rule
    try:
        return set(inspect.signature(function).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return set()


def _selected(info: Any, n: int) -> np.ndarray | None:
    """Rows that the rule chose among n, or None if it did not choose."""
    selected = getattr(info, "selected", None)
    if selected is None:
        return None
    rows = np.asarray(selected, dtype=np.int64).ravel()
    return rows if len(rows) < n else None
