"""Data that the tests of condensation share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def digits():
    """(X, y, X_test, y_test) of scikit-learn's digits, centered, float32."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:1300], order[1300:]
    X -= X[train].mean(axis=0)
    return X[train], y[train], X[test], y[test]


@pytest.fixture
def blobs():
    """Three overlapping classes of 200 rows with 4 features, two clusters each."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 2, 4)) * 2
    X = np.concatenate([rng.normal(c, 1, (100, 4)) for pair in centers for c in pair])
    y = np.repeat([0, 1, 2], 200)
    order = rng.permutation(600)
    return X[order], y[order]
