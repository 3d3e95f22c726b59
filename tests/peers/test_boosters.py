"""Boosters as LightGBM and XGBoost return them from `train`: as teachers, and as clients of a federation."""

import numpy as np
import pytest

from fastkd.distill import distill
from fastkd.federated import Client, FedMD
from fastkd.models import MLPClassifier, as_model

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def rows():
    """Three classes on a ring, by the angle: 300 rows to learn from, 300 public ones, 300 to test with."""
    X = np.random.default_rng(0).normal(size=(900, 2)).astype(np.float32)
    return X, ((np.arctan2(X[:, 1], X[:, 0]) / np.pi + 1) * 1.5).astype(int).clip(0, 2)


def train(library, X, y, objective=None):
    n_classes = len(np.unique(y))
    if library == "lightgbm":
        lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
        options = {"objective": "binary"} if n_classes == 2 else {"objective": "multiclass", "num_class": n_classes}
        options |= {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
        return lightgbm.train(options | ({"objective": objective} if objective else {}), lightgbm.Dataset(X, y), 20)
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    options = {"objective": "binary:logistic"} if n_classes == 2 else {"objective": "multi:softprob"}
    options |= {"num_class": n_classes} if n_classes > 2 else {}
    options |= {"nthread": 1} | ({"objective": objective} if objective else {})
    return xgboost.train(options, xgboost.DMatrix(X, label=y), 20)


def own_proba(library, booster, X):
    if library == "lightgbm":
        return booster.predict(X)
    return booster.predict(pytest.importorskip("xgboost").DMatrix(X))


libraries = pytest.mark.parametrize("library", ["lightgbm", "xgboost"])


@libraries
def test_probabilities_are_the_boosters(rows, library):
    X, y = rows
    several, two = train(library, X[:300], y[:300]), train(library, X[:300], (y[:300] > 0).astype(int))
    model = as_model(several)
    np.testing.assert_allclose(model.predict_proba(X[600:]), own_proba(library, several, X[600:]), atol=1e-6)
    assert model.classes_.tolist() == [0, 1, 2]
    model = as_model(two)
    np.testing.assert_allclose(model.predict_proba(X[600:])[:, 1], own_proba(library, two, X[600:]), atol=1e-6)
    assert model.classes_.tolist() == [0, 1]


@libraries
def test_a_saved_booster_is_read_alike(rows, library, tmp_path):
    X, y = rows
    booster = train(library, X[:300], y[:300])
    path = str(tmp_path / ("model.json" if library == "xgboost" else "model.txt"))
    booster.save_model(path)
    module = pytest.importorskip(library)
    again = module.Booster(model_file=path)
    np.testing.assert_allclose(as_model(again).predict_proba(X), as_model(booster).predict_proba(X), atol=1e-6)


@libraries
def test_a_booster_is_a_teacher(rows, library):
    X, y = rows
    teacher = train(library, X[:300], y[:300])
    student = MLPClassifier((32,), epochs=60, learning_rate=0.01, random_state=0)
    distill(teacher, student, X[:600], temperature=1.0)
    answers = own_proba(library, teacher, X[600:]).argmax(axis=1)
    assert student.classes_.tolist() == [0, 1, 2]
    assert (student.predict(X[600:]) == answers).mean() > 0.85


@libraries
def test_a_booster_is_a_client_and_the_others_learn_from_it(rows, library):
    X, y = rows
    clients = [
        Client("trees", train(library, X[:300], y[:300]), X[:1], None),
        Client("network", MLPClassifier((32,), learning_rate=0.01, random_state=0), X[:6], y[:6]),
    ]
    run = {"rounds": 4, "digest_epochs": 15, "classes": [0, 1, 2], "eval_set": (X[600:], y[600:]), "random_state": 0}
    result = FedMD(clients, X[300:600], **run).run()
    assert not result.history[-1].failed
    shared = result.history[-1].accuracies
    alone = FedMD(clients, X[300:600], kd_weight=0.0, **run).run().history[-1].accuracies
    assert shared["trees"] == alone["trees"] > 0.9  # it predicts and does not learn
    assert shared["network"] > alone["network"] + 0.1


@libraries
def test_regression_is_refused(rows, library):
    X, y = rows
    booster = train(library, X[:100], (y[:100] > 0).astype(int),
                    "regression" if library == "lightgbm" else "reg:squarederror")  # fmt: skip
    with pytest.raises(ValueError, match="objective"):
        as_model(booster)
