"""Before the course: arguments, the stamp of the problem, and where learnt rows begin, each group's together."""

from __future__ import annotations

import numbers
import zlib
from typing import Any

import numpy as np

from fastkd._check import as_float, plain
from fastkd.condense.centroids import k_means
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows

POOL = 10_000  # rows of a group that clustering looks at


def as_whole(value: Any, name: str, low: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name} must be a whole number >= {low}; got {value!r}")
    return int(value)


def as_momentum(value: Any) -> float:
    momentum = as_float(value, "momentum")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be >= 0 and < 1; got {value!r}")
    return momentum


def print_of(rows: Rows) -> str:
    """Sizes and a checksum of all rows and labels: a pass over them."""
    crc = 0
    for X, y in rows.blocks():
        crc = zlib.crc32(np.ascontiguousarray(y).data, zlib.crc32(X.data, crc))
    return f"{len(rows)} x {rows.n_features} {rows.dtype}, CRC {crc:08x}"


def net_text(net: Net) -> str:
    layers = "-".join(map(str, net.kernel.sizes))
    return f"{layers} {net.kernel.activation}, {'squared error' if net.squared else 'cross-entropy'}, l2 {net.l2:g}"


def stamp_of(rows: Rows, net: Net, method: str, per_class: int, rate: Any, seed: int, options: Any) -> dict[str, str]:
    """What a checkpoint must agree on. The number of iterations is left out: one may go on for longer."""
    return {
        "method": method,
        "per_class": str(per_class),
        "options": repr(sorted((k, v) for k, v in options.items() if k != "trajectories")),
        "network": net_text(net),
        "learning_rate": "searched" if rate is None else repr(rate),
        "random_state": str(seed),
        "classes": repr(None if rows.classes is None else rows.classes.tolist()),
        "data": print_of(rows),
    }


def check_teacher(teacher: Any, rows: Rows) -> None:
    """Before the work, that its probabilities have a column a class."""
    if rows.classes is None:
        raise ValueError("a teacher gives probabilities of classes; y holds real values: leave teacher=None")
    columns = np.shape(teacher.predict_proba(rows.take(np.arange(1))[0]))[-1]
    if columns != len(rows.classes):
        raise ValueError(f"the teacher knows {columns} classes, the data have {len(rows.classes)}: fit it on the same")


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
    return plain(X, rows.dtype), y.copy()


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
