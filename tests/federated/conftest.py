"""A model whose federation can be computed by hand, and small data."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastkd.federated import Client, partition


class Bowl:
    """Loss ||parameters - target||^2 / 2 with the mean of the labels as target; its gradient is known at sight."""

    def __init__(self, d=4, start=0.0, fault=None):
        self.parameters = np.full(d, start)
        self.fault = fault  # (parameters, gradient) -> what it sends instead

    def gradient(self, X, y):
        difference = self.parameters - np.mean(y)
        gradient = difference if self.fault is None else self.fault(self.parameters, difference)
        with np.errstate(over="ignore"):
            return float(difference @ difference) / 2, gradient

    def score(self, X, y):
        return -float(np.abs(self.parameters - np.mean(y)).max())


@pytest.fixture(scope="session")
def bowl():
    return Bowl


@pytest.fixture(scope="session")
def bowl_clients():
    """Clients whose optimum is each given number; `faults` maps a name to what that client does to its gradient."""

    def make(targets, faults=None):
        models = {name: Bowl(fault=fault) for name, fault in (faults or {}).items()}
        return [
            Client(f"c{i}", models.get(f"c{i}"), np.zeros((3, 1)), np.full(3, float(t))) for i, t in enumerate(targets)
        ]

    return make


@pytest.fixture(scope="session")
def digits():
    """X_train, y_train, X_test, y_test of scikit-learn's digits, scaled to [0, 1]."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    return X[:1437], y[:1437], X[1437:], y[1437:]


@pytest.fixture(scope="session")
def clients_of():
    def make(X, y, n, **how):
        return [Client(f"c{i}", None, X[rows], y[rows]) for i, rows in enumerate(partition(y, n, **how))]

    return make
