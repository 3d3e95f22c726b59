"""A client's part of `FedMD`: revisit its own rows, digest what was agreed on, predict."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

from fastkd._check import as_array
from fastkd.federated.client import Client, labeled
from fastkd.federated.local import has_weights
from fastkd.federated.messages import Assignment, Failure, Predictions
from fastkd.federated.predictions import encode, in_range, sharpen
from fastkd.models._classification import NetworkClassifier
from fastkd.models.adapters import MIN_PROBABILITY, as_model
from fastkd.models.classifier import MLPClassifier

__all__ = ["Student"]

NETWORK, REFITTED, FIXED = "network", "refitted", "fixed"


class Student:
    """A participant with its model, a copy of the one it came with.

    A network of `fastkd.models` goes on training; an estimator with `fit` (scikit-learn, LightGBM, XGBoost) is fitted
    anew each round on its own rows and the public ones; anything else that predicts takes part as it is.
    """

    def __init__(self, name: str, model: Any, X: Any, y: Any, classes: np.ndarray, plan: Any, seed: int) -> None:
        self.name, self.classes, self.plan = name, classes, plan
        self.kind = kind_of(model)
        self.model = self.copied(model)
        self.X = None if X is None else self._view(X)
        self.own_X, self.own_y = self.X, None if y is None else np.asarray(y)
        if self.own_X is not None and self.own_y is not None:
            labeled = np.isin(self.own_y, classes)
            strange = [v for v in np.unique(self.own_y[~labeled]).tolist() if v != -1]
            if strange:
                raise ValueError(f"labels {strange[:5]} are not among the classes {classes.tolist()}")
            self.own_X, self.own_y = self.own_X[labeled], self.own_y[labeled]
        self.seed = seed
        self._given = self._seeded()
        self.trained = has_weights(self.model) if self.kind == NETWORK else self._is_fitted()
        self.fresh = not self.trained

    def copied(self, model: Any) -> Any:
        """A copy of a model that learns; others are shared, for a session or a connection has no copy."""
        return model if self.kind == FIXED else copy.deepcopy(model)

    def released(self) -> Any:
        """A copy of the model with the hyper-parameters it came with."""
        model = self.copied(self.model)
        if self._given:
            model.set_params(**self._given)
        return model

    def _seeded(self) -> dict[str, Any]:
        """What a run changes of the hyper-parameters, as it was; estimators without a seed have got one."""
        if self.kind == FIXED or not hasattr(self.model, "get_params"):
            return {}
        params = self.model.get_params()
        if self.kind == NETWORK:
            return {name: params[name] for name in ("temperature", "kd_weight") if name in params}
        seeds = {n: None for n, v in params.items() if v is None and n.split("__")[-1] == "random_state"}
        if seeds:
            self.model.set_params(**dict.fromkeys(seeds, self.seed % 2**31))
        return seeds

    # -- the protocol -------------------------------------------------------------------------------------------------

    def answer(self, task: Assignment, public: tuple[Any, Any], rng: np.random.Generator) -> Predictions | Failure:
        """Predictions after training, or a failure if anything goes wrong: one client must not end the federation."""
        try:
            self.train(task, public, rng)
            if not self.trained:
                return Failure(self.name, task.round, "nothing learned yet")
            values = self.say(task, public[0])
            return Predictions(self.name, task.round, task.answer_rows, values, 0 if self.X is None else len(self.X))
        except Exception as error:
            return Failure(self.name, task.round, f"{type(error).__name__}: {error}")

    def train(self, task: Assignment, public: tuple[Any, Any], rng: np.random.Generator) -> None:
        """Private rows with their labels, then public rows with the soft ones; after a restart the other way round."""
        if self.kind == FIXED:
            return
        if self.kind == REFITTED:
            self._refit(task, public)
            return
        if task.restart and not self.fresh:
            self.fresh = True
            self.trained = False
        if not self.trained:
            self.initialize(public[0])
        if hasattr(self.model, "_run"):  # so that a round depends on nothing that a checkpoint would not keep
            self.model._run.rng = rng
        if task.restart:
            self._digest(task, public, self.plan.initial_epochs)
        if self.fresh and public[1] is not None:
            known = labeled(public[1], self.classes)
            if known.any():
                self._passes(self._view(public[0])[known], public[1][known], self.plan.initial_epochs)
        self._revisit(self.plan.initial_epochs if self.fresh else self.plan.revisit_epochs)
        self.fresh = False
        self._digest(task, public, self.plan.digest_epochs)

    def say(self, task: Assignment, public_X: Any) -> np.ndarray:
        """What the answer holds, before any noise."""
        dtype = self.plan.dtype
        if public_X is not None:
            rows = self._view(public_X)
            rows = rows if task.answer_rows is None else rows[task.answer_rows]
            return in_range(encode(self.logits(rows), task.space, task.answer_temperature), dtype)
        means = np.full((len(self.classes),) * 2, np.nan, dtype)
        said = encode(self.logits(self.own_X), task.space, task.answer_temperature)
        for c, label in enumerate(self.classes):
            mine = self.own_y == label
            if mine.any():
                means[c] = in_range(said[mine].mean(axis=0), dtype)
        return means

    def logits(self, rows: Any) -> np.ndarray:
        """(n, n_classes) in the order of the federation's classes, whatever the model's are."""
        if self.kind != NETWORK:
            return self._foreign_logits(rows)
        return self.model.predict_logits(rows)

    def score(self, X: Any, y: Any) -> float:
        """Accuracy on the rows that have a label."""
        y = np.asarray(y)
        known = labeled(y, self.classes)
        if not known.any():
            raise ValueError("no row of the eval_set has a label")
        best = self.logits(self._view(X)[known]).argmax(axis=1)
        return float((self.classes[best] == y[known]).mean())

    # -- training -----------------------------------------------------------------------------------------------------

    def initialize(self, public_X: Any) -> None:
        rows = self.X if self.X is not None else self._view(public_X)
        shape = rows.shape[1:]
        seeded = getattr(self.model, "random_state", 0) is None
        if seeded:
            self.model.random_state = self.seed
        self.model.initialize(shape[0] if len(shape) == 1 else shape, len(self.classes))
        if seeded:
            self.model.random_state = None
        self.model.classes_ = self.classes.copy()
        self.model.fit_scaler(rows)
        self.trained = True

    def _passes(self, X: Any, y: Any, epochs: int, **teacher: Any) -> None:
        if isinstance(self.model, NetworkClassifier):
            if epochs:
                self.model.partial_fit(X, y, passes=epochs, **teacher)
            return
        for _ in range(epochs):
            self.model.partial_fit(X, y, **teacher)

    def _revisit(self, epochs: int) -> None:
        if self.own_y is not None and len(self.own_y):
            self._passes(self.own_X, self.own_y, epochs)

    def _digest(self, task: Assignment, public: tuple[Any, Any], epochs: int) -> None:
        if task.targets is None or not epochs or self.plan.kd_weight == 0.0:
            return
        X, y = public
        if X is None:  # per class: the client's own rows, each with what the others say of its class
            if self.own_y is None or not len(self.own_y):
                return
            X, y = self.own_X, self.own_y
            targets = task.targets[np.searchsorted(self.classes, y)]
        else:
            X, targets = self._view(X), task.targets
            if task.rows is not None:
                X, y = X[task.rows], None if y is None else y[task.rows]
        self.model.set_params(temperature=task.temperature, kd_weight=self.plan.kd_weight)
        name = "soft_labels" if task.space == "probability" else "teacher_logits"
        self._passes(X, y, epochs, **{name: targets})

    def _refit(self, task: Assignment, public: tuple[Any, Any]) -> None:
        """Fit anew; a public row counts once for each class, with the weight that its soft label gives it.

        The weighted cross-entropy of such rows is that of the soft label itself.
        """
        X, y = self.own_X, self.own_y
        weights = None if y is None else np.ones(len(y))
        learns = self.plan.kd_weight > 0.0 and self.plan.digest_epochs > 0
        if learns and task.targets is not None and public[0] is not None:
            rows = self._view(public[0])
            rows = rows if task.rows is None else rows[task.rows]
            soft = sharpen(np.asarray(task.targets, np.float64), task.space, task.temperature)
            if not _takes_weights(self.model):
                soft = np.eye(len(self.classes))[soft.argmax(axis=1)]
            row, label = np.nonzero(soft > 1e-6)
            share = self.plan.kd_weight / max(1.0 - self.plan.kd_weight, 1e-6)
            share *= 1.0 if y is None or not len(y) else len(y) / len(rows)
            more = (rows[row], self.classes[label], share * soft[row, label])
            have_own = y is not None and len(y) > 0
            X, y, weights = (
                tuple(np.concatenate([a, b]) for a, b in zip((X, y, weights), more, strict=True)) if have_own else more
            )
        if y is None or not len(y):
            return
        if _takes_weights(self.model):
            self.model.fit(X, y, sample_weight=weights)
        else:
            self.model.fit(X, y)
        self.trained = True

    # -- foreign models -----------------------------------------------------------------------------------------------

    def _view(self, X: Any) -> np.ndarray:
        """Rows as the model takes them: networks of plain features see a window as one long row."""
        rows = as_array(X, "X")
        flat = self.kind == REFITTED or isinstance(self.model, MLPClassifier)
        return rows.reshape(len(rows), -1) if flat and rows.ndim > 2 else rows

    def _is_fitted(self) -> bool:
        return self.kind == FIXED or hasattr(self.model, "classes_")

    def _foreign_logits(self, rows: Any) -> np.ndarray:
        """Logits with 0 for the most probable class, so that the floor cuts off only what has no chance."""
        if not self.trained:
            raise ValueError("nothing learned yet")
        model = as_model(self.model)
        logits = model.predict_logits(rows)
        top = logits.max(axis=1, keepdims=True)
        floor = np.log(MIN_PROBABILITY)
        with np.errstate(over="ignore", invalid="ignore"):  # a row of -inf prefers nothing
            logits = np.where(np.isneginf(top), 0.0, np.maximum(logits - top, floor))
        own = getattr(model, "classes_", None)
        if own is None or np.array_equal(own, self.classes):
            if logits.shape[1] != len(self.classes):
                raise ValueError(f"the model gives {logits.shape[1]} classes; the federation has {len(self.classes)}")
            return logits
        if not np.isin(own, self.classes).all():
            raise ValueError(f"the model knows classes {own.tolist()}; the federation has {self.classes.tolist()}")
        full = np.full((len(rows), len(self.classes)), floor)
        full[:, np.searchsorted(self.classes, own)] = logits
        return full


def kind_of(model: Any) -> str:
    """How a model takes part; TypeError if it cannot."""
    if all(hasattr(type(model), name) for name in ("initialize", "parameters", "partial_fit", "predict_logits")):
        return NETWORK
    if hasattr(model, "fit") and (hasattr(model, "predict_proba") or hasattr(model, "predict_logits")):
        return REFITTED
    as_model(model)
    return FIXED


def checked_students(clients: tuple[Client, ...], public_X: Any) -> None:
    """Errors about clients that could not take part, before anything is trained."""
    for client in clients:
        if client.model is None:
            raise ValueError(f"client {client.name!r} has no model; FedMD needs one for each client")
        if hasattr(client.model, "fit") and public_X is None and client.y is None:
            raise ValueError(f"client {client.name!r} has no y, and there is no public set to learn from")
        try:
            kind = kind_of(client.model)
        except TypeError as error:
            raise TypeError(f"client {client.name!r}: {error}") from None
        if public_X is None and kind != NETWORK:
            raise TypeError(
                f"client {client.name!r}: without a public set a client learns from soft labels of its own rows, which "
                f"needs a classifier of fastkd.models; got {type(client.model).__name__}"
            )


def _takes_weights(model: Any) -> bool:
    return "sample_weight" in _arguments(model.fit)


def _arguments(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()
