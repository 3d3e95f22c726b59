"""What an MLP learns from, row by row, and how well it does on rows held out."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastkd._check import plain
from fastkd._core._native import Targets
from fastkd.losses import distillation_loss, log_softmax
from fastkd.models._inputs import UNLABELLED, check_labels, check_weights


@dataclass(frozen=True, eq=False)
class Signal:
    """Row-wise training signal; what is absent is None."""

    n_rows: int
    dtype: np.dtype
    labels: np.ndarray | None = None  # (n,) int32 column of the class, -1 for unlabelled
    soft: np.ndarray | None = None  # (n, C) probabilities at the temperature
    teacher_logits: np.ndarray | None = None  # (n, C)
    values: np.ndarray | None = None  # (n, k) float64
    weights: np.ndarray | None = None  # (n,) of any scale

    def rows(self, index: Any) -> "Signal":
        """The signal of some rows: a slice, mask or index array."""
        names = ("labels", "soft", "teacher_logits", "values", "weights")
        parts = {name: getattr(self, name)[index] for name in names if getattr(self, name) is not None}
        return replace(self, n_rows=len(np.arange(self.n_rows)[index]), **parts)

    @property
    def has_teacher(self) -> bool:
        return self.soft is not None or self.teacher_logits is not None

    def kd_weight(self, kd_weight: float) -> float:
        """Without a teacher there is no soft term, without labels nothing else."""
        if not self.has_teacher:
            return 0.0
        return 1.0 if self.labels is None else float(kd_weight)

    def native(self, **terms: Any) -> Targets:
        """For the kernel, with weights of mean 1; `terms`: temperature, kd_weight, label_smoothing, quantile."""
        weights = None if self.weights is None else (self.weights / self.weights.mean()).astype(self.dtype)
        return Targets(
            self.n_rows,
            self.dtype,
            labels=None if self.labels is None else plain(self.labels),
            soft=None if self.soft is None else plain(self.soft),
            teacher_logits=None if self.teacher_logits is None else plain(self.teacher_logits),
            values=None if self.values is None else plain(self.values, self.dtype),
            weights=weights,
            **terms,
        )


def classification_scores(logits: np.ndarray, signal: Signal, temperature: float) -> tuple[float, float]:
    """(cross-entropy, accuracy) over labelled rows; (soft loss, agreement with the teacher) if there are none."""
    if signal.labels is not None and (signal.labels >= 0).any():
        known = signal.labels >= 0
        labels = signal.labels[known]
        weights = None if signal.weights is None else signal.weights[known]
        log_p = log_softmax(logits[known])
        loss = np.average(-log_p[np.arange(len(labels)), labels], weights=weights)
        return float(loss), float(np.average(log_p.argmax(axis=1) == labels, weights=weights))
    loss = distillation_loss(
        logits,
        signal.teacher_logits,
        soft_labels=signal.soft,
        temperature=temperature,
        sample_weight=signal.weights,
    )
    teacher = signal.soft if signal.teacher_logits is None else signal.teacher_logits
    assert teacher is not None
    agreement = np.average(logits.argmax(axis=1) == teacher.argmax(axis=1), weights=signal.weights)
    return float(loss), float(agreement)


def regression_scores(predicted: np.ndarray, signal: Signal, quantile: float | None) -> tuple[float, float]:
    """(loss as trained, coefficient of determination)."""
    values = signal.values
    assert values is not None
    error = values - predicted
    if quantile is None:
        loss = 0.5 * (error**2).sum(axis=1)
    else:
        loss = np.maximum(quantile * error, (quantile - 1.0) * error).sum(axis=1)
    return float(np.average(loss, weights=signal.weights)), r2_score(values, predicted, signal.weights)


def r2_score(values: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """1 - SSE / SST, averaged over the outputs; an output that never varies counts 1 if met exactly, else 0."""
    sse = np.average((values - predicted) ** 2, axis=0, weights=weights)
    sst = np.average((values - np.average(values, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(sst > 0.0, 1.0 - sse / sst, np.where(sse > 0.0, 0.0, 1.0))
    return float(scores.mean())


def labelled_accuracy(predicted: np.ndarray, y: Any, classes: np.ndarray, sample_weight: Any) -> float:
    """Share of hits over the rows that have a label."""
    values = check_labels(y, len(predicted))
    weights = check_weights(sample_weight, len(predicted))
    hits = predicted == values
    if values.dtype.kind in "if" and UNLABELLED not in classes:
        labelled = values != UNLABELLED
        hits, weights = hits[labelled], None if weights is None else weights[labelled]
    if not len(hits):
        raise ValueError("y has no labelled row to score")
    return float(np.average(hits, weights=weights))
