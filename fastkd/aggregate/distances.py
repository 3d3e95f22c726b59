"""Squared distances between updates: quick ones, exact ones, and those for which float64 has no squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastkd._core import _native
from fastkd._core._native import Rows
from fastkd.aggregate.read import Unscreened, Updates
from fastkd.aggregate.threads import share

__all__ = ["EXACT", "NEAR", "ROUGH", "Distances", "scaled_sq_distances", "sq_distances", "sq_distances_in_unit"]

EXACT, NEAR, ROUGH = 0, 1, 2  # same bits everywhere; in double, but fused; in the precision of the updates
THREADS_FROM = 1 << 24  # differences (n n d), here half a millisecond of work: fewer are over before threads have begun
SMALLER, LARGER = 2.0**-540, 2.0**540  # times which the largest numbers, and the smallest, have squares
SMALL, LARGE = 1e-280, 1e280  # squares beyond lose digits, or their sums overflow
BLOCK = 4096  # columns scaled at a time
# absolute error of a column where squares are subnormal, which this thread's processor may take for 0
TINY_SINGLE, TINY_DOUBLE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny)


class Distances(NamedTuple):
    """|update i - update j|^2, (n, n) float64, inf where it overflows.

    `largest` is inf if one of them is NaN. Rough ones are within a share `slack` of themselves, or `tiny` off.
    `doubles`: some updates are float64, so that squares may overflow or underflow.
    """

    D: np.ndarray
    largest: float
    slack: float
    tiny: float
    doubles: bool


def sq_distances(u: Updates, workers: int, kind: int = EXACT, rows: int | None = None) -> Distances:
    """Distances between updates; of the first `rows` to all, or of all. csrc/fastkd_kernels.h: how exact they are."""
    n = u.n
    D = np.zeros((n, n))
    singles = doubles = False
    tiny = 0.0
    for table in u.tables:
        _add(table, D, workers, kind, rows)
        singles, doubles = singles or table.single, doubles or not table.single
        tiny += table.d * (TINY_SINGLE if table.single and kind == ROUGH else TINY_DOUBLE)
    slack = 0.0 if kind == EXACT else 1e-5 if kind == ROUGH and singles else 1e-9
    return Distances(D, _native.mirror(D), slack, tiny, doubles)


def _add(table: Rows, D: np.ndarray, workers: int, kind: int, rows: int | None) -> None:
    n = table.n
    groups = -(-n // 4)
    if rows is None and workers > 1 and n * n * table.d >= THREADS_FROM:
        step = min(workers, groups)
        share(step, step, lambda first: table.add_sq_distances(D, first, step, kind))
    elif rows is None:
        table.add_sq_distances(D, 0, 1, kind)
    else:  # group by group
        share(-(-rows // 4), workers, lambda group: table.add_sq_distances(D, group, groups, kind))


def sq_distances_in_unit(u: Updates, workers: int) -> tuple[np.ndarray, float]:
    """(squared distances of updates times s, s); s is a power of two, 1 unless squares overflow or underflow.

    s serves the median update's distance to its (n // 2)-th neighbor, which less than half of the clients cannot carry
    beyond the honest ones': distances that overflow in this unit lose against those, and others are told apart.
    """
    exact = sq_distances(u, workers)
    if not u.screened and exact.largest == np.inf:
        raise Unscreened
    D = exact.D
    if not exact.doubles or u.n == 1:  # squares of float32 are within float64
        return D, 1.0
    typical = _typical(D)
    if SMALL <= typical <= LARGE:
        return D, 1.0
    scale = LARGER if typical < SMALL else SMALLER
    scaled = scaled_sq_distances(u.tables, u.n, scale, D)
    if typical == 0 and _typical(scaled) == 0:  # most updates are the same one: others are better told apart unscaled
        return D, 1.0
    return scaled, scale


def _typical(D: np.ndarray) -> float:
    half = len(D) // 2
    return float(np.median(np.partition(D, half, axis=1)[:, half]))


def scaled_sq_distances(tables, n: int, scale: float, D: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(n, n) squared distances between rows of tables, times scale^2; inf where they overflow. D are those unscaled."""
    out = np.zeros((n, n))
    block = np.empty((n, BLOCK))
    for table in tables:
        for c in range(0, table.d, BLOCK):
            part = block[:, : min(BLOCK, table.d - c)]
            with np.errstate(over="ignore", under="ignore"):
                for i, to in enumerate(part):
                    np.multiply(table.row(i)[c : c + BLOCK], scale, out=to)
            Rows(part).add_sq_distances(out, 0, 1, EXACT)
    _native.mirror(out)
    lost = np.isnan(out)  # numbers of both rows overflow, but their squared difference may be no more than rounding
    with np.errstate(over="ignore"):
        out[lost] = D[lost] * scale * scale
    return out
