"""What all rules share: checks, blocks of columns, results and what is told about them."""

from __future__ import annotations

import functools
import math
import numbers
import os
from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core import _native
from fastkd.aggregate.info import AggregateInfo
from fastkd.aggregate.sorting import comparators
from fastkd.aggregate.updates import COLUMNS, Updates, read, share_columns, share_groups

THREADS_FROM = 1 << 24  # differences (n n d), here half a millisecond of work: fewer are over before threads have begun
Flat = list[np.ndarray]  # a result, one flat array a layer


def as_count(value: Any, name: str, low: int = 0) -> int:
    if type(value) is not int and (not isinstance(value, numbers.Integral) or isinstance(value, bool)):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be >= {low}; got {value}")
    return int(value)


def as_workers(value: Any) -> int:
    """Threads to share the work; -1 is one a core."""
    n = as_count(value, "workers", -1)
    if n == 0:
        raise ValueError("workers must be >= 1, or -1 for all cores; got 0")
    return os.cpu_count() or 1 if n == -1 else n


def usable(updates: Any, f: int | None = None) -> tuple[Updates, int]:
    """The finite updates, and the f that is left for them; an error names the rejected where they are too many."""
    return enough(read(updates), f)


def enough(u: Updates, f: int | None) -> tuple[Updates, int]:
    """The same for updates that have been looked through."""
    n, r = u.given, len(u.rejected)
    if r:
        some = ", ".join(map(str, u.rejected[:10])) + (" ..." if r > 10 else "")
        if r == n:
            raise ValueError(f"all {n} updates hold NaN or inf (clients {some}): none is left")
        if f is not None and r > f:
            raise ValueError(f"{r} of {n} updates hold NaN or inf (clients {some}); f={f} allows {f}")
        if f is None and 2 * r >= n:
            raise ValueError(f"{r} of {n} updates hold NaN or inf (clients {some}): half or more are unusable")
    return u, 0 if f is None else f - r


def require(n: int, f: int, ok: bool, bound: str, rule: str, source: str) -> None:
    if not ok:
        raise ValueError(f"{rule} needs {bound} ({source}); got n={n}, f={f}")


def targets(u: Updates, out: Any) -> Flat:
    """Flat arrays to write to: those of `out` where it is safe, else new ones."""
    if out is None:
        return u.empty()
    outs = list(out) if u.listed and isinstance(out, list | tuple) else [out]
    if len(outs) != len(u.shapes):
        raise ValueError(f"out must be a list of {len(u.shapes)} arrays, like one update; got {type(out).__name__}")
    for a, shape in zip(outs, u.shapes):
        _check.require_out(a, shape, u.dtype)
    if any(u.shares_memory(a) for a in outs):
        return u.empty()
    return [a.reshape(-1) for a in outs]


def finish(
    u: Updates,
    flat: Flat,
    out: Any,
    return_info: bool,
    workers: int,
    selected: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    gap: float | None = None,
) -> Any:
    """The result in its shape, with an `AggregateInfo` if wanted; its gap to the mean is computed unless given."""
    if out is None:
        result = u.shaped(flat)
    else:
        result = out
        for a, b in zip(out if u.listed else [out], flat):
            if not np.may_share_memory(a, b):
                a[...] = b.reshape(a.shape)
    if not return_info:
        return result
    chosen = u.clients if selected is None else u.clients[selected]
    if scores is not None and len(u.rejected):
        every = np.full(u.given, np.nan)
        every[u.clients] = scores
        scores = every
    gap = gap_to_mean(u, flat, workers) if gap is None else gap
    return result, AggregateInfo(chosen.copy(), scores, u.rejected, gap)


def sums(u: Updates, weights: np.ndarray, flat: Flat, workers: int) -> bool:
    """sum_i weights[i] * update i into `flat`; whether it is finite, as it never is where an update is not."""
    for table, to in zip(u.layers, flat):
        share_columns(table.d, workers, functools.partial(table.combine, weights, to))
    return not any(_native.Rows([to]).not_finite() for to in flat)


def combine(u: Updates, weights: np.ndarray, flat: Flat, workers: int) -> Flat:
    """The same for finite updates and weights with sum 1, finite."""
    if not sums(u, weights, flat, workers):  # the last bits of weights may carry the largest numbers over the end
        limit = np.finfo(u.dtype).max
        for to in flat:
            np.clip(to, -limit, limit, out=to)
    return flat


def order(u: Updates, lo: int, hi: int, keep: int, flat: Flat, workers: int) -> bool:
    """Means of ranks lo .. hi - 1 of each column, or of the `keep` values nearest to its median.

    False where the updates may hold NaN or inf; then `flat` is to be trusted only if they do not.
    """
    network = comparators(u.n, lo, hi, bool(keep))
    finite = []
    for table, to in zip(u.layers, flat):

        def columns(c0: int, c1: int, table: _native.Rows = table, to: np.ndarray = to) -> None:
            finite.append(table.order(*network, lo, hi, keep, to, c0, c1))

        share_columns(table.d, workers, columns)
    return all(finite)


def sq_distances(u: Updates, workers: int, *, rough: bool = False, rows: int | None = None) -> np.ndarray:
    """|update i - update j|^2, (n, n) float64; inf where it overflows. Of the first `rows` only, or of all.

    Rough distances of float32 updates are summed in float32, see csrc/distances.inc.h.
    """
    return sq_distances_and_largest(u, workers, rough, rows)[0]


def sq_distances_and_largest(
    u: Updates, workers: int, rough: bool, rows: int | None = None
) -> tuple[np.ndarray, float]:
    """The same and the largest of them, inf if one is NaN."""
    n = u.n
    out = np.zeros((n, n))
    for table in u.layers:
        small = n * n * table.d < THREADS_FROM
        if rows is None and (small or workers == 1):
            table.add_sq_distances(out, 0, 1, rough)
            continue

        def groups(first: int, step: int, table: _native.Rows = table) -> None:
            if rows is None:
                table.add_sq_distances(out, first, step, rough)
            else:  # group by group: no step leads to another one
                for group in range(first, -(-rows // 4), step):
                    table.add_sq_distances(out, group, n, rough)

        share_groups(1 if small else min(workers, -(-n // 4)), groups)
    return out, _native.mirror(out)


def gap_to_mean(u: Updates, flat: Flat, workers: int) -> float:
    """|flat - mean of the updates|, also where squares overflow; no array of the size of an update is made for it."""
    weights = np.full(u.n, 1 / u.n)

    def squares(scale: float, table: _native.Rows, at: np.ndarray) -> float:
        blocks = [0.0] * -(-table.d // COLUMNS)  # added in one order, whatever worker takes which columns

        def columns(c0: int, c1: int) -> None:
            for c in range(c0, c1, COLUMNS):
                blocks[c // COLUMNS] = table.gap(weights, at, scale, c, min(c + COLUMNS, c1))

        share_columns(table.d, workers, columns)
        return sum(blocks)

    for scale in (1.0, 2.0**-540):  # squares of the second one cannot overflow
        total = sum(squares(scale, table, at) for table, at in zip(u.layers, flat))
        if math.isfinite(total):
            break
    return math.sqrt(total) / scale
