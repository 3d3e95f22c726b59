"""What the self-distilled classifiers share: fitted networks over the same classes, and what they say together."""

from typing import Any, NamedTuple

import numpy as np

from fastkd._check import as_real
from fastkd.evaluation.calibration import fit_temperature
from fastkd.losses import softmax
from fastkd.models._base import Estimator
from fastkd.models._inputs import (
    UNLABELLED,
    as_real_array,
    check_labels,
    check_names,
    check_weights,
    feature_names,
    pair,
)
from fastkd.models._labels import encode_labels, find_classes
from fastkd.models._signal import labelled_accuracy
from fastkd.models.adapters import MIN_PROBABILITY


class Uncertainty(NamedTuple):
    """What the spread over the members of a committee says about each row; all arrays are (n,).

    Attributes
    ----------
    variance :
        Variance of the class probabilities over the members (divided by their number), summed over the classes; in
        [0, 1].
    disagreement :
        Share of the members whose most probable class is not that of the mean; in [0, 1].
    entropy :
        Of the mean probabilities, in nats.
    mutual_information :
        Entropy of the mean less the mean entropy, in nats: the part of the entropy that comes from disagreement
        (Houlsby et al. 2011).
    """

    variance: np.ndarray
    disagreement: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray


def spread(probas: Any) -> Uncertainty:
    """`Uncertainty` of each row from the probabilities of several models, (models, n, classes).

    Examples
    --------
    >>> from fastkd.distill import spread
    >>> u = spread([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    >>> u.variance.tolist(), u.disagreement.tolist()
    ([0.5, 0.0], [0.5, 0.0])
    """
    p = as_real(probas, "probas", np.float64)
    if p.ndim != 3 or 0 in p.shape:
        raise ValueError(f"probas must have shape (models, rows, classes), none of them 0; got {p.shape}")
    mean = p.mean(axis=0)
    entropy = _entropy(mean)
    return Uncertainty(
        variance=((p - mean) ** 2).mean(axis=0).sum(axis=1),
        disagreement=(p.argmax(axis=2) != mean.argmax(axis=1)).mean(axis=0),
        entropy=entropy,
        mutual_information=np.maximum(entropy - _entropy(p).mean(axis=0), 0.0),
    )


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=-1)


