"""A small classification task with noise in its labels."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def blobs():
    """(X, y, X_test, y_test): three overlapping classes in five dimensions, a tenth of the training labels wrong."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 5))
    y = rng.integers(3, size=900)
    X = centers[y] + rng.normal(size=(900, 5))
    noisy = np.where(rng.random(600) < 0.1, rng.integers(3, size=600), y[:600])
    return X[:600], noisy, X[600:], y[600:]
