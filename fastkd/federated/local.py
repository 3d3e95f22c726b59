"""A client's part of a round: receive the parameters, compute on its own rows, answer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array
from fastkd.federated.client import Client
from fastkd.federated.messages import Broadcast, Failure, Update

__all__ = ["LocalWork", "Worker", "own_model"]


@dataclass(frozen=True)
class LocalWork:
    """What every client is to do in a round.

    With no local epochs: the gradient of `batch_size` random rows (None for all). Else that many passes of gradient
    descent over its rows in random batches, with `learning_rate`.
    """

    batch_size: int | None
    local_epochs: int
    learning_rate: float


class Worker:
    """A client at work: its rows, and its model if it has one of its own."""

    def __init__(self, client: Client, model: Any, X: Any, y: Any) -> None:
        self.name = client.name
        self.model = model  # None: lent for the round
        self.X, self.y = X, y

    def answer(self, message: Broadcast, work: LocalWork, rng: np.random.Generator, lent: Any) -> Update | Failure:
        """An update, or a failure if anything goes wrong: one client's fault must not end the federation."""
        try:
            model = lent if self.model is None else self.model
            loss, vector = _compute(model, message.parameters, self.X, self.y, work, rng)
            return Update(self.name, message.round, vector, loss)
        except Exception as error:
            return Failure(self.name, message.round, f"{type(error).__name__}: {error}")


def _compute(
    model: Any, parameters: np.ndarray, X: Any, y: Any, work: LocalWork, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    n = len(y)
    size = n if work.batch_size is None else min(work.batch_size, n)
    model.parameters = parameters
    if work.local_epochs == 0:
        if size < n:
            rows = np.sort(rng.choice(n, size, replace=False))
            X, y = X[rows], y[rows]
        loss, gradient = model.gradient(X, y)
        return float(loss), np.array(gradient)
    own = parameters.copy()
    losses = []
    for _ in range(work.local_epochs):
        order = rng.permutation(n)
        for start in range(0, n, size):
            rows = order[start : start + size]
            loss, gradient = model.gradient(X[rows], y[rows])
            own = own - np.asarray(work.learning_rate, own.dtype) * np.asarray(gradient)
            model.parameters = own
            losses.append(float(loss))
    return float(np.mean(losses)), parameters - own


def rows_of(client: Client) -> tuple[np.ndarray, np.ndarray]:
    """X and y of a client as arrays."""
    if client.y is None:
        raise ValueError(f"client {client.name!r} has no y; RobustFL trains on labeled rows")
    try:
        return as_array(client.X, "X"), np.asarray(client.y)
    except (TypeError, ValueError) as error:
        raise type(error)(f"client {client.name!r}: {error}") from None


def own_model(client: Client, server: Any) -> Any:
    """A private copy of the client's model that fits the server's, or None if the client has none."""
    if client.model is None:
        return None
    model = copy.deepcopy(client.model)
    if not hasattr(model, "gradient") or not (hasattr(model, "parameters") or hasattr(model, "initialize")):
        raise TypeError(
            f"client {client.name!r}: a model needs `parameters` and `gradient(X, y)`; got {type(model).__name__}. "
            "Give None to use a copy of the server's"
        )
    wanted = np.shape(server.parameters)
    if not has_weights(model):
        model.initialize(*sizes_of(server))
    if np.shape(model.parameters) != wanted:
        raise ValueError(
            f"client {client.name!r}: its model has parameters of shape {np.shape(model.parameters)}, the server's "
            f"{wanted}. RobustFL needs the same network everywhere; FedMD takes different ones"
        )
    if hasattr(model, "classes_") and hasattr(server, "classes_"):
        model.classes_ = copy.copy(server.classes_)
    return model


def has_weights(model: Any) -> bool:
    """Whether `parameters` can be read; an estimator before `fit` and `initialize` has none."""
    fitted = getattr(model, "__sklearn_is_fitted__", None)
    return bool(fitted()) if fitted is not None else hasattr(model, "parameters")


def sizes_of(model: Any) -> tuple[Any, int]:
    """What `initialize` of an estimator of this package takes: n_features or (steps, features), and n_outputs."""
    shape = model._shape if hasattr(model, "_shape") else model._kernel.input_shape
    n_outputs = len(model.classes_) if hasattr(model, "classes_") else model._kernel.n_outputs
    return shape if len(shape) > 1 else shape[0], n_outputs
