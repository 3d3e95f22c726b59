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
    """x -> (x - mean_) / scale_, column by column, in float64; mean_ is the offset, whatever it was computed as."""

    mean_: np.ndarray
    scale_: np.ndarray

    @classmethod
    def of(cls, scaler: Any) -> "LinearScaler":
        """Copy of any fitted linear scaler, of this package or of scikit-learn; an offset or scale of None counts not.

        Those are `Standardizer`, `MinMaxScaler01`, `MedianScaler`; `StandardScaler`, `RobustScaler`, `MinMaxScaler`.
        """
        offset_name = next((name for name in ("mean_", "offset_", "center_") if hasattr(scaler, name)), None)
        if hasattr(scaler, "data_min_"):  # scikit-learn's MinMaxScaler: x * scale_ + min_
            offset, factor = -scaler.min_ / scaler.scale_, 1.0 / scaler.scale_
        elif offset_name is None or not hasattr(scaler, "scale_"):
            raise TypeError(f"scaler must be fitted and have mean_ and scale_; got {type(scaler).__name__}")
        else:
            offset, factor = getattr(scaler, offset_name), scaler.scale_
        given = offset if offset is not None else factor
        if given is None:
            raise ValueError("scaler has neither a mean_ nor a scale_; use scaler=None")
        mean = np.zeros(np.shape(given)) if offset is None else np.array(offset, np.float64)
        scale = np.ones(np.shape(given)) if factor is None else np.array(factor, np.float64)
        if mean.ndim != 1 or mean.shape != scale.shape:
            raise ValueError(f"scaler needs 1-D mean_ and scale_ of one length; got {mean.shape} and {scale.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale != 0.0).all()):
            raise ValueError("scaler needs finite mean_ and finite, non-zero scale_")
        mean.setflags(write=False)
        scale.setflags(write=False)
        return cls(mean, scale)

    def transform(self, X: np.ndarray) -> np.ndarray:
        return (np.asarray(X, np.float64) - self.mean_) / self.scale_


def fitted_scaler(kind: Any, rows: np.ndarray) -> LinearScaler:
    """The scaler that the hyper-parameter `scale` names, fitted on training rows."""
    from fastkd.features.scaling import SCALERS  # loads the market's tables: only for those who scale

    if not isinstance(kind, str) or kind not in SCALERS:
        raise ValueError(f"scale must be None or one of {tuple(SCALERS)}; got {kind!r}")
    return LinearScaler.of(SCALERS[kind]().fit(rows))


class Estimator:
    """get_params, set_params, repr, tags and the scaler; constructor arguments are the hyper-parameters."""

    _estimator_type: str  # "classifier" or "regressor"
    _takes_windows = False  # rows of X are (steps, features)
    _scaled_by: str | None = None  # the `scale` that fitted scaler_; None if the user gave it

    scaler_: LinearScaler

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

    def __sklearn_clone__(self) -> "Estimator":
        """For scikit-learn's `clone`: an unfitted copy. It keeps a scaler that was given, which is no result of fit."""
        from sklearn.base import clone

        twin = type(self)(**{name: clone(value, safe=False) for name, value in self.get_params(deep=False).items()})
        if self._scaled_by is None and self.scaler is not None:
            twin.scaler_ = self.scaler_
        return twin

    # -- the scaler ---------------------------------------------------------------------------------------------------

    @property
    def scaler(self) -> LinearScaler | None:
        """The scaler that every method applies to raw features first; None (the default) for none. Also `scaler_`.

        `fit` fits one where the hyper-parameter `scale` says so. One of your own can be set, before or after
        training: anything fitted with `mean_` and `scale_` (`Standardizer`, scikit-learn's `StandardScaler` and its
        like); a copy of the two arrays is kept. From then on `fit`, `partial_fit`, `gradient`, `predict*`, `score` and
        `predictor` all take raw features. It is saved with the model.
        """
        return self.__dict__.get("scaler_")

    @scaler.setter
    def scaler(self, value: Any) -> None:
        scaler = None if value is None else LinearScaler.of(value)
        n_features = getattr(self, "n_features_in_", None)
        if scaler is not None and n_features is not None and len(scaler.mean_) != n_features:
            raise ValueError(f"scaler is for {len(scaler.mean_)} features; the model has {n_features}")
        self._keep_scaler(scaler, None)

    def fit_scaler(self, X: Any):
        """Fit `scaler_` as the hyper-parameter `scale` says, without training; returns self.

        For models that get their weights from elsewhere, such as in a federation. Nothing happens if `scale` is None.
        """
        if (scale := getattr(self, "scale", None)) is not None:
            self._keep_scaler(fitted_scaler(scale, np.asarray(X)), scale)
        return self

    def _keep_scaler(self, scaler: LinearScaler | None, scaled_by: str | None) -> None:
        self._scaled_by = scaled_by
        if scaler is None:
            self.__dict__.pop("scaler_", None)
        else:
            self.scaler_ = scaler

    def _given_scaler(self) -> LinearScaler | None:
        """The scaler that a new fit begins with: one that the user gave."""
        return self.scaler if self._scaled_by is None else None

    def _scaler_to_fit(self, rows: np.ndarray, scale: Any) -> LinearScaler | None:
        """The scaler of a fit on these raw training rows."""
        if scale is not None:
            return fitted_scaler(scale, rows)
        given = self._given_scaler()
        if given is not None and len(given.mean_) != rows.shape[-1]:
            raise ValueError(
                f"the model's scaler is for {len(given.mean_)} features; X has {rows.shape[-1]}. Set scaler=None, or "
                "a scaler of these features"
            )
        return given

    def _scaler_to_use(self) -> LinearScaler | None:
        """The scaler of a model in use; an error if it is meant to have one and has none."""
        scale = getattr(self, "scale", None)
        if self.scaler is None and scale is not None:
            raise NotFittedError(
                f"this {type(self).__name__} has scale={scale!r} and saw no rows to fit its scaler on: call fit, "
                "partial_fit or fit_scaler(X) with training rows, or set its scaler"
            )
        return self.scaler
