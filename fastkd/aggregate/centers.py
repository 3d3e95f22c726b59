"""Rules that look for a center of whole updates: geometric median, centered clipping."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core._native import Rows
from fastkd.aggregate.choose import rough_distances
from fastkd.aggregate.compute import Flat, Plan, sums
from fastkd.aggregate.distances import (
    EXACT,
    LARGE,
    LARGER,
    SMALL,
    SMALLER,
    Distances,
    scaled_sq_distances,
    sq_distances_in_unit,
)
from fastkd.aggregate.finish import finish
from fastkd.aggregate.read import Unscreened, Updates, as_count
from fastkd.aggregate.threads import as_workers
from fastkd.aggregate.walk import attempt, walk

__all__ = ["centered_clipping", "geometric_median"]

STALLED = 100  # steps in a row that no longer shorten the sum of distances: what is left is rounding


def geometric_median(
    updates: Any,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 10000,
    workers: int = 1,
    out: Any = None,
    return_info: bool = False,
) -> Any:
    """The point with the smallest sum of distances to the updates (as RFA, Pillutla, Kakade and Harchaoui 2022).

    Weiszfeld's iteration, begun at the best update and led away from it as Vardi and Zhang (2000) do. It runs on the
    n x n distances, so that its steps do not read the updates again. Breaks down at half. An update whose distance to
    the best one overflows when squared is left out (weight 0). Distances of float32 updates that are about equally far
    apart (within a factor of 16) are taken in float32: the sum of distances is still the smallest to nine digits, but
    the last bits of the point depend on the instruction set.

    Parameters
    ----------
    updates, workers, out, return_info
        As for `mean`.
    tolerance : float
        Stop when a step moves the point by less than this, relative to its median distance to the updates, or when the
        sum of distances is within this fraction of the smallest, by a bound from its gradient.
    max_iterations : int
        Stop there at the latest, with a RuntimeWarning.

    Returns
    -------
    As `mean`.

    Raises
    ------
    ValueError, TypeError
        As `mean`.

    Examples
    --------
    >>> from fastkd.aggregate import geometric_median
    >>> geometric_median([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [1.0, 1.0]])
    array([1., 1.])
    """
    tolerance, steps = _check.as_positive(tolerance, "tolerance"), as_count(max_iterations, "max_iterations", 1)

    def choose(u: Updates, f: int, workers: int) -> Plan:
        rough = rough_distances(u, workers) if u.single and u.n > 1 else None
        D, scale = (rough.D, 1.0) if rough is not None and _alike(rough) else sq_distances_in_unit(u, workers)
        weights, distances = _weiszfeld(D, tolerance, steps)
        used = np.flatnonzero(weights > 0)
        return Plan(None, weights[used], used, distances / scale)

    return walk(updates, None, choose, workers, out, return_info)


def _alike(rough: Distances) -> bool:
    """Whether rough distances serve: none so much smaller than another that its angles would feel their errors."""
    apart = rough.D[rough.D > 0]
    low, high = apart.min(initial=np.inf), rough.D.max()
    return bool(high <= 256 * low and low > 1e6 * rough.tiny)


def _weiszfeld(D: np.ndarray, tolerance: float, max_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the updates in their geometric median, and its distances to them, from squared distances D.

    The median is x_k + sum_j a_j u_j, with x_k the update with the smallest sum of distances and u_j the unit vectors
    from it to the others: their products are cosines, so a far update costs the near ones no digits.
    """
    n = len(D)
    with np.errstate(over="ignore"):
        R = np.sqrt(D)
        finite = np.isfinite(R)
        reach = np.where(finite, R, 0).sum(axis=1)
        # most updates within reach first, then the smallest sum
        k = int(np.lexsort((np.arange(n), reach, -finite.sum(axis=1)))[0])
    weights, distances = np.zeros(n), R[k].copy()
    at = np.flatnonzero(finite[k] & (R[k] == 0))  # x_k and its copies
    others = np.flatnonzero(finite[k] & (R[k] > 0))
    if len(others) == 0:
        weights[k] = 1
        return weights, distances
    r = R[k, others]
    C = R[np.ix_(others, others)]
    del R, finite, reach
    C = _cosines(C, r)
    np.fill_diagonal(C, 1)
    pull = np.sqrt(max(float(C.sum()), 0.0))  # |sum_j u_j|: how hard the others pull away from x_k
    if pull <= len(at) * (1 + 1e-12):
        weights[k] = 1
        return weights, distances
    a, along, moved = _shortest(C, r, len(at), (1 - len(at) / pull) / (1 / r).sum(), tolerance, max_iterations)
    weights[others] = a / r
    weights[k] = max(1 - weights[others].sum(), 0.0)
    distances[others] = _third_side(r, along, moved)
    distances[at] = moved
    return weights, distances


