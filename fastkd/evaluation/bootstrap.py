"""Confidence intervals of a classifier's figures for rows that are not independent: the circular block bootstrap."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["METRICS", "Interval", "block_bootstrap", "default_block"]

# In this order everywhere: intervals, text, dict and plots.
METRICS = ("accuracy", "lead", "balanced_accuracy", "mcc", "log_loss", "skill", "brier")


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval."""

    low: float
    high: float


def default_block(n: int) -> int:
    """Rows of a block if nobody says better: 2 * n ** (1/3), at most n.

    >>> default_block(1000)
    20
    """
    return min(n, max(1, round(2 * n ** (1 / 3))))


def block_bootstrap(
    true: np.ndarray,
    proba: np.ndarray,
    *,
    resamples: int,
    block: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Interval]:
    """Percentile intervals of `METRICS` from resampled blocks of consecutive rows, the end joined to the start.

    A block keeps what neighboring rows have in common, such as labels that overlap or a calm week, so that the
    intervals do not count them as independent: the circular block bootstrap of Politis and Romano (1992).

    `lead` is accuracy minus that of always answering the class that is the most frequent one in `true`; `skill` is the
    log-loss of always forecasting the shares of `true`, minus log-loss.
    """
    n, classes = proba.shape
    probability = proba[np.arange(n), true]
    certain_miss = probability == 0  # counted apart, since an infinite loss has no differences
    loss = -np.log(np.where(certain_miss, 1.0, probability))
    shares = np.bincount(true, minlength=classes) / n
    no_skill = -np.log(np.where(shares > 0, shares, 1.0))
    square = (proba**2).sum(axis=1) - 2 * probability + 1
    cells = np.zeros((n, classes * classes))
    cells[np.arange(n), true * classes + proba.argmax(axis=1)] = 1
    rows = np.column_stack([cells, loss, certain_miss, square])
    # Sums of every block of the circle from running totals, then of every resample from its blocks.
    total = np.cumsum(np.vstack([np.zeros(rows.shape[1]), rows, rows[: block - 1]]), axis=0)
    sums = total[block:] - total[:-block]
    n_blocks = math.ceil(n / block)
    drawn = np.array([sums[rng.integers(0, n, n_blocks)].sum(axis=0) for _ in range(resamples)])
    size = n_blocks * block
    confusion = drawn[:, : classes * classes].reshape(resamples, classes, classes)
    truths, answers = confusion.sum(axis=2), confusion.sum(axis=1)
    hits = np.trace(confusion, axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        recalls = np.einsum("rii->ri", confusion) / truths
        spread = (size**2 - (truths**2).sum(axis=1)) * (size**2 - (answers**2).sum(axis=1))
        mcc = np.where(spread > 0, (size * hits - (truths * answers).sum(axis=1)) / np.sqrt(spread), 0.0)
    log_loss = np.where(drawn[:, -2] > 0.5, np.inf, drawn[:, -3] / size)
    values = {
        "accuracy": hits / size,
        "lead": (hits - truths[:, shares.argmax()]) / size,
        "balanced_accuracy": np.nanmean(recalls, axis=1),
        "mcc": mcc,
        "log_loss": log_loss,
        "skill": truths @ no_skill / size - log_loss,
        "brier": drawn[:, -1] / size,
    }
    ranks = round((1 - confidence) / 2 * (resamples - 1)), round((1 + confidence) / 2 * (resamples - 1))
    return {name: Interval(*np.sort(values[name])[list(ranks)].tolist()) for name in METRICS}
