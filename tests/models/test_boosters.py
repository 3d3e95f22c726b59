"""Boosters of LightGBM and XGBoost in as_model, with stand-ins that answer as theirs do."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastkd.losses import softmax
from fastkd.models import as_model

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
MARGINS = {1: lambda X: X[:, 0] * 2, 3: lambda X: X * 2}


class LightGBM:
    """Predicts probabilities: of class 1 where there are two."""

    def __init__(self, objective, outputs):
        self.objective, self.outputs = objective, outputs

    def dump_model(self, num_iteration):
        assert num_iteration == 1  # a whole forest is long
        return {"objective": self.objective} if self.objective else {}

    def num_model_per_iteration(self):
        return self.outputs

    def predict(self, X):
        assert X.ndim == 2
        margins = MARGINS[self.outputs](X.astype(np.float64))
        return 1 / (1 + np.exp(-margins)) if margins.ndim == 1 else softmax(margins)


class DMatrix:
    def __init__(self, data, feature_names=None, feature_types=None):
        self.data, self.names = data, feature_names


class XGBoost:
    """Takes only a DMatrix with the names that it knows; multi:softmax would predict labels."""

    feature_types = None

    def __init__(self, objective, outputs, best=None):
        self.objective, self.outputs, self.feature_names = objective, outputs, ["a", "b", "c"]
        if best is not None:
            self.best_iteration = best

    def save_config(self):
        num_class = "0" if self.outputs == 1 else str(self.outputs)
        return json.dumps(
            {"learner": {"objective": {"name": self.objective}, "learner_model_param": {"num_class": num_class}}}
        )

    def predict(self, data, *, output_margin, iteration_range=(0, 0)):
        assert isinstance(data, DMatrix)
        assert data.names == self.feature_names
        assert output_margin
        self.iteration_range = iteration_range
        return MARGINS[self.outputs](data.data)


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", SimpleNamespace(Booster=LightGBM))
    monkeypatch.setitem(sys.modules, "xgboost", SimpleNamespace(Booster=XGBoost, DMatrix=DMatrix))


@pytest.mark.parametrize(
    ("booster", "margins"),
    [
        (LightGBM("binary sigmoid:1", 1), np.column_stack([0 * X[:, 0], 2 * X[:, 0]])),
        (LightGBM("multiclass num_class:3", 3), 2 * X),
        (XGBoost("binary:logistic", 1), np.column_stack([0 * X[:, 0], 2 * X[:, 0]])),
        (XGBoost("binary:logitraw", 1), np.column_stack([0 * X[:, 0], 2 * X[:, 0]])),
        (XGBoost("multi:softprob", 3), 2 * X),
        (XGBoost("multi:softmax", 3), 2 * X),
    ],
    ids=lambda v: getattr(v, "objective", ""),
)
def test_probabilities_of_every_class(booster, margins):
    model = as_model(booster)
    np.testing.assert_allclose(model.predict_proba(X), softmax(margins.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(softmax(model.predict_logits(X)), softmax(margins.astype(np.float64)), rtol=1e-5)
    assert model.classes_.tolist() == list(range(margins.shape[1]))


def test_windows_are_long_rows():
    windows = X.reshape(5, 3, 1)
    for booster in (LightGBM("binary sigmoid:1", 1), XGBoost("binary:logistic", 1)):
        model = as_model(booster)
        np.testing.assert_array_equal(model.predict_proba(windows), model.predict_proba(X))


def test_trees_after_the_best_one_are_left_out():
    early, late = XGBoost("multi:softprob", 3, best=6), XGBoost("multi:softprob", 3)
    for booster in (early, late):
        as_model(booster).predict_logits(X)
    assert early.iteration_range == (0, 7)
    assert late.iteration_range == (0, 0)  # all


@pytest.mark.parametrize(
    "booster",
    [LightGBM("regression", 1), LightGBM("multiclassova num_class:3", 3), LightGBM(None, 1),
     XGBoost("reg:squarederror", 1), XGBoost("binary:hinge", 1)],
    ids=lambda booster: str(booster.objective),
)  # fmt: skip
def test_other_objectives_have_no_probabilities(booster):
    with pytest.raises(ValueError, match=str(booster.objective or "custom").split(" ")[0]):
        as_model(booster)


def test_what_a_booster_returns_is_not_a_choice():
    with pytest.raises(ValueError, match="objective"):
        as_model(LightGBM("binary sigmoid:1", 1), returns="logits")
