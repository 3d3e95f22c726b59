"""Self-distillation on candles: generations of one network, beside one training and an ensemble of the same cost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from fastkd.distill import GenerationReport
    from fastkd.market import Candles

__all__ = ["generations_on_candles", "parts_in_time"]

TEST_SHARE, VALIDATION_SHARE = 0.3, 0.15


def generations_on_candles(
    candles: Candles,
    *,
    labels: str = "direction",
    features: str = "ohlcv4",
    generations: int = 5,
    variant: str = "ban+l",
    temperature: float = 3.0,
    decay: float = 1.0,
    kd_weight: float = 0.7,
    noise: float = 0.0,
    hidden: tuple[int, ...] = (32, 16),
    epochs: int = 40,
    seeds: range = range(5),
    progress=None,
) -> GenerationReport:
    """Accuracy by generation on candles in time order; `report.by_generation` is the data of the plot.

    Training, validation and test part follow each other, each apart from the next by the horizon of the labels.
    """
    from fastkd.distill import BornAgain, TemperatureSchedule, compare_generations
    from fastkd.models import MLPClassifier

    schedule = TemperatureSchedule("exponential", start=temperature, end=min(1.0, temperature), decay=decay)
    model = MLPClassifier(hidden, learning_rate=3e-3, epochs=epochs)
    born_again = BornAgain(model, generations, variant=variant, temperature=schedule, kd_weight=kd_weight, noise=noise)
    train, validation, test = parts_in_time(candles, labels, features)
    return compare_generations(born_again, *train, *test, eval_set=validation, seeds=seeds, progress=progress)


def parts_in_time(candles: Candles, labels: str, features: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(X, y) of the training, validation and test part: scaled by the training part, labels known within it."""
    from fastkd.features import FeatureSet, Standardizer, regime_labels
    from fastkd.forecast import Direction

    horizon = 12 if labels == "regime" else 1
    every = (
        regime_labels(candles, window=horizon)
        if labels == "regime"
        else Direction(_threshold(candles), horizon).of(candles)
    )
    recipe = FeatureSet(features)
    X, _ = recipe.transform(candles)
    y = every[len(candles) - len(X) :]
    known = y >= 0
    X, y = X[known], y[known]
    n = len(X)
    bounds = [0, round((1 - TEST_SHARE - VALIDATION_SHARE) * n), round((1 - TEST_SHARE) * n), n]
    if min(b - a for a, b in pairwise(bounds)) <= 2 * horizon:
        raise ValueError(f"{n} candles with features and labels are too few for three parts; raise --rows")
    ends = [bounds[1] - horizon, bounds[2] - horizon, n]
    scaler = Standardizer().fit(X[: ends[0]])
    return [(scaler.transform(X[a:b]), y[a:b]) for a, b in zip(bounds[:-1], ends, strict=True)]


def _threshold(candles: Candles) -> float | str:
    return "volatility" if getattr(candles, "bayes_accuracy", None) is None else 0.001
