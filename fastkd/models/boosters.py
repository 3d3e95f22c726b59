"""Boosters of LightGBM and XGBoost, as their own training functions return them: logits and probabilities."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastkd._check import plain
from fastkd.losses import softmax
from fastkd.models._inputs import as_real_array

LIGHTGBM = {"binary": False, "cross_entropy": False, "multiclass": True}  # objective -> whether of several classes
XGBOOST = {"binary:logistic": False, "binary:logitraw": False, "multi:softprob": True, "multi:softmax": True}


class Read(NamedTuple):
    """How a booster answers: logits where it has them, probabilities, and the number of classes."""

    logits: Callable[[Any], np.ndarray] | None
    proba: Callable[[Any], np.ndarray]
    n_classes: int


def read_booster(model: Any) -> Read | None:
    """How to read a booster of LightGBM or XGBoost; None for any other object.

    Raises
    ------
    ValueError
        If the booster was not trained with an objective that gives a probability for each class.
    """
    for name, read in (("lightgbm", _lightgbm), ("xgboost", _xgboost)):
        module = sys.modules.get(name)
        if module is not None and isinstance(model, module.Booster):
            return read(model, module)
    return None


def _lightgbm(booster: Any, _: Any) -> Read:
    objective = str(booster.dump_model(num_iteration=1).get("objective", "custom")).split(" ")[0]
    several = _checked(objective, LIGHTGBM, "LightGBM")

    def proba(X: Any) -> np.ndarray:
        said = np.asarray(booster.predict(_rows(X)))
        return said if several else np.column_stack([1.0 - said, said])

    return Read(None, proba, booster.num_model_per_iteration() if several else 2)


def _xgboost(booster: Any, xgboost: Any) -> Read:
    learner = json.loads(booster.save_config())["learner"]
    several = _checked(learner["objective"]["name"], XGBOOST, "XGBoost")

    def logits(X: Any) -> np.ndarray:
        names = {"feature_names": booster.feature_names, "feature_types": booster.feature_types}
        # Where training stopped early, the trees after the best one are left out, as the classifier does.
        best = getattr(booster, "best_iteration", None)
        trees = {} if best is None else {"iteration_range": (0, best + 1)}
        said = np.asarray(booster.predict(xgboost.DMatrix(_rows(X), **names), output_margin=True, **trees))
        return said if several else np.column_stack([np.zeros_like(said), said])

    def proba(X: Any) -> np.ndarray:
        return softmax(logits(X))

    return Read(logits, proba, int(learner["learner_model_param"]["num_class"]) if several else 2)


def _checked(objective: str, known: dict[str, bool], name: str) -> bool:
    if objective not in known:
        raise ValueError(
            f"this booster of {name} has the objective {objective!r}; there are probabilities of classes with "
            f"{', '.join(known)}. Else give a callable that returns logits or probabilities, one column for each class"
        )
    return known[objective]


def _rows(X: Any) -> np.ndarray:
    """Trees know no windows: each becomes one long row."""
    rows = as_real_array(X, "X")
    return plain(rows.reshape(len(rows), -1) if rows.ndim > 2 else rows)
