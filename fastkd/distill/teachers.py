"""What teachers say of rows, whatever they are: logits, probabilities or values; one teacher or several."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd.models._inputs import as_real_array
from fastkd.models.adapters import MIN_PROBABILITY, ModelAdapter, as_model

__all__ = ["Said", "TakenAsProbabilities", "ask", "looks_like_probabilities", "values_of"]

OUTPUTS = ("auto", "logits", "proba")
SUM_TOLERANCE = 1e-3  # as of soft labels: what was stored as float16 is no better


class TakenAsProbabilities(UserWarning):
    """A teacher that did not say what it returns gave rows that are probabilities, and they were taken as such."""


@dataclass(frozen=True, eq=False)
class Said:
    """Logits (n, n_classes) of a teacher, and its classes if it told them."""

    logits: np.ndarray
    classes: np.ndarray | None


def looks_like_probabilities(array: Any) -> bool:
    """Whether all rows are non-negative and sum to 1; rows of logits hardly ever do."""
    rows = np.asarray(array)
    if rows.ndim != 2 or rows.shape[1] < 2 or not len(rows) or rows.dtype.kind not in "iuf":
        return False
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1, dtype=np.float64) - 1.0) <= SUM_TOLERANCE).all())


def teachers_in(teacher: Any, ndim: int = 2) -> list[Any] | None:
    """The teachers of a list; None if it is one teacher, such as an array of `ndim` dimensions or lists of numbers."""
    if not isinstance(teacher, (list, tuple)):
        return None
    first = teacher[0] if teacher else None
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, numbers.Number) or (isinstance(first, np.ndarray) and first.ndim < ndim):
        return None
    if not teacher:
        raise ValueError("the list of teachers is empty")
    return list(teacher)


def ask(teacher: Any, X: Any, outputs: str = "auto", weights: Any = None, eval_set: Any = None) -> Said:
    """What a teacher, or several together, say of X.

    Of several teachers the probabilities are averaged with `weights` (None: equal), or the teacher is taken whose
    log-loss on `eval_set` is lowest (weights="validation").
    """
    if outputs not in OUTPUTS:
        raise ValueError(f"outputs must be one of {OUTPUTS}; got {outputs!r}")
    several = teachers_in(teacher)
    if several is None:
        if weights is not None:
            raise ValueError("teacher_weights are for a list of teachers; got one teacher")
        return _ask_one(teacher, X, outputs)
    if isinstance(weights, str):
        if weights != "validation":
            raise ValueError(f"teacher_weights must be numbers or 'validation'; got {weights!r}")
        return _ask_one(several[best_on(several, eval_set, outputs)], X, outputs)
    shares = checked_shares(weights, len(several))
    answers = [_ask_one(one, X, outputs) for one in several]
    classes = next((answer.classes for answer in answers if answer.classes is not None), None)
    for number, answer in enumerate(answers):
        shape, first = answer.logits.shape, answers[0].logits.shape
        same = answer.classes is None or classes is None or np.array_equal(answer.classes, classes)
        if shape != first or not same:
            raise ValueError(
                f"teachers must know the same classes: teacher 0 gives {first}, teacher {number} gives {shape} with "
                f"classes {None if answer.classes is None else answer.classes.tolist()}"
            )
    mixed = sum(share * _proba(answer.logits) for share, answer in zip(shares, answers, strict=True))
    return Said(np.log(np.maximum(mixed, MIN_PROBABILITY)), classes)


def best_on(teachers: Sequence[Any], eval_set: Any, outputs: str) -> int:
    """Number of the teacher with the lowest log-loss on labelled rows that it was not trained on."""
    if eval_set is None:
        raise ValueError("teacher_weights='validation' needs eval_set=(X_val, y_val) to judge the teachers by")
    X, y = eval_set
    labels, losses = np.asarray(y), []
    for teacher in teachers:
        if hasattr(teacher, "__array__"):
            raise TypeError("teacher_weights='validation' needs teachers that can be asked of eval_set; got an array")
        said = _ask_one(teacher, X, outputs)
        classes = np.arange(said.logits.shape[1]) if said.classes is None else said.classes
        known = np.isin(labels, classes)
        if not known.any():
            raise ValueError(f"eval_set has no row with a label among the classes {classes.tolist()}")
        p = _proba(said.logits[known])
        chosen = p[np.arange(len(p)), np.searchsorted(classes, labels[known])]
        losses.append(float(-np.log(np.maximum(chosen, MIN_PROBABILITY)).mean()))
    return int(np.argmin(losses))


def checked_shares(weights: Any, n: int) -> np.ndarray:
    """Weights of n teachers, summing to 1."""
    shares = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (n,) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
        raise ValueError(f"teacher_weights must be {n} numbers, not negative and not all 0; got {weights!r}")
    return shares / shares.sum()


def values_of(teacher: Any, X: Any, weights: Any = None) -> np.ndarray:
    """Values (n,) or (n, k) that a teacher of a regression, or the weighted mean of several, gives for X."""
    several = teachers_in(teacher, 1)
    if several is None:
        if weights is not None:
            raise ValueError("teacher_weights are for a list of teachers; got one teacher")
        if hasattr(teacher, "__array__") or isinstance(teacher, (list, tuple)):
            return as_real_array(teacher, "the teacher's values").astype(np.float64)
        if hasattr(teacher, "predict_proba") or hasattr(teacher, "predict_logits"):
            raise TypeError(f"the student is a regressor and learns values; {type(teacher).__name__} is a classifier")
        call = getattr(teacher, "predict", teacher)
        if not callable(call):
            raise TypeError(
                f"a teacher of values is an array, has predict, or is callable; got {type(teacher).__name__}"
            )
        return as_real_array(call(X), "the teacher's values").astype(np.float64)
    if isinstance(weights, str):
        raise ValueError(f"teacher_weights of a regression must be numbers; got {weights!r}")
    shares = checked_shares(weights, len(several))
    return np.asarray(sum(share * values_of(one, X) for share, one in zip(shares, several, strict=True)))


def _ask_one(teacher: Any, X: Any, outputs: str) -> Said:
    if hasattr(teacher, "__array__") or isinstance(teacher, (list, tuple)):
        array = as_real_array(teacher, "teacher")
        if outputs == "proba" or (outputs == "auto" and _taken_as_probabilities(array, "the teacher's array")):
            adapter = as_model(lambda _: array, returns="proba")
            return Said(adapter.predict_logits(X), None)
        return Said(array, None)
    adapter = teacher if isinstance(teacher, ModelAdapter) else as_model(teacher)
    plain = adapter.undeclared
    if plain and outputs == "proba":
        adapter = as_model(teacher, returns="proba")
    logits = adapter.predict_logits(X)
    if plain and outputs == "auto" and _taken_as_probabilities(logits, repr(adapter)):
        logits = np.log(np.maximum(logits, MIN_PROBABILITY))
    elif not plain and outputs == "proba":
        logits = np.log(np.maximum(adapter.predict_proba(X), MIN_PROBABILITY))
    return Said(logits, getattr(adapter, "classes_", None))


def _taken_as_probabilities(array: np.ndarray, whose: str) -> bool:
    found = looks_like_probabilities(array)
    if found:
        warnings.warn(
            TakenAsProbabilities(
                f"the rows of {whose} are non-negative and sum to 1, so they are taken as probabilities; say "
                'outputs="proba" (or "logits", if they are) to be sure'
            ),
            stacklevel=5,
        )
    return found


def _proba(logits: np.ndarray) -> np.ndarray:
    from fastkd.losses import softmax

    return softmax(np.asarray(logits, np.float64))
