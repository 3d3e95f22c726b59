"""What all classifiers share: training from labels, a teacher or both, and prediction."""

from typing import Any, Self

import numpy as np

from fastkd.losses import softmax
from fastkd.models._hyperparameters import checked_dtype, checked_temperature, integer, real
from fastkd.models._inputs import feature_names, pair
from fastkd.models._network import HeldOut, Network
from fastkd.models._signal import Signal, classification_scores, labelled_accuracy
from fastkd.models._teaching import read_labelled, read_signal


class NetworkClassifier(Network):
    """Base of the classifiers. The hyper-parameters are theirs; see their docstrings."""

    _estimator_type = "classifier"

    temperature: Any
    kd_weight: float
    label_smoothing: float

    def _check_loss(self) -> None:
        checked_temperature(self.temperature)
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)
        real("label_smoothing", self.label_smoothing, low=0.0, high=1.0, high_open=True)

    def fit(
        self,
        X,
        y=None,
        *,
        teacher_logits=None,
        soft_labels=None,
        sample_weight=None,
        eval_set=None,
        classes=None,
    ) -> Self:
        """Train from fresh weights; returns self.

        Parameters
        ----------
        X : (n, n_features); (n, steps, features) of sequence models
            Finite features, raw if the model scales (`scale` or a scaler of its own); in time order if
            `early_stopping` is to hold out the latest rows.
        y : (n,), optional
            Labels; -1 for unlabelled rows (see Notes of the class).
        teacher_logits : (n, n_classes), optional
            The teacher's logits, softened here at `temperature`. A column for each class, in ascending order.
        soft_labels : (n, n_classes), optional
            Instead of logits: the teacher's probabilities, already softened at `temperature`.
        sample_weight : (n,), optional
            Not negative; only ratios count. Rows of weight 0 are as good as absent.
        eval_set : (X_val, y_val), optional
            Judged after every epoch; early stopping then holds out none of X. Rows with y = -1 are passed over.
        classes : optional
            All labels, if y does not show every one of them.

        Raises
        ------
        ValueError, TypeError
            On NaN or infinity, shapes that do not match, labels without a meaning, hyper-parameters out of range.
        """
        rows = self._training_rows(X)
        rows, signal, found = self._read(rows, y, teacher_logits, soft_labels, sample_weight, classes)
        held_out = None if eval_set is None else self._read_eval_set(eval_set, rows.shape[1:], found)
        rows, signal, held_out = self._hold_out(rows, signal, held_out)
        rows, held_out, scaler = self._scaled_for_fit(rows, held_out)
        kernel, run = self._train(rows, signal, held_out, len(found))
        self.classes_ = found
        self._keep_scaler(scaler, self.scale)
        self._adopt(kernel, run, feature_names(X))
        if run.error is not None:
            raise run.error
        return self

    def partial_fit(
        self, X, y=None, *, classes=None, teacher_logits=None, soft_labels=None, sample_weight=None, passes=1
    ) -> Self:
        """One pass over the rows, going on from the present weights and optimizer; returns self.

        `passes` of them do what as many calls would, but rows and targets are checked and scaled once.

        The first call makes the weights if `fit` or `initialize` has not; `classes` then names all labels to come.
        With `scale` it fits the scaler on its rows if there is none yet; later calls leave the scaler as it is.
        Other arguments as for `fit`.
        """
        integer("passes", passes, low=1)
        signal_arguments = (y, teacher_logits, soft_labels, sample_weight)
        if not self.__sklearn_is_fitted__():
            rows = self._training_rows(X)
            rows, signal, found = self._read(rows, *signal_arguments, classes)
            self._initialize(rows.shape[1:], len(found))
            self.classes_ = found
            if (names := feature_names(X)) is not None:
                self.feature_names_in_ = names
        else:
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes must stay {self.classes_.tolist()}; got {list(classes)}")
            rows = self._training_rows(X, fitted=True)
            rows, signal, _ = self._read(rows, *signal_arguments, self.classes_, fitted=True)
        if self.scaler is None:
            self.fit_scaler(rows)
        self._pass(self._used_rows(rows), signal, passes)
        return self

    def gradient(
        self, X, y=None, *, teacher_logits=None, soft_labels=None, sample_weight=None
    ) -> tuple[float, np.ndarray]:
        """Loss (with the l2 term) of all rows as one batch at the present weights, and its flat gradient.

        Arguments as for `fit`; the gradient is in the order of `parameters`. With a temperature schedule the
        temperature is that of the epoch to come.
        """
        self._check_fitted()
        self._check_loss()
        rows = self._training_rows(X, fitted=True)
        rows, signal, _ = self._read(rows, y, teacher_logits, soft_labels, sample_weight, self.classes_, fitted=True)
        targets = self._targets(signal)(self.n_iter_)
        rows = self._used_rows(rows)
        loss, grad = self._kernel.loss_gradient(self._run.parameters, rows, targets, real("l2", self.l2, low=0.0))
        return float(loss), grad

    def predict_logits(self, X) -> np.ndarray:
        """Logits, (n, n_classes)."""
        return self._outputs(X)

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities softmax(logits) at temperature 1, (n, n_classes)."""
        return softmax(self._outputs(X))

    def predict(self, X) -> np.ndarray:
        """The most probable label of each row, (n,); the lowest of equals."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy over the labelled rows."""
        return labelled_accuracy(self.predict(X), y, self.classes_, sample_weight)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _read(self, rows, y, teacher_logits, soft_labels, sample_weight, classes, fitted=False):
        if soft_labels is not None and callable(self.temperature):
            raise ValueError("soft_labels are softened at one temperature; a temperature schedule needs teacher_logits")
        dtype = np.dtype(self._kernel.dtype if fitted else checked_dtype(self.dtype))
        return read_signal(type(self).__name__, rows, y, teacher_logits, soft_labels, sample_weight, classes, dtype)

    def _read_eval_set(self, eval_set, shape: tuple[int, ...], classes: np.ndarray) -> HeldOut:
        X, y = pair(eval_set)
        rows = self._training_rows(X)
        if rows.shape[1:] != shape:
            wrong, right = (n[0] if len(n) == 1 else f"{n[0]} steps of {n[1]}" for n in (rows.shape[1:], shape))
            raise ValueError(f"eval_set has {wrong} features; X has {right}")
        return read_labelled(rows, y, classes)

    def _targets(self, signal: Signal):
        terms = {"kd_weight": signal.kd_weight(self.kd_weight), "label_smoothing": float(self.label_smoothing)}
        if callable(self.temperature):
            return lambda epoch: signal.native(temperature=checked_temperature(self.temperature, epoch), **terms)
        fixed = signal.native(temperature=checked_temperature(self.temperature), **terms)
        return lambda epoch: fixed

    def _scores(self, outputs: np.ndarray, signal: Signal) -> tuple[float, float]:
        return classification_scores(outputs, signal, checked_temperature(self.temperature))

    def _comparable_epochs(self) -> bool:
        return super()._comparable_epochs() and not callable(self.temperature)
