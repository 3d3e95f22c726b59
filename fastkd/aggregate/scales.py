"""Distances of updates so large or small that float64 has no squares for them: taken in another unit."""

from __future__ import annotations

import numpy as np

from fastkd._core import _native
from fastkd.aggregate.running import sq_distances
from fastkd.aggregate.updates import SINGLE, Updates

__all__ = ["LARGE", "LARGER", "SMALL", "SMALLER", "scaled_sq_distances", "sq_distances_in_unit"]

SMALLER, LARGER = 2.0**-540, 2.0**540  # times which the largest numbers, and the smallest, have squares
SMALL, LARGE = 1e-280, 1e280  # squares beyond lose digits, or their sums overflow
BLOCK = 4096  # columns scaled at a time


def sq_distances_in_unit(u: Updates, workers: int) -> tuple[np.ndarray, float]:
    """(squared distances of updates times s, s); s is a power of two, 1 unless squares overflow or underflow.

    s serves the median update's distance to its (n // 2)-th neighbor, which less than half of the clients cannot carry
    beyond the honest ones': distances that overflow in this unit lose against those, and others are told apart.
    """
    D = sq_distances(u, workers)
    if u.dtype == SINGLE or u.n == 1:  # squares of float32 are within float64
        return D, 1.0
    typical = _typical(D)
    if SMALL <= typical <= LARGE:
        return D, 1.0
    scale = LARGER if typical < SMALL else SMALLER
    scaled = scaled_sq_distances(u.layers, scale, D)
    if typical == 0 and _typical(scaled) == 0:  # most updates are the same one: others are better told apart unscaled
        return D, 1.0
    return scaled, scale


def _typical(D: np.ndarray) -> float:
    half = len(D) // 2
    return float(np.median(np.partition(D, half, axis=1)[:, half]))


def scaled_sq_distances(tables: list[_native.Rows], scale: float, D: np.ndarray) -> np.ndarray:
    """(n, n) squared distances between rows of layers, times scale^2; inf where they overflow. D are those unscaled."""
    n = tables[0].n
    out = np.zeros((n, n))
    block = np.empty((n, min(BLOCK, max(table.d for table in tables))))
    for table in tables:
        for c in range(0, table.d, BLOCK):
            part = [to[: min(BLOCK, table.d - c)] for to in block]
            with np.errstate(over="ignore", under="ignore"):
                for row, to in zip(table.arrays, part):
                    np.multiply(row[c : c + BLOCK], scale, out=to)
            _native.Rows(part).add_sq_distances(out, 0, 1)
    _native.mirror(out)
    lost = np.isnan(out)  # numbers of both rows overflow, but their squared difference may be no more than rounding
    with np.errstate(over="ignore"):
        out[lost] = D[lost] * scale * scale
    return out