def _shortest(
    C: np.ndarray, r: np.ndarray, copies: int, first: float, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """(a, C a, |y - x_k|) of the median, begun at `first` for each a; x_k counts `copies` times.

    Between two equal crowds Weiszfeld's steps are far too short in one direction: each is lengthened by Anderson's rule
    (1965) from the one before, unless the sum of distances would grow. Products with C are linear: one a step.
    """
    floor = 1e-9 * _middle(r)

    def sides(a: np.ndarray, along: np.ndarray) -> tuple[float, np.ndarray, float]:
        moved = math.sqrt(max(float(a @ along), 0.0))
        reached = np.maximum(_third_side(r, along, moved), floor)
        return moved, reached, float(reached.sum()) + copies * max(moved, floor)

    a = np.full(len(r), first)
    along = C @ a
    moved, reached, length = sides(a, along)
    before: tuple[np.ndarray, ...] | None = None  # the last step, its products and where it led
    shortest, stalled = length, 0
    for _ in range(max_iterations):
        w = 1 / reached
        total = float(w.sum()) + copies / max(moved, floor)
        step = w * r / total - a
        turned = C @ step
        size = math.sqrt(max(float(step @ turned), 0.0))  # |gradient| / total
        ahead = (a + step, along + turned)
        # convex: the excess is at most |gradient| times the way to the median, which lies among the updates
        excess = size * total * max(float(reached.max()), moved)
        if excess <= tolerance * length or size <= tolerance * _middle(reached) or stalled == STALLED:
            break
        a, along = ahead
        if before is not None and (bend := float((step - before[0]) @ (turned - before[1]))) > 0:
            share = float(step @ (turned - before[1])) / bend
            a, along = (new - share * (new - old) for new, old in zip(ahead, before[2:]))
        before = (step, turned, *ahead)
        last = length
        moved, reached, length = sides(a, along)
        if not length <= last:
            a, along = ahead
            moved, reached, length = sides(a, along)
        stalled = 0 if length < shortest * (1 - 1e-15) else stalled + 1
        shortest = min(length, shortest)
    else:
        warnings.warn(
            f"geometric_median stopped at max_iterations={max_iterations} before tolerance={tolerance} was reached",
            RuntimeWarning,
            stacklevel=6,
        )
    a, along = ahead[0], C @ ahead[0]
    return a, along, math.sqrt(max(float(a @ along), 0.0))


def _middle(x: np.ndarray) -> float:
    """The upper median, a tenth of the time of np.median's."""
    return float(np.partition(x, len(x) // 2)[len(x) // 2])


def _cosines(R: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Cosines of the angles between u_i and u_j, by the law of cosines in ratios that cannot overflow, in place of R.

    R are the distances between others, r those to x_k. For 1000 clients each matrix takes 8 MB: few at a time.
    """
    s, large = np.minimum.outer(r, r), np.maximum.outer(r, r)
    s /= large
    R /= large
    np.add(1, R, out=large)
    C = np.subtract(1, R, out=R)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        C *= large
        C /= s
        C += s
        C /= 2
    # of updates this much farther than others the angle is lost in rounding: orthogonal, as most directions are
    C[~(s > 1e-12) | ~np.isfinite(C)] = 0
    return np.clip(C, -1, 1, out=C)


def _third_side(r: np.ndarray, along: np.ndarray, moved: float) -> np.ndarray:
    """|y - x_j| from r_j = |x_j - x_k|, the part of y - x_k along u_j and |y - x_k|, without squaring the large."""
    across = np.maximum(moved * moved - along * along, 0.0)
    return np.hypot(r - along, np.sqrt(across))


def centered_clipping(
    updates: Any,
    radius: float,
    center: Any = None,
    *,
    iterations: int = 1,
    workers: int = 1,
    out: Any = None,
    return_info: bool = False,
) -> Any:
    """Center plus the mean of the differences from it, each clipped to `radius` (Karimireddy, He and Jaggi 2021).

    y = c + (1/n) sum_i (x_i - c) min(1, radius / |x_i - c|), `iterations` times over. The scores of its info are the
    |x_i - c| of the last time, before the step.

    Parameters
    ----------
    updates, workers, out, return_info
        As for `mean`.
    radius : float
        Finite and > 0: how far a client may pull, about the spread of honest updates.
    center : array shaped like one update, optional
        Where to begin, as the aggregate of the round before; zeros by default, as in the paper.
    iterations : int
        >= 1.

    Returns
    -------
    As `mean`.

    Raises
    ------
    ValueError, TypeError
        As `mean`, and for a bad radius or center.

    Examples
    --------
    >>> from fastkd.aggregate import centered_clipping
    >>> centered_clipping([[1.0], [2.0], [300.0]], radius=3.0)
    array([2.])
    """
    workers = as_workers(workers)
    radius, iterations = _check.as_positive(radius, "radius"), as_count(iterations, "iterations", 1)

    def clip(u: Updates, f: int) -> tuple[Flat, np.ndarray]:
        start = None
        if center is not None:
            start = [np.asarray(_check.as_array(a, "center")) for a in u.form.layers(center, "center")]
        flat: Flat = []
        for step in range(iterations):
            around = _Center(u, start) if step == 0 else _Center(u, flat, own=True)
            distances, scales = _distances_to(u, around)
            with np.errstate(divide="ignore", over="ignore", under="ignore"):
                shares = np.minimum(1.0, radius * scales / distances) / u.n
                distances /= scales
            weights = np.append(shares, 1 - shares.sum())
            around.begin()
            flat = [_moved(table, around.at(table), weights, workers) for table in u.tables]
        return flat, distances

    u, (flat, distances) = attempt(updates, None, clip)
    return finish(u, Plan(weights=np.ones(u.n), scores=distances), flat, out, return_info, workers)


class _Center:
    """Where clipping begins, table by table, in new arrays: an update may be most of the memory that there is. Or where
    it has come to (`own`), in the arrays themselves, one a table."""

    def __init__(self, u: Updates, center: list[np.ndarray] | None, own: bool = False) -> None:
        shapes = u.form.shapes
        if center is not None and not own:
            like = [(center[0].size,)] if shapes is None else shapes
            if [a.shape for a in center] != like:
                raise ValueError(f"center must have the shape of one update, {like}; got {[a.shape for a in center]}")
        self.cut = shapes is None and not own  # the tables are parts of one vector
        self.own, self.layers = own, None if center is None else [a for a in center if a.size or own]
        self.begin()

    def begin(self) -> None:
        self.k = self.c = 0

    def at(self, table: Rows) -> np.ndarray:
        """The part for the next table."""
        if self.own and self.layers is not None:
            self.k += 1
            return self.layers[self.k - 1]
        to = table.new()
        if self.layers is None:
            to[:] = 0
            return to
        layer = self.layers[self.k].reshape(-1)  # a copy only where its memory is not in order
        part = layer[self.c : self.c + table.d]
        if len(part) != table.d:
            raise ValueError(f"center must have the shape of one update; its {len(layer)} numbers are too few")
        with np.errstate(over="ignore"):
            to[:] = part
        if Rows([to]).not_finite():
            raise ValueError(f"center must be finite, and numbers of {to.dtype} like the updates")
        self.k, self.c = (self.k, self.c + int(table.d)) if self.cut else (self.k + 1, 0)
        return to

    def end(self) -> None:
        """Nothing of the center may be left."""
        if self.cut and self.layers is not None and self.c != self.layers[0].size:
            raise ValueError(f"center must have the shape of one update, ({self.c},); got {self.layers[0].shape}")


def _distances_to(u: Updates, center: _Center) -> tuple[np.ndarray, np.ndarray]:
    """(distances of the updates from the center times scales, scales), 1 unless squares overflow or underflow."""
    squares = np.zeros(u.n)
    for table in u.tables:
        at = center.at(table)
        for i in range(u.n):
            square = np.zeros((2, 2))
            Rows([table.row(i), at]).add_sq_distances(square, 0, 1, EXACT)
            squares[i] += square[0, 1]
    center.end()
    if not u.screened and not np.isfinite(squares).all():
        raise Unscreened
    distances, scales = np.sqrt(squares), np.ones(u.n)
    if u.single:
        return distances, scales
    for i in map(int, np.flatnonzero(~((squares >= SMALL) & (squares <= LARGE)))):
        scales[i] = LARGER if squares[i] < SMALL else SMALLER
        center.begin()
        pairs = (Rows([table.row(i), center.at(table)]) for table in u.tables)
        apart = np.full((2, 2), squares[i])
        distances[i] = math.sqrt(scaled_sq_distances(pairs, 2, float(scales[i]), apart)[0, 1])
    return distances, scales


def _moved(table: Rows, at: np.ndarray, weights: np.ndarray, workers: int) -> np.ndarray:
    """The weighted sum of the updates and of the center, which comes last, in place of the center."""
    if not sums(table.also(at), weights, at, workers):  # the last bits of weights may carry the largest numbers over
        limit = np.finfo(at.dtype).max
        np.clip(at, -limit, limit, out=at)
    return at
