"""The demo's condensation: about twenty rows instead of thousands, and whether learnt ones beat simple ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastkd.experiments.result import Settings

if TYPE_CHECKING:
    from fastkd.condense import CondenseReport

METHOD = "distribution_matching"
ITERATIONS = 200


def few_rows(data: Any, settings: Settings) -> CondenseReport | None:
    """The student taught with rows that were learnt, with centroids, random ones, and all; None with but one class."""
    from fastkd.condense import condense, evaluate
    from fastkd.models import MLPClassifier

    X, y = data.X_train[-settings.condensed_from :], data.y_train[-settings.condensed_from :]
    counts = np.bincount(y)
    counts = counts[counts > 0]
    if len(counts) < 2:
        return None
    per_class = int(min(max(1, settings.condensed_rows // len(counts)), counts.min()))
    small = condense(
        X, y, method=METHOD, per_class=per_class, iterations=ITERATIONS, random_state=settings.seed, workers=1
    )
    student = MLPClassifier(
        settings.student_hidden, epochs=150, learning_rate=0.01, n_iter_no_change=10, l2=1e-4, random_state=0
    )
    seeds = range(settings.seed, settings.seed + settings.draws)
    return evaluate(
        small,
        X,
        y,
        data.X_test,
        data.y_test,
        model={"student": student},
        seeds=seeds,
        baselines=("centroids", "random"),
    )
