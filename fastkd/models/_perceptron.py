"""What MLPClassifier and MLPRegressor share: their kernel, its first weights, and rows of features."""

from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._core._native import MLPKernel
from fastkd.models._hyperparameters import check_training, checked_dtype, checked_hidden, integer
from fastkd.models._inputs import check_rows
from fastkd.models._network import Network, shared_kernel


def mlp_kernel(sizes: tuple[int, ...], activation: str, dtype: Any) -> MLPKernel:
    return shared_kernel(MLPKernel, sizes, activation, np.dtype(dtype).name)


def dense_weights(sizes: tuple[int, ...], activation: str, rng: np.random.Generator) -> list[np.ndarray]:
    """He uniform (2015) into relu and gelu, Glorot uniform (2010) elsewhere; biases are 0."""
    parts = []
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        rectified = activation in ("relu", "gelu") and layer < len(sizes) - 2
        limit = np.sqrt(6.0 / n_in if rectified else 6.0 / (n_in + n_out))
        parts += [rng.uniform(-limit, limit, n_in * n_out), np.zeros(n_out)]
    return parts


class MLP(Network):
    """Base of the two perceptrons. The hyper-parameters are theirs; see their docstrings."""

    hidden: Any
    activation: str

    def _new_kernel(self, input_shape: tuple[int, ...], n_outputs: int) -> Any:
        check_training(self)
        self._check_loss()
        integer("n_features", input_shape[0], low=1)
        integer("n_outputs", n_outputs, low=1)
        sizes = (int(input_shape[0]), *checked_hidden(self.hidden), int(n_outputs))
        return mlp_kernel(sizes, self.activation, checked_dtype(self.dtype))

    def _initial_weights(self, kernel: Any, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate(dense_weights(kernel.sizes, kernel.activation, rng))

    def _check_rows(self, X: Any, dtype: np.dtype, shape: tuple[int, ...] | None, scaler: Any) -> np.ndarray:
        n_features = None if shape is None else shape[0]
        return check_rows(X, dtype, owner=type(self).__name__, n_features=n_features, scaler=scaler)