class Committee(Estimator):
    """Base of the self-distilled classifiers: checked rows, members, predictions of one member or of their mean."""

    _estimator_type = "classifier"
    model: Any
    classes_: np.ndarray
    calibration_temperature_ = 1.0

    # -- hyper-parameters: those of the model are reached as model__name, as in scikit-learn ---------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name; `deep` adds those of the model as model__name."""
        params = super().get_params()
        if deep and hasattr(self.model, "get_params"):
            params |= {f"model__{name}": value for name, value in self.model.get_params().items()}
        return params

    def set_params(self, **params: Any):
        """Set hyper-parameters by name, those of the model as model__name; returns self."""
        nested = {name[7:]: params.pop(name) for name in list(params) if name.startswith("model__")}
        super().set_params(**params)
        if nested:
            self.model.set_params(**nested)
        return self

    def _fresh_model(self, **params: Any) -> Any:
        """An unfitted copy of `model` with other hyper-parameters."""
        own = self.model.get_params(deep=False)
        params |= {"scale": None}  # the committee scales, once for all members
        return type(self.model)(**{**own, **{name: value for name, value in params.items() if name in own}})

    def _check_model(self, *needed: str) -> None:
        usable = hasattr(self.model, "get_params") and not isinstance(self.model, type)
        params = self.model.get_params(deep=False) if usable else {}
        if not {"temperature", "kd_weight", "random_state", *needed} <= set(params):
            raise TypeError(
                f"model must be an unfitted classifier of fastkd.models such as MLPClassifier(); got {self.model!r}"
            )

    # -- data ----------------------------------------------------------------------------------------------------------

    def _read(self, X: Any, y: Any, sample_weight: Any, classes: Any, held_out: float = 0.0):
        """(rows, labels as given, codes, weights, classes), checked, the rows scaled.

        The last share `held_out` of the rows will judge: it tells the scaler nothing.
        """
        rows = as_real_array(X, "X")
        if rows.ndim < 2 or len(rows) == 0:
            raise ValueError(
                f"Expected a 2D array X of shape (rows, features), at least one row; got {rows.ndim}D array of shape "
                f"{rows.shape}, which has {len(rows) if rows.ndim else 0} sample(s). Reshape your data with "
                "X.reshape(1, -1) if it is one row"
            )
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        values = check_labels(y, len(rows))
        found = find_classes(values, None, classes)
        codes = encode_labels(values, found)
        present = len(np.unique(codes[codes != UNLABELLED]))
        if present < 2:
            raise ValueError(f"self-distillation needs labels of at least two classes; y shows {present} class(es)")
        weights = check_weights(sample_weight, len(rows))
        if weights is not None and not weights.all():  # rows of weight 0 are as good as absent, for the teacher too
            kept = weights > 0.0
            rows, values, codes, weights = rows[kept], values[kept], codes[kept], weights[kept]
        scale = getattr(self.model, "scale", None)
        scaler = self._scaler_to_fit(rows[: len(rows) - round(held_out * len(rows))], scale)
        self._keep_scaler(scaler, scale)
        return (rows if scaler is None else scaler.transform(rows)), values, codes, weights, found

    def _read_eval_set(
        self, eval_set: Any, rows: np.ndarray, classes: np.ndarray, raw: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, codes) of the labelled rows of a validation part; `raw` rows are scaled."""
        X_val, y_val = pair(eval_set)
        held = as_real_array(X_val, "X of eval_set")
        if held.ndim != rows.ndim or held.shape[1:] != rows.shape[1:]:
            raise ValueError(f"X of eval_set must have rows of shape {rows.shape[1:]}, as X; got {held.shape}")
        if len(held) == 0:
            raise ValueError("the validation part is empty: eval_set has no rows; pass eval_set=None to hold rows out")
        codes = encode_labels(check_labels(y_val, len(held)), classes)
        known = codes != UNLABELLED
        if not known.any():
            raise ValueError("the validation part has no labelled row")
        return (held if self.scaler is None or not raw else self.scaler_.transform(held))[known], codes[known]

    def _adopt_shape(self, X: Any, rows: np.ndarray) -> None:
        self.n_features_in_ = int(rows.shape[-1])
        self.calibration_temperature_ = 1.0
        names = feature_names(X)
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _rows(self, X: Any) -> np.ndarray:
        """Rows to predict, scaled if there is a scaler; the members check the rest."""
        self._check_fitted()
        check_names(feature_names(X), getattr(self, "feature_names_in_", None))
        rows = as_real_array(X, "X")
        if rows.ndim > 1 and rows.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[-1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        return rows if self.scaler is None else self.scaler_.transform(rows)

    # -- predictions ---------------------------------------------------------------------------------------------------

    def _members(self) -> list[Any]:
        raise NotImplementedError

    def _chosen(self) -> Any:
        """The member that predicts; None for the mean of all."""
        raise NotImplementedError

    def member_probas(self, X: Any) -> np.ndarray:
        """Class probabilities of every member, (members, n, n_classes)."""
        rows = self._rows(X)
        return np.stack([member.predict_proba(rows) for member in self._members()])

    def ensemble_proba(self, X: Any) -> np.ndarray:
        """Mean of the members' class probabilities, (n, n_classes)."""
        return self.member_probas(X).mean(axis=0)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities, (n, n_classes): of the member or the mean that `predict_with` names."""
        self._check_fitted()
        if self.calibration_temperature_ != 1.0:
            return softmax(self.predict_logits(X), self.calibration_temperature_)
        member = self._chosen()
        return self.ensemble_proba(X) if member is None else member.predict_proba(self._rows(X))

    def predict_logits(self, X: Any) -> np.ndarray:
        """Logits, (n, n_classes), never calibrated; of a mean of members the logarithm of its probabilities."""
        self._check_fitted()
        member = self._chosen()
        if member is None:
            return np.log(np.maximum(self.ensemble_proba(X), MIN_PROBABILITY))
        return member.predict_logits(self._rows(X))

    def calibrate(self, X: Any, y: Any):
        """Set `calibration_temperature_` by temperature scaling (Guo et al. 2017); returns self.

        X, y must be rows that took no part in training, best nor in picking a generation. `predict_proba` then divides
        the logits by it, which makes probabilities honest on rows like these and changes no answer. `fit` sets it
        back to 1; so do it again after changing `predict_with`.
        """
        codes = encode_labels(check_labels(y, len(X)), self.classes_)
        known = codes != UNLABELLED
        if not known.any():
            raise ValueError("calibration needs labelled rows; y has none")
        self.calibration_temperature_ = fit_temperature(self.predict_logits(X)[known], codes[known])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, (n,); the lowest of equals."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the labelled rows."""
        return labelled_accuracy(self.predict(X), y, self.classes_, sample_weight)

    def uncertainty(self, X: Any) -> Uncertainty:
        """Spread of the members' predictions, row by row, for any rows; see `Uncertainty`.

        It takes the prediction of every member. The members are trained on the same rows, each from the one before, so
        their errors go together: the variance ranks rows at best and is no calibrated probability of an error.
        Compare it on rows held out (`fastkd.evaluation.selective_curve`, `reliability`) before relying on it.
        """
        return spread(self.member_probas(X))
