"""The scikit-learn estimator protocol, written out so that scikit-learn itself is not needed."""

import inspect
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np


class NotFittedError(ValueError, AttributeError):
    """The estimator was asked for something that only `fit` or `initialize` gives it."""


class ConvergenceWarning(UserWarning):
    """Training ended early because the loss was no longer a number."""


class DataConversionWarning(UserWarning):
    """The data were taken, but in another shape than they came."""


def warn_caller(warning: Warning) -> None:
    """Issue a warning that points at the first frame outside this package."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("fastkd."):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


@dataclass(frozen=True, eq=False)
class LinearScaler:
    """x -> (x - mean_) / scale_, column by column, in float64."""

    mean_: np.ndarray
    scale_: np.ndarray

    @classmethod
    def of(cls, scaler: Any) -> "LinearScaler":
        """Copy of anything with `mean_` and `scale_`; either may be None, which leaves that part out."""
        if not (hasattr(scaler, "mean_") and hasattr(scaler, "scale_")):
            raise TypeError(f"scaler must be fitted and have mean_ and scale_; got {type(scaler).__name__}")
        given = scaler.mean_ if scaler.mean_ is not None else scaler.scale_
        if given is None:
            raise ValueError("scaler has neither a mean_ nor a scale_; use scaler=None")
        mean = np.zeros(np.shape(given)) if scaler.mean_ is None else np.array(scaler.mean_, np.float64)
        scale = np.ones(np.shape(given)) if scaler.scale_ is None else np.array(scaler.scale_, np.float64)
        if mean.ndim != 1 or mean.shape != scale.shape:
            raise ValueError(f"scaler needs 1-D mean_ and scale_ of one length; got {mean.shape} and {scale.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale != 0.0).all()):
            raise ValueError("scaler needs finite mean_ and finite, non-zero scale_")
        mean.setflags(write=False)
        scale.setflags(write=False)
        return cls(mean, scale)

    def transform(self, X: np.ndarray) -> np.ndarray:
        return (np.asarray(X, np.float64) - self.mean_) / self.scale_


class Estimator:
    """get_params, set_params, repr, tags and the `scaler` attribute; constructor arguments are the hyper-parameters."""

    _estimator_type: str  # "classifier" or "regressor"
    _takes_windows = False  # rows of X are (steps, features)
    _scaler: LinearScaler | None = None

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        signature = inspect.signature(cls.__init__)
        return {name: p.default for name, p in signature.parameters.items() if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any):
        """Set hyper-parameters by name and return self.

        Raises
        ------
        ValueError
            If a name is not a hyper-parameter of this estimator.
        """
        valid = self._parameter_defaults()
        for name in params:
            if name not in valid:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {sorted(valid)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = []
        for name, default in self._parameter_defaults().items():
            value = getattr(self, name)
            if type(value) is not type(default) or repr(value) != repr(default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self):
        # Called by scikit-learn alone, so the import costs nobody else anything.
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifier = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True, multi_output=not classifier),
            classifier_tags=ClassifierTags() if classifier else None,
            regressor_tags=None if classifier else RegressorTags(),
            input_tags=InputTags(two_d_array=not self._takes_windows, three_d_array=self._takes_windows),
        )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            error: type[Exception] = NotFittedError
            if sk := sys.modules.get("sklearn.exceptions"):  # so that scikit-learn's own tools recognize it
                error = type("NotFittedError", (NotFittedError, sk.NotFittedError), {})
            raise error(f"this {type(self).__name__} has no weights yet; call fit or initialize first")

    @property
    def scaler(self) -> LinearScaler | None:
        """Scaling that the prediction methods apply first; None (the default) for none.

        Set it after training to anything fitted with `mean_` and `scale_` (`Standardizer`, scikit-learn's
        `StandardScaler`); a copy of the two arrays is kept. `predict*`, `score` and `predictor` then take raw
        features. `fit`, `partial_fit` and `gradient` never apply it: they take features already scaled. It is saved
        with the model.
        """
        return self._scaler

    @scaler.setter
    def scaler(self, value: Any) -> None:
        scaler = None if value is None else LinearScaler.of(value)
        n_features = getattr(self, "n_features_in_", None)
        if scaler is not None and n_features is not None and len(scaler.mean_) != n_features:
            raise ValueError(f"scaler is for {len(scaler.mean_)} features; the model has {n_features}")
        self._scaler = scaler
