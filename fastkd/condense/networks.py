"""The models that condensation trains inside: softmax regression, linear regression and perceptrons of any depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import plain
from fastkd._core._native import MLPKernel, Optimizer, Targets
from fastkd.models import MLPClassifier, MLPRegressor
from fastkd.models._perceptron import dense_weights

NAMED = {"mlp": (64,), "softmax": (), "linear": (), "ridge": ()}


@dataclass(frozen=True, eq=False)
class Net:
    """Shape and loss of a network; its weights are flat vectors."""

    kernel: MLPKernel
    squared: bool
    l2: float

    @property
    def dtype(self) -> np.dtype:
        return self.kernel.dtype

    def fresh(self, rng: np.random.Generator) -> np.ndarray:
        """Random initial weights."""
        return np.concatenate(dense_weights(self.kernel.sizes, self.kernel.activation, rng)).astype(self.dtype)

    def targets(self, y: np.ndarray) -> Targets:
        """What the kernels learn from: codes (n,), or soft labels or values (n, n_outputs)."""
        n = len(y)
        if y.ndim == 1:
            if not self.squared:
                return Targets(n, self.dtype, labels=plain(y, np.int32))
            y = np.eye(self.kernel.sizes[-1])[y]
        y = plain(y, self.dtype)
        return Targets(n, self.dtype, values=y) if self.squared else Targets(n, self.dtype, soft=y, kd_weight=1.0)

    def gradient(self, params: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        return self.kernel.loss_gradient(params, X, self.targets(y))

    def train(
        self,
        X: np.ndarray,
        y: np.ndarray,
        rng: np.random.Generator,
        *,
        epochs: int = 200,
        rate: float = 0.01,
        params: np.ndarray | None = None,
        optimizer: str = "adam",
        batch: int = 256,
    ) -> np.ndarray:
        """Weights after training on some rows."""
        params = self.fresh(rng) if params is None else params
        state = Optimizer(optimizer, self.kernel.n_parameters, self.dtype, momentum=0.0)
        targets, rows = self.targets(y), np.arange(len(X))
        for _ in range(epochs):
            order = rng.permutation(len(X)) if len(X) > batch else rows
            self.kernel.epoch(params, state, X, targets, order, batch, rate, self.l2)
        return params


def read_net(
    model: Any, n_features: int, n_outputs: int, regression: bool, dtype: np.dtype, hidden: tuple[int, ...] = (64,)
) -> Net:
    """The network that `model` names.

    None gives `hidden`. Names are "mlp" (64 hidden units), "softmax", "linear" and "ridge" (squared loss); an
    `MLPClassifier` or `MLPRegressor` lends hidden layers, activation and l2; a tuple gives the widths of hidden
    layers.
    """
    options: dict[str, Any] = {"dtype": np.dtype(dtype).name}
    squared = regression or model in ("linear", "ridge")
    if model is None:
        options["hidden"] = hidden
    elif isinstance(model, str):
        if model not in NAMED:
            raise ValueError(
                f"model must be one of {', '.join(NAMED)}, an MLPClassifier or MLPRegressor; got {model!r}"
            )
        if model == "softmax" and regression:
            raise ValueError("model='softmax' needs labels; y holds real values: use 'linear' or 'mlp'")
        options["hidden"] = NAMED[model]
        options["l2"] = 1e-3 if model == "ridge" else 0.0
    elif isinstance(model, tuple | list):
        options["hidden"] = tuple(model)
    elif isinstance(model, MLPClassifier | MLPRegressor):
        squared = squared or isinstance(model, MLPRegressor)
        options.update(hidden=model.hidden, activation=model.activation, l2=model.l2)
    else:
        raise TypeError(
            f"model must be a name, widths, an MLPClassifier or an MLPRegressor; got {type(model).__name__}"
        )
    estimator = (MLPRegressor if squared else MLPClassifier)(**options)
    estimator.initialize(n_features, n_outputs)
    return Net(estimator._kernel, squared, float(estimator.l2))
