"""scikit-learn's own checks of the estimator protocol, for the self-distilled classifiers."""

import pytest

from fastkd.distill import BeYourOwnTeacher, BornAgain, SnapshotDistillation
from fastkd.models import MLPClassifier

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

# One batch a step and float64, as for the models themselves: zero weights then equal rows removed to 1e-7.
MODEL = MLPClassifier(hidden=(16, 8), epochs=60, learning_rate=0.01, batch_size=1000, dtype="float64")


@parametrize_with_checks(
    [
        BornAgain(MODEL, 2, validation_fraction=0.0),
        SnapshotDistillation(MODEL, snapshots=2),
        BeYourOwnTeacher(MODEL),
    ]
)
def test_protocol(estimator, check):
    check(estimator)


def test_a_grid_reaches_the_model(blobs):
    X, y, *_ = blobs
    search = GridSearchCV(
        BornAgain(MODEL, 2, random_state=0), {"generations": [1, 2], "model__epochs": [1, 5]}, cv=2, error_score="raise"
    ).fit(X, y)
    assert set(search.best_params_) == {"generations", "model__epochs"}
    copy = clone(search.best_estimator_)
    assert copy.model is not search.best_estimator_.model
    assert not hasattr(copy, "generations_")
