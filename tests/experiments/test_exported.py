"""The demo's line on the student in C."""

import shutil

import numpy as np
import pytest

from fastkd.experiments.exported import measure_export
from fastkd.models import MLPClassifier


@pytest.fixture
def student():
    X = np.random.default_rng(0).normal(size=(400, 4))
    return MLPClassifier((8,), epochs=5, random_state=0).fit(X, (X[:, 0] > X[:, 1]).astype(int)), X


def test_the_figures_are_those_of_the_c(student):
    if shutil.which("gcc") is None and shutil.which("clang") is None:
        pytest.skip("no C compiler on this machine")
    model, X = student
    exact, small = measure_export(model, X[:300], X)
    assert exact.constant_bytes == 4 * model.n_parameters
    assert small.constant_bytes < exact.constant_bytes
    assert exact.agreement == 1.0
    assert small.agreement > 0.97
    assert exact.ns > 0
    flipped = MLPClassifier((8,), epochs=5, random_state=0).fit(X, (X[:, 0] < X[:, 1]).astype(int))
    from fastkd.experiments.exported import _measure

    shared = np.mean(flipped.predict(X) == model.predict(X))
    assert _measure("other", flipped, model, X).agreement == pytest.approx(shared)
    assert shared < 0.95


def test_without_a_compiler_it_says_less(student, monkeypatch):
    from fastkd.deploy.export import compiling

    monkeypatch.setattr(compiling, "find_compiler", lambda cc: None)
    exact, small = measure_export(student[0], student[1], student[1])
    assert exact.ns is None
    assert exact.agreement is None
    assert small.agreement > 0.97
