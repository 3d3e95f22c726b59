"""Federations for the tests of `fastkd.flower`."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fastkd.federated import Client
from fastkd.models import MLPClassifier

sys.path.append(str(Path(__file__).parent))  # for the modules beside the tests, which node processes import, too


@pytest.fixture(scope="session")
def rows():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(420, 4)).astype(np.float32)
    return X, (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)


@pytest.fixture
def clients(rows):
    X, y = rows
    parts = np.array_split(np.arange(300), 5)
    return [Client(f"c{k}", MLPClassifier((4 + k,), random_state=k), X[r], y[r]) for k, r in enumerate(parts)]
