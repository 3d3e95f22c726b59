"""What the classifiers of windows (rows, steps, features) share."""

from typing import Any, Self

import numpy as np

from fastkd.models._classification import NetworkClassifier
from fastkd.models._hyperparameters import check_training, checked_dtype, checked_hidden, integer
from fastkd.models._inputs import check_windows
from fastkd.models._network import shared_kernel
from fastkd.models._perceptron import dense_weights
from fastkd.models.sequence_predictor import SequencePredictor

MAX_LAYERS = 16


def checked_shape(input_shape: Any) -> tuple[int, int]:
    """(steps, features), both at least 1."""
    try:
        steps, features = input_shape
    except (TypeError, ValueError):
        raise ValueError(f"the shape of a window must be a pair (steps, features); got {input_shape!r}") from None
    integer("steps", steps, low=1)
    integer("features", features, low=1)
    return int(steps), int(features)


class SequenceClassifier(NetworkClassifier):
    """Base of LSTMClassifier and CNNClassifier. The hyper-parameters are theirs; see their docstrings."""

    _takes_windows = True

    hidden: Any
    activation: str

    def _body(self) -> tuple[str, tuple[int, ...], str, int]:
        """(kind, width of each layer, pooling, kernel_size) from the hyper-parameters, checked."""
        raise NotImplementedError

    def _body_weights(self, kernel: Any, rng: np.random.Generator) -> list[np.ndarray]:
        raise NotImplementedError

    def _new_kernel(self, input_shape: tuple[int, ...], n_outputs: int) -> Any:
        from fastkd._core._native import SequenceKernel

        steps, features = checked_shape(input_shape)
        integer("n_outputs", n_outputs, low=1)
        check_training(self)
        self._check_loss()
        kind, layers, pooling, kernel_size = self._body()
        if not 1 <= len(layers) <= MAX_LAYERS:
            raise ValueError(f"{type(self).__name__} takes 1 to {MAX_LAYERS} layers; got {len(layers)}")
        sizes = (layers[-1], *checked_hidden(self.hidden), int(n_outputs))
        shape = (kind, steps, (features, *layers), sizes, self.activation, pooling, kernel_size)
        return shared_kernel(SequenceKernel, *shape, checked_dtype(self.dtype).name)

    def _initial_weights(self, kernel: Any, rng: np.random.Generator) -> np.ndarray:
        body = self._body_weights(kernel, rng)
        return np.concatenate([part.ravel() for part in body] + dense_weights(kernel.sizes, kernel.activation, rng))

    def _check_rows(self, X: Any, dtype: np.dtype, shape: tuple[int, ...] | None, scaler: Any) -> np.ndarray:
        return check_windows(X, dtype, owner=type(self).__name__, shape=shape, scaler=scaler)

    def initialize(self, input_shape: tuple[int, int], n_outputs: int) -> Self:
        """Fresh weights without data, for windows of (steps, features) and classes 0 .. n_outputs - 1; returns self."""
        self._initialize(input_shape, n_outputs)
        self.classes_ = np.arange(n_outputs)
        return self

    def predictor(self, *, on_nan: str = "nan", weights: str | None = None, calibration: Any = None):
        """A `fastkd.deploy.SequencePredictor` of the weights as they are now, the scaler included.

        weights="bfloat16" reads an LSTM's weights in half the bytes; what that changes is measured on `calibration`
        windows and told by the predictor.
        """
        return SequencePredictor(self, on_nan, weights, calibration)
