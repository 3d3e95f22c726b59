"""Attacks on `FedMD`: what hostile clients say of the public rows.

Called as all attacks are, ``attack(honest_predictions, rng)``, with the predictions (h, m, n_classes) of the honest
clients. Each of these sends what passes every check of single predictions: probabilities are distributions. Clients
with the same attack send the same, that is, they collude. A field `space` that is None is filled in by the federation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd.federated.attacks import as_updates
from fastkd.losses import softmax

__all__ = ["ClassPrior", "ConstantClass", "LossMaximization", "RandomPredictions", "ScaledPredictions"]

LOUD = 20.0  # logit of what an attacker claims to be sure of


@dataclass(frozen=True)
class ScaledPredictions:
    """The honest mean logits times `scale`; negative: what is likely becomes unlikely, louder.

    In probability space, where nobody can be louder than 1, the softmax of that.

    Examples
    --------
    >>> ScaledPredictions(-10.0, space="logit")([[[1.0, -1.0]], [[3.0, -3.0]]], None)
    array([[-20.,  20.]])
    """

    scale: float = -10.0
    space: str | None = None

    def __call__(self, honest_updates: Any, rng: Any) -> np.ndarray:
        honest = _predictions(honest_updates)
        with np.errstate(over="ignore"):
            return _from_logits(self.scale * _mean_logits(honest, self.space), self.space, honest)


@dataclass(frozen=True)
class RandomPredictions:
    """On each row, sure of a class drawn at random."""

    space: str | None = None

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        honest = _predictions(honest_updates)
        drawn = np.asarray(rng.integers(honest.shape[2], size=honest.shape[1]))
        return _sure_of(drawn, self.space, honest)


@dataclass(frozen=True)
class ConstantClass:
    """On each row, sure of the same class: "up", whatever the market does."""

    target: int = 0
    space: str | None = None

    def __call__(self, honest_updates: Any, rng: Any) -> np.ndarray:
        honest = _predictions(honest_updates)
        if not 0 <= self.target < honest.shape[2]:
            raise ValueError(f"target must be a class 0 .. {honest.shape[2] - 1}; got {self.target}")
        return _sure_of(np.full(honest.shape[1], self.target), self.space, honest)


@dataclass(frozen=True)
class LossMaximization:
    """LMA: on each row, sure of the class that the honest clients think least likely (Roux et al. 2025).

    Of all distributions it is the vertex of the simplex that costs the students most cross-entropy.

    Examples
    --------
    >>> LossMaximization(space="probability")([[[0.6, 0.3, 0.1]]], None)
    array([[0., 0., 1.]])
    """

    space: str | None = None

    def __call__(self, honest_updates: Any, rng: Any) -> np.ndarray:
        honest = _predictions(honest_updates)
        return _sure_of(_mean_logits(honest, self.space).argmin(axis=1), self.space, honest)


@dataclass(frozen=True)
class ClassPrior:
    """CPA: on each row, sure of the class least similar to the one that the honest clients find most likely.

    Similarity of two classes is the correlation, over the public rows, of their mean probabilities (Roux et al. 2025).
    All rows of a class are pushed to the same wrong class, so the lie is consistent, and easier to learn than noise.
    """

    space: str | None = None

    def __call__(self, honest_updates: Any, rng: Any) -> np.ndarray:
        honest = _predictions(honest_updates)
        mean = honest.mean(axis=0, dtype=np.float64)
        proba = softmax(mean) if self.space == "logit" else mean
        centered = proba - proba.mean(axis=0)
        scale = np.sqrt((centered * centered).sum(axis=0))
        scale[scale == 0.0] = 1.0
        similarity = (centered / scale).T @ (centered / scale)
        np.fill_diagonal(similarity, np.inf)
        return _sure_of(similarity.argmin(axis=1)[proba.argmax(axis=1)], self.space, honest)


def _predictions(honest_updates: Any) -> np.ndarray:
    honest = as_updates(honest_updates)
    if honest.ndim != 3 or honest.shape[2] < 2:
        raise ValueError(f"this attack is on predictions (h, rows, n_classes); got shape {honest.shape}")
    return honest


def _mean_logits(honest: np.ndarray, space: str | None) -> np.ndarray:
    mean = honest.mean(axis=0, dtype=np.float64)
    if space == "logit":
        return mean
    logs = np.log(np.maximum(mean, 1e-10))
    return logs - logs.mean(axis=1, keepdims=True)


def _from_logits(logits: np.ndarray, space: str | None, honest: np.ndarray) -> np.ndarray:
    return (logits if space == "logit" else softmax(logits)).astype(honest.dtype)


def _sure_of(classes: np.ndarray, space: str | None, honest: np.ndarray) -> np.ndarray:
    n_classes = honest.shape[2]
    vertex = np.eye(n_classes)[classes]
    return (LOUD * (vertex - 1.0 / n_classes) if space == "logit" else vertex).astype(honest.dtype)
