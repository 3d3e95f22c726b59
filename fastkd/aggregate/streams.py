"""Aggregates of updates that come one by one, in memory for a few vectors: what is not kept need not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastkd import _check
from fastkd.aggregate.read import SINGLE, as_count, read

__all__ = ["Stream"]

BUCKETED = ("median", "trimmed_mean", "meamed", "krum", "multi_krum", "bulyan", "geometric_median")


class Stream:
    """What `fastkd.aggregate.stream` returns.

    Attributes
    ----------
    n : int
        Updates that are in it.
    rejected : int
        Those left out since they held NaN or inf.
    """

    def __init__(self, name: str, rule: Any, options: dict[str, Any]) -> None:
        self.name, self._rule, self._options = name, rule, options
        self._buckets = options.pop("buckets", None)
        self._rng = _check.as_rng(options.pop("random_state", None))
        self._center: np.ndarray | None = None
        if name == "mean":
            _none_of(name, options, "weights")
        elif name == "centered_clipping":
            _none_of(name, options, "iterations")
            self._radius = _check.as_positive(options["radius"], "radius")
            if options.get("center") is not None:
                self._center = _check.as_real(options["center"], "center", np.float64)
                if not np.isfinite(self._center).all():
                    raise ValueError("center must be finite")
        elif self._buckets is None:
            raise ValueError(f"{name} cannot forget updates: give buckets, of whose means it is then taken")
        if self._buckets is not None and name not in BUCKETED:
            raise ValueError(f"{name} takes no buckets: it streams by itself; with them go {', '.join(BUCKETED)}")
        self._sums = [np.zeros(0)] * (1 if self._buckets is None else as_count(self._buckets, "buckets", 1))
        self._counts = np.zeros(len(self._sums), np.int64)
        self._shares = 0.0  # of clipping: sum of what part of each difference was taken
        self._shape: tuple[int, ...] | None = None
        self._single = True
        self.rejected = 0

    @property
    def n(self) -> int:
        return int(self._counts.sum())

    def add(self, update: Any) -> Stream:
        """Takes an array of the shape of the others; one with NaN or inf is counted, and left out. Returns itself."""
        u = read([update])
        if u.form.several:
            raise TypeError("a stream takes one array a client; join layers into one, or keep a stream for each")
        shape = u.form.shapes[0] if u.form.shapes is not None else (u.tables[0].d,)
        if self._shape is None:
            if self._center is not None and self._center.shape != shape:
                raise ValueError(f"center must have the shape of an update, {shape}; got {self._center.shape}")
            self._shape = shape
        if shape != self._shape:
            raise ValueError(f"update {self.n + self.rejected} has shape {shape}; the first one {self._shape}")
        if u.tables[0].not_finite():
            self.rejected += 1
            return self
        self._single = self._single and u.tables[0].single
        row = u.tables[0].row(0)
        k = 0 if self._buckets is None else int(self._rng.integers(len(self._sums)))
        if not self._sums[k].size:
            self._sums[k] = np.zeros(len(row))
        with np.errstate(over="ignore"):
            if self.name == "centered_clipping":
                share = self._share(row)
                self._sums[k] += share * row
                self._shares += share
            else:
                self._sums[k] += row
        self._counts[k] += 1
        return self

    def _share(self, row: np.ndarray) -> float:
        """min(1, radius / |row - center|), also where squares overflow."""
        apart = row.astype(np.float64) if self._center is None else row - self._center.reshape(-1)
        top = float(np.abs(apart).max())
        if top == 0:
            return 1.0
        if not math.isfinite(top):  # a difference beyond the largest number: less than the smallest share of it
            return 0.0
        length = top * float(np.linalg.norm(apart / top))
        return min(1.0, self._radius / length)

    def merge(self, other: Stream) -> Stream:
        """Takes all that another stream of the same rule and parameters has taken. Returns itself."""
        if not isinstance(other, Stream) or (other.name, len(other._sums)) != (self.name, len(self._sums)):
            raise ValueError(f"only streams of the same rule and buckets can be merged; this is one of {self.name}")
        if not _same(self._options, other._options):
            raise ValueError(f"only streams with the same parameters can be merged; got {other._options}")
        if None not in (self._shape, other._shape) and self._shape != other._shape:
            raise ValueError(f"a stream of shape {other._shape} cannot be merged into one of {self._shape}")
        self._shape = other._shape if self._shape is None else self._shape
        for k, sums in enumerate(other._sums):
            if sums.size:
                self._sums[k] = self._sums[k] + sums if self._sums[k].size else sums.copy()
        self._counts += other._counts
        self._shares += other._shares
        self._single = self._single and other._single
        self.rejected += other.rejected
        return self

    def result(self) -> Any:
        """The aggregate of what has been taken, of the shape of an update; more may follow."""
        n, r = self.n, self.rejected
        if n == 0 or ("f" not in self._options and 2 * r >= n + r):
            raise ValueError(f"{r} of {n + r} updates held NaN or inf: too few are left")
        dtype = SINGLE if self._single else np.dtype(np.float64)
        means = [sums / count for sums, count in zip(self._sums, self._counts) if count]
        if self.name == "centered_clipping" and self._center is not None:
            means[0] = self._center.reshape(-1) * (1 - self._shares / n) + means[0]
        if self._buckets is not None:
            options = dict(self._options)
            if "f" in options:
                options["f"] = as_count(options["f"], "f") - r
                if options["f"] < 0:
                    raise ValueError(f"{r} of {n + r} updates held NaN or inf; f={self._options['f']} allows fewer")
            means[0] = self._rule(np.array(means), **options)
        if not np.isfinite(means[0]).all():
            raise ValueError("sums of the updates overflow: scale them down")
        return means[0].astype(dtype).reshape(self._shape)


def _none_of(name: str, options: dict[str, Any], what: str) -> None:
    if options.get(what) is not None:
        raise ValueError(f"a stream of {name} takes no {what}: it sees each update once, and all alike")


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
