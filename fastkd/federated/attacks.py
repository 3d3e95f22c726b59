"""Attacks of colluding clients who see every honest update of the round.

An attack is called ``attack(honest_updates, rng)`` with the honest updates (h, ...) and a NumPy generator, and returns
the update, (...), that the attacker sends. Any callable of that form is an attack. Those that act on the attacker's
data instead have a method `poison`; see `fastkd.federated.data_attacks`.

A field that is None and bears one of the names n_clients, n_byzantine, n_classes is filled in by the federation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from fastkd._check import as_real

__all__ = [
    "ALittleIsEnough",
    "InnerProductManipulation",
    "Mimic",
    "MinMax",
    "MinSum",
    "NonFinite",
    "RandomNoise",
    "SignFlip",
]

DIRECTIONS = ("unit", "std", "sign")


@dataclass(frozen=True)
class RandomNoise:
    """Noise instead of an update: every coordinate is drawn from N(0, scale^2) (Blanchard et al. 2017, section 5)."""

    scale: float = 10.0

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        return (self.scale * rng.standard_normal(honest.shape[1:])).astype(honest.dtype)


@dataclass(frozen=True)
class SignFlip:
    """Uphill: -scale times the mean of the honest updates.

    Examples
    --------
    >>> SignFlip(10.0)([[1.0, 2.0], [3.0, 2.0]], None)
    array([-20., -20.])
    """

    scale: float = 10.0

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        return _like(-self.scale * _mean(honest), honest)


@dataclass(frozen=True)
class InnerProductManipulation:
    """-epsilon times the honest mean, small enough to lie among the honest updates (Xie, Koyejo and Gupta 2020).

    At epsilon = 0.1 the plain mean hardly notices, but a rule that chooses single updates may choose this one.
    """

    epsilon: float = 0.1

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        return _like(-self.epsilon * _mean(honest), honest)


@dataclass(frozen=True)
class ALittleIsEnough:
    """mean - z * std of the honest updates, coordinate by coordinate (Baruch, Baruch and Goldberg 2019).

    Attributes
    ----------
    z : float or None
        None takes the largest shift that a majority still seems to support: with n clients, f of them attackers and
        s = floor(n / 2 + 1) - f, z = Phi^-1((n - f - s) / (n - f)), and not less than 0; 4 where s <= 0.
    n_clients, n_byzantine : int or None
        n and f of that formula; called by itself, an attack without them takes itself for the only one.

    Examples
    --------
    >>> round(ALittleIsEnough(n_clients=50, n_byzantine=24).used_z(26), 3)
    1.426
    >>> ALittleIsEnough(z=1.5)([[0.0, 1.0], [2.0, 1.0]], None)
    array([-0.5,  1. ])
    """

    z: float | None = None
    n_clients: int | None = None
    n_byzantine: int | None = None

    def used_z(self, n_honest: int) -> float:
        """z, or what the formula gives beside `n_honest` honest clients."""
        if self.z is not None:
            return self.z
        f = 1 if self.n_byzantine is None else self.n_byzantine
        n = n_honest + f if self.n_clients is None else self.n_clients
        if f < 1:
            raise ValueError(f"ALittleIsEnough needs n_byzantine >= 1; got {f}")
        supporters = n // 2 + 1 - f
        if supporters <= 0:  # the attackers are a majority by themselves, or all: any shift passes; take a wide one
            return 4.0
        share = (n - f - supporters) / (n - f)
        return max(NormalDist().inv_cdf(share), 0.0) if share > 0.0 else 0.0

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        z = self.used_z(len(honest))
        return _like(_mean(honest) - z * honest.std(axis=0, dtype=np.float64), honest)


@dataclass(frozen=True)
class MinMax:
    """As far as possible, yet no farther from any honest update than two of those are from each other.

    mean + gamma * p with the largest such gamma; p is "unit" (-mean / ||mean||), "std" (minus the standard
    deviation) or "sign" (-sign(mean)) (Shejwalkar and Houmansadr 2021, eq. 6). gamma is the root of a quadratic, not
    searched for.
    """

    direction: str = "std"

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        mean, p, scale = _perturbation(honest, self.direction)
        away = mean - honest.reshape(len(honest), -1) / scale
        square = p @ p
        if square == 0.0:
            return _like(mean.reshape(honest.shape[1:]) * scale, honest)
        # ||away_i + gamma p||^2 <= D for every i; the smallest of the upper roots satisfies all
        slack = _square_distances(away).max() - (away * away).sum(axis=1)
        half = away @ p
        gamma = ((-half + np.sqrt(half * half + square * np.maximum(slack, 0.0))) / square).min()
        return _like(((mean + gamma * p) * scale).reshape(honest.shape[1:]), honest)


@dataclass(frozen=True)
class MinSum:
    """As far as possible, with no greater sum of squared distances to the honest updates than the worst honest one.

    mean + gamma * p as in `MinMax` (Shejwalkar and Houmansadr 2021, eq. 7).
    """

    direction: str = "std"

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        mean, p, scale = _perturbation(honest, self.direction)
        away = mean - honest.reshape(len(honest), -1) / scale
        square = p @ p
        if square == 0.0:
            return _like(mean.reshape(honest.shape[1:]) * scale, honest)
        # sum_i ||away_i + gamma p||^2 = sum_i ||away_i||^2 + h gamma^2 ||p||^2, because the away_i sum to 0
        budget = _square_distances(away).sum(axis=1).max() - (away * away).sum()
        gamma = np.sqrt(max(budget, 0.0) / (len(honest) * square))
        return _like(((mean + gamma * p) * scale).reshape(honest.shape[1:]), honest)


@dataclass(frozen=True)
class Mimic:
    """Copy one honest client, so that its data count several times (Karimireddy, He and Jaggi 2022).

    Harmless with equal data; with unequal data it starves the others. `target` is the row of the honest updates to
    copy; None takes the one that stands out most along the direction in which they differ most.
    """

    target: int | None = None

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        if self.target is not None:
            return honest[self.target % len(honest)].copy()
        rows = honest.reshape(len(honest), -1).astype(np.float64)
        rows = rows / max(np.abs(rows).max(), 1e-300)
        rows -= rows.mean(axis=0)
        # first eigenvector of the Gram matrix: the projections on the first principal direction
        projections = np.linalg.eigh(rows @ rows.T)[1][:, -1]
        return honest[int(np.abs(projections).round(9).argmax())].copy()


@dataclass(frozen=True)
class NonFinite:
    """`value` (NaN or an infinity) in a random share of the coordinates, at least one, of the honest mean."""

    value: float = float("nan")
    share: float = 1.0

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = as_updates(honest_updates)
        update = _like(_mean(honest), honest).ravel()
        if self.share >= 1.0:
            update[:] = self.value
        else:
            update[rng.choice(update.size, max(1, round(self.share * update.size)), replace=False)] = self.value
        return update.reshape(honest.shape[1:])


def bind(attack: Any, **known: Any) -> Any:
    """The attack with those of its fields filled in that are None and bear one of the given names."""
    if not hasattr(attack, "__dataclass_fields__"):
        return attack
    missing = {f.name: known[f.name] for f in fields(attack) if f.name in known and getattr(attack, f.name) is None}
    return replace(attack, **missing) if missing else attack


def as_updates(honest_updates: Any) -> np.ndarray:
    """The honest updates as one array (h, ...) of reals, h >= 1."""
    honest = as_real(honest_updates, "honest_updates")
    if honest.ndim < 1 or len(honest) == 0:
        raise ValueError(f"an attack needs at least one honest update; got shape {honest.shape}")
    return honest


def _mean(honest: np.ndarray) -> np.ndarray:
    return honest.mean(axis=0, dtype=np.float64)


def _like(update: np.ndarray, honest: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(update).astype(honest.dtype)


def _perturbation(honest: np.ndarray, direction: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and direction, flat and in units of the largest entry, so that squares do not overflow; and that unit."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}")
    rows = honest.reshape(len(honest), -1).astype(np.float64)
    scale = float(np.abs(rows).max()) or 1.0
    mean = (rows / scale).mean(axis=0)
    if direction == "std":
        p = -(rows / scale).std(axis=0)
    elif direction == "sign":
        p = -np.sign(mean)
    else:
        norm = float(np.linalg.norm(mean))
        p = -mean / norm if norm > 0.0 else np.zeros_like(mean)
    return mean, p, scale


def _square_distances(rows: np.ndarray) -> np.ndarray:
    """(h, h) squared distances of centered rows."""
    squares = (rows * rows).sum(axis=1)
    return np.maximum(squares[:, None] + squares - 2.0 * rows @ rows.T, 0.0)
