"""Where learnt rows begin: m rows, group by group, each group's rows together."""

from __future__ import annotations

import numpy as np

from fastkd.condense.centroids import k_means
from fastkd.condense.rows import Rows

POOL = 10_000  # rows of a group that clustering looks at


def initial_rows(rows: Rows, per_class: int, init: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(X, y): "real" rows drawn at random, "noise" with the mean and deviation of the features, or "centroids"."""
    if init not in ("real", "noise", "centroids"):
        raise ValueError(f"init must be 'real', 'noise' or 'centroids'; got {init!r}")
    drawn = [rows.draw(g, per_class, rng) for g in range(len(rows.index))]
    X, y = np.concatenate([x for x, _ in drawn]), np.concatenate([t for _, t in drawn])
    if init == "noise":
        mean, deviation = rows.moments()
        X = rng.normal(mean, deviation, X.shape)
    if init == "centroids":
        if rows.classes is None:
            X, y = joint_centroids(rows, per_class, rng)
        else:
            X = np.concatenate([k_means(rows.group(g, POOL, rng), per_class, rng) for g in range(len(rows.index))])
    return np.ascontiguousarray(X, rows.dtype), y.copy()


def joint_centroids(rows: Rows, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centroids of a regression's rows, features and values together."""
    X, y = rows.draw(0, POOL, rng)
    both = k_means(np.hstack([X, y]).astype(np.float64), n, rng)
    return both[:, : X.shape[1]].astype(rows.dtype), both[:, X.shape[1] :]


def soft_start(y: np.ndarray, n_classes: int, confidence: float = 0.9) -> np.ndarray:
    """Logits whose softmax gives the label this probability; learnt soft labels begin there."""
    off = np.log(confidence * (n_classes - 1) / (1 - confidence)) if n_classes > 1 else 0.0
    return off * np.eye(n_classes)[y]


def soft_labels(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def logit_slope(p: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """From the derivative by probabilities to that by their logits."""
    return p * (slope - (p * slope).sum(axis=1, keepdims=True))
