"""A student with a second output: how much the generations before it disagreed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastkd._check import as_matrix
from fastkd.distill._committee import spread
from fastkd.losses import softmax
from fastkd.models._perceptron import mlp_kernel
from fastkd.models.classifier import MLPClassifier

FLOOR = 1e-12  # variances below it are taken for it: their logarithm is what the head learns


class UncertaintyStudent:
    """A fitted MLP classifier with one more output, the predicted variance; both come from one forward pass.

    The output is linear in the last hidden layer and predicts the logarithm of the variance over the members of a
    committee. It is fitted by ridge regression with the network left as it is, so the class probabilities are exactly
    those of the classifier.

    Attributes
    ----------
    classes_ : (n_classes,) array
    correlation_ : float
        Correlation of predicted and true log-variance on the rows of the fit.
    """

    def __init__(self, kernel: Any, parameters: np.ndarray, classes: np.ndarray, correlation: float):
        self._kernel, self._parameters = kernel, parameters
        self.classes_ = classes
        self.correlation_ = correlation

    @classmethod
    def of(
        cls, model: MLPClassifier, rows: Any, *, spread_of: Sequence[Any], ridge: float = 1e-3
    ) -> "UncertaintyStudent":
        """The student that predicts the variance over `spread_of` as well.

        Parameters
        ----------
        model : MLPClassifier, fitted
        rows : (n, n_features)
            Rows to learn the variance from; labels are not needed, so rows beyond the training part may be among them.
        spread_of : sequence of fitted models
        ridge : float
            Weight of the squared coefficients, relative to the features' mean square.
        """
        if not isinstance(model, MLPClassifier):
            raise TypeError(f"the uncertainty head needs an MLPClassifier; got {type(model).__name__}")
        variance = spread([member.predict_proba(rows) for member in spread_of]).variance
        target = np.log(np.maximum(variance, FLOOR))
        features = _last_hidden(model, rows)
        center, middle = features.mean(axis=0), target.mean()
        F = features - center
        gram = F.T @ F
        gram[np.diag_indices_from(gram)] += ridge * max(float(np.trace(gram)) / len(gram), 1e-30)
        weights = np.linalg.solve(gram, F.T @ (target - middle))
        fitted = F @ weights
        scale = fitted.std() * target.std()
        correlation = float(((fitted - fitted.mean()) * (target - middle)).mean() / scale) if scale > 0.0 else 0.0
        return cls(*_widened(model, weights, middle - center @ weights), model.classes_, correlation)

    def predict_both(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """(class probabilities (n, n_classes), predicted variance (n,)) from one forward pass."""
        outputs = self._kernel.forward(self._parameters, as_matrix(X, "X", self._kernel.dtype, self._kernel.sizes[0]))
        return softmax(outputs[:, :-1]), np.exp(outputs[:, -1].astype(np.float64))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities, (n, n_classes)."""
        return self.predict_both(X)[0]

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_variance(self, X: Any) -> np.ndarray:
        """Predicted variance over the generations, (n,), as in `Uncertainty.variance`."""
        return self.predict_both(X)[1]


def _last_hidden(model: MLPClassifier, rows: Any) -> np.ndarray:
    """Activations of the last hidden layer, (n, width), float64; without hidden layers the rows themselves."""
    kernel = model._kernel
    rows = as_matrix(rows, "X", kernel.dtype)
    if len(kernel.sizes) == 2:
        return rows.astype(np.float64)
    width = kernel.sizes[-2]
    last = (width + 1) * kernel.sizes[-1]
    # The last layer replaced by the identity: the outputs are then what it got.
    reader = mlp_kernel((*kernel.sizes[:-1], width), kernel.activation, kernel.dtype)
    parameters = np.concatenate([model.parameters[:-last], np.eye(width + 1, width).ravel()]).astype(kernel.dtype)
    return reader.forward(parameters, rows).astype(np.float64)


def _widened(model: MLPClassifier, weights: np.ndarray, bias: float) -> tuple[Any, np.ndarray]:
    """The model's kernel and parameters with one more output."""
    kernel = model._kernel
    sizes = tuple(kernel.sizes)
    wide = mlp_kernel((*sizes[:-1], sizes[-1] + 1), kernel.activation, kernel.dtype)
    parameters = model.parameters
    n_last = (sizes[-2] + 1) * sizes[-1]
    last = parameters[len(parameters) - n_last :].reshape(sizes[-2] + 1, sizes[-1])
    column = np.append(weights, bias).astype(last.dtype)[:, None]
    return wide, np.concatenate([parameters[: len(parameters) - n_last], np.hstack([last, column]).ravel()])
