"""Predictor: a trained network, frozen, for one row at a time with as little between call and answer as possible."""

from typing import Any

import numpy as np

from fastkd._core._native import PredictorCore
from fastkd.models._thaw import thawed


def folded_parameters(model: Any) -> np.ndarray:
    """The model's flat parameters with its scaler folded into the first layer, float64.

    ((x - m) / s) @ W + b = x @ (W / s) + (b - (m / s) @ W), so a raw row needs no separate scaling.
    """
    parameters = model.parameters.astype(np.float64)
    if (scaler := model._scaler_to_use()) is not None:
        n_in, n_out = model._kernel.sizes[:2]
        weights = parameters[: n_in * n_out].reshape(n_in, n_out)
        bias = parameters[n_in * n_out : (n_in + 1) * n_out]
        bias -= (scaler.mean_ / scaler.scale_) @ weights
        weights /= scaler.scale_[:, None]
    return parameters


class Predictor(PredictorCore):
    """Probabilities (of a classifier) or values (of a regressor) of one row or a batch of raw features.

    The weights are those the model has now; training it further does not reach the predictor. It holds no state that
    a call changes, so threads may share it.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Fitted. Its `scaler` is folded into the first layer in float64. For an LSTMClassifier or CNNClassifier a
        `SequencePredictor` is made instead.
    on_nan : {"nan", "raise"}
        A row with a NaN gives a row of NaN, or a ValueError.

    Attributes
    ----------
    classes_ : (n_classes,) array
        Only of a classifier: `argmax` gives the index into it.
    n_features, n_outputs, dtype

    Notes
    -----
    In float32 a raw feature whose mean is 10^k times its spread loses about k of its 7 digits, before any arithmetic:
    train such a model with dtype="float64", or on returns in place of prices.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import MLPClassifier
    >>> predict = MLPClassifier(hidden=(8,), random_state=0).initialize(4, 3).predictor()
    >>> predict(np.zeros(4, np.float32))
    array([0.33333334, 0.33333334, 0.33333334], dtype=float32)
    >>> out = np.empty(3, np.float32)
    >>> predict(np.zeros(4, np.float32), out=out) is out
    True
    """

    def __new__(cls, model: Any, on_nan: str = "nan") -> Any:
        if getattr(model, "_takes_windows", False):
            from fastkd.models.sequence_predictor import SequencePredictor

            return SequencePredictor(model, on_nan)
        if not hasattr(model, "_kernel"):
            if hasattr(model, "_check_fitted"):
                model._check_fitted()
            raise TypeError(f"Predictor needs a fitted MLPClassifier or MLPRegressor; got {type(model).__name__}")
        kernel = model._kernel
        with np.errstate(over="ignore"):
            parameters = folded_parameters(model).astype(kernel.dtype)
        if not np.isfinite(parameters).all():
            raise ValueError(f"with the scaler folded in, the weights overflow {kernel.dtype}; scale_ is too small")
        classes = getattr(model, "classes_", None)
        output = "identity" if classes is None else "softmax"
        names = getattr(model, "feature_names_in_", None)
        return cls._packed((kernel.sizes, kernel.activation, kernel.dtype, parameters, on_nan, output, names), classes)

    @classmethod
    def _packed(cls, arguments: tuple[Any, ...], classes: np.ndarray | None) -> "Predictor":
        predictor = super().__new__(cls, *arguments)
        predictor._arguments = arguments  # for copies and other processes
        if classes is not None:
            predictor.classes_ = classes
        return predictor

    def __reduce__(self):
        return thawed, (type(self), self._arguments, getattr(self, "classes_", None))
