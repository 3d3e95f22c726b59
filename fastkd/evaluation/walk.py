"""Fit a model fold after fold on the past and report on the rows that came later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import numpy as np

from fastkd._check import to_array
from fastkd._parallel import each
from fastkd.evaluation.report import EvaluationReport, evaluation_report

__all__ = ["walk_forward_report"]


def walk_forward_report(
    model: Any,
    X: Any,
    y: Any,
    splits: Iterable[tuple[Any, Any]],
    *,
    scaler: Any = None,
    regimes: Any = None,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
    executor: Any = None,
    **options: Any,
) -> EvaluationReport:
    """For each fold fit a copy of the model on the training rows and forecast the test rows; then report on them all.

    Parameters
    ----------
    model : classifier with fit(X, y) and predict_proba(X)
        Stays as it is. Where a training part lacks a class, its `classes_` tell which columns its forecasts have.
    X : array_like, shape (n, ...)
        Features in time order.
    y : array_like, shape (n,)
        Classes, integers from 0; rows with -1 are left out of training and report alike.
    splits : iterable of (train, test) index arrays
        ``walk_forward(len(y), folds, purge=horizon)``, or what a scikit-learn splitter yields.
    scaler : object with fit and transform, optional
        Such as ``Standardizer()``; a copy is fitted on each fold's training rows.
    regimes : array_like, shape (n,), optional
        Regime of each row, -1 for none; see `evaluation_report`.
    progress : callable, optional
        Called with the number of folds done.
    workers : int
        Threads for the folds, -1 for one a core; the report does not depend on it.
    executor : concurrent.futures.Executor, optional
        Takes the folds instead: processes, Dask, Ray, MPI. Model and rows must be picklable.
    **options
        For `evaluation_report`; `class_names` may name classes that do not occur, and ``block`` should be the horizon
        of the labels at least.

    Raises
    ------
    ValueError
        A fold has no labelled rows to train on or to test, or trains on rows that are not before its test rows.

    Examples
    --------
    >>> from fastkd.features import FeatureSet, Standardizer, direction_labels, walk_forward
    >>> from fastkd.market import synthetic_market
    >>> from fastkd.models import MLPClassifier
    >>> candles = synthetic_market(3000, random_state=0)
    >>> features = FeatureSet("rich")
    >>> X, _ = features.transform(candles)
    >>> y = direction_labels(candles)[features.n_warmup :]
    >>> model = MLPClassifier((16,), epochs=10, learning_rate=0.01, random_state=0)
    >>> splits = walk_forward(len(y), 3, purge=1)
    >>> report = walk_forward_report(model, X, y, splits, scaler=Standardizer())
    >>> report.has_skill, len(report.folds)
    (True, 3)
    """
    inputs, labels = to_array(X, "X"), to_array(y, "y")
    if labels.shape != inputs.shape[:1]:
        raise ValueError(f"X and y must have the same number of rows; got {inputs.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"y must hold classes as integers, -1 where unknown; got dtype {labels.dtype}")
    n_classes = max(int(labels.max(initial=0)) + 1, len(options.get("class_names") or ()))
    jobs, tested = [], []
    for fold, (train, test) in enumerate(splits):
        train, test = (np.asarray(rows)[labels[np.asarray(rows)] >= 0] for rows in (train, test))
        if not len(train) or not len(test):
            raise ValueError(f"fold {fold + 1} has {len(train)} labelled training and {len(test)} test rows")
        if train.max() >= test.min():
            raise ValueError(f"fold {fold + 1} trains on row {train.max()}, which is not before its test rows")
        jobs.append((model, scaler, inputs[train], labels[train], inputs[test], n_classes))
        tested.append(test)
    if not tested:
        raise ValueError("there are no folds: splits is empty")
    forecasts = each(_forecast, jobs, workers=workers, executor=executor, done=progress)
    rows = np.concatenate(tested)
    return evaluation_report(
        labels[rows],
        np.concatenate(forecasts),
        folds=np.repeat(np.arange(len(tested)), [len(test) for test in tested]),
        regimes=None if regimes is None else to_array(regimes, "regimes")[rows],
        **options,
    )


def _forecast(job: tuple[Any, Any, np.ndarray, np.ndarray, np.ndarray, int]) -> np.ndarray:
    """Probabilities of the later rows by copies of model and scaler that have seen the past."""
    model, scaler, past, labels, later, n_classes = job
    if scaler is not None:
        fitted = deepcopy(scaler).fit(past)
        past, later = fitted.transform(past), fitted.transform(later)
    classifier = deepcopy(model)
    classifier.fit(past, labels)
    return _all_classes(classifier, classifier.predict_proba(later), n_classes)


def _all_classes(classifier: Any, proba: Any, n_classes: int) -> np.ndarray:
    """Forecasts with a column for each class, 0 for those that the training part did not show."""
    p = np.asarray(proba)
    if p.shape[1] == n_classes:
        return p
    full = np.zeros((len(p), n_classes))
    full[:, np.asarray(classifier.classes_, dtype=np.int64)] = p
    return full
