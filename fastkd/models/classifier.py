"""MLPClassifier: a multilayer perceptron that learns from labels, from a teacher, or from both."""

import numpy as np

from fastkd.losses import softmax
from fastkd.models._hyperparameters import checked_temperature, real
from fastkd.models._inputs import feature_names, pair
from fastkd.models._network import MLP, HeldOut
from fastkd.models._signal import Signal, classification_scores, labelled_accuracy
from fastkd.models._teaching import read_labelled, read_signal


class MLPClassifier(MLP):
    r"""Multilayer perceptron classifier, trained on labels, a teacher's outputs, or both.

    The loss of a row is

    .. math:: w \, T^2 \, KL(q_t^T \| q_s^T) + (1 - w) \, CE(y, q_s)

    with w = `kd_weight`, T = `temperature` and q^T = softmax(logits / T) (Hinton, Vinyals and Dean 2015). The factor
    T^2 undoes the 1 / T^2 by which softening shrinks the gradient, so that w keeps its meaning when T changes. A row
    without a label has the first term only. Without a teacher the loss is the cross-entropy, whatever `kd_weight` is;
    without labels it is the soft term alone.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; () for a linear model.
    activation : {"relu", "tanh", "gelu", "identity"}
        Of the hidden layers; "gelu" is the exact form.
    optimizer : {"adam", "sgd"}
        Adam (Kingma and Ba 2015) or gradient descent with `momentum`.
    learning_rate : float
        Step size, > 0, times the factor of `lr_schedule`.
    batch_size, epochs : int
        Rows a step; passes over the rows.
    l2 : float
        Adds 0.5 * l2 * sum of squared weights (not biases) to the loss.
    temperature : float or callable
        Of the soft term, > 0; or epoch -> temperature, such as `fastkd.distill.TemperatureSchedule`.
    kd_weight : float
        Weight of the soft term, in [0, 1].
    label_smoothing : float
        In [0, 1): the share of each label that is spread evenly over all classes.
    early_stopping : bool
        End when the validation loss has not improved for `patience` epochs, and go back to the best weights.
    validation_fraction : float
        Share of rows held out for early stopping if `fit` gets no `eval_set`: the last rows, never shuffled, so that
        in a time series the model is judged on times later than those it learned from.
    patience : int
        See `early_stopping`.
    dtype : {"float32", "float64"}
        Of weights, arithmetic and predictions.
    random_state : int, Generator or None
        Source of the initial weights and of the order of rows.
    verbose : bool
        Print a line an epoch.
    momentum : float
        Of "sgd", in [0, 1).
    lr_schedule : {"constant", "cosine", "step"} or callable
        Factor on the learning rate; a callable takes the epoch, from 0.
    n_init : int
        Number of starts from different weights; the one with the lowest (validation) loss is kept.
    tol, n_iter_no_change : float, int or None
        Training ends (`converged_`) when the loss has not fallen by the relative amount `tol` within
        `n_iter_no_change` epochs; None trains all epochs. Not used with early stopping or with schedules.
    workers : int
        Threads for `n_init` > 1; -1 for one a core. The result does not depend on it.

    Attributes
    ----------
    classes_ : (n_classes,) array
        Labels in ascending order; the order of the columns of probabilities and logits.
    n_features_in_, feature_names_in_ : int, array of str
        The latter only after `fit` on a DataFrame with string column names.
    history_ : dict of lists
        "loss", "learning_rate" and, where rows are held out, "val_loss" and "val_score", one entry an epoch. The
        validation loss is the cross-entropy of the labelled rows, the score their accuracy; without any label the
        soft loss and the agreement with the teacher.
    n_iter_, best_epoch_, converged_ : int, int or None, bool
        Epochs trained, the epoch (from 0) of the lowest validation loss, whether training ended before all epochs.

    Notes
    -----
    **Unlabelled rows.** y = -1 marks a row without a label. Such rows need a teacher; without one, `fit` raises. -1 is
    an ordinary class if `classes` holds it, if y also has other negative labels, or if, without a teacher, y has the
    two values -1 and 1 and no other. Labels -1, 0, 1 for down, flat, up need ``classes=[-1, 0, 1]``.

    Ctrl-C during `fit` raises KeyboardInterrupt, and the model keeps what it has learned so far.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import MLPClassifier
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 25, dtype=float)
    >>> y = X[:, 0].astype(int) ^ X[:, 1].astype(int)
    >>> model = MLPClassifier(hidden=(16,), learning_rate=0.01, epochs=200, random_state=0).fit(X, y)
    >>> model.predict([[0, 0], [0, 1], [1, 0], [1, 1]])
    array([0, 1, 1, 0])
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        hidden=(32, 16),
        *,
        activation="relu",
        optimizer="adam",
        learning_rate=1e-3,
        batch_size=64,
        epochs=50,
        l2=0.0,
        temperature=3.0,
        kd_weight=0.7,
        label_smoothing=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        patience=5,
        dtype="float32",
        random_state=None,
        verbose=False,
        momentum=0.9,
        lr_schedule="constant",
        n_init=1,
        tol=1e-4,
        n_iter_no_change=10,
        workers=1,
    ):
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.l2 = l2
        self.temperature = temperature
        self.kd_weight = kd_weight
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.n_init = n_init
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.workers = workers

    def _check_loss(self) -> None:
        checked_temperature(self.temperature)
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)
        real("label_smoothing", self.label_smoothing, low=0.0, high=1.0, high_open=True)

    def initialize(self, n_features: int, n_outputs: int) -> "MLPClassifier":
        """Fresh weights without data, for classes 0 .. n_outputs - 1; returns self."""
        self._initialize(n_features, n_outputs)
        self.classes_ = np.arange(n_outputs)
        return self

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
    ) -> "MLPClassifier":
        """Train from fresh weights; returns self.

        Parameters
        ----------
        X : (n, n_features)
            Finite features, already scaled; in time order if `early_stopping` is to hold out the latest rows.
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
        held_out = None if eval_set is None else self._read_eval_set(eval_set, rows.shape[1], found)
        rows, signal, held_out = self._hold_out(rows, signal, held_out)
        kernel, run = self._train(rows, signal, held_out, len(found))
        self.classes_ = found
        self._adopt(kernel, run, feature_names(X))
        if run.error is not None:
            raise run.error
        return self

    def partial_fit(
        self, X, y=None, *, classes=None, teacher_logits=None, soft_labels=None, sample_weight=None
    ) -> "MLPClassifier":
        """One pass over the rows, going on from the present weights and optimizer; returns self.

        The first call makes the weights if `fit` or `initialize` has not; `classes` then names all labels to come.
        Other arguments as for `fit`.
        """
        signal_arguments = (y, teacher_logits, soft_labels, sample_weight)
        if not self.__sklearn_is_fitted__():
            rows = self._training_rows(X)
            rows, signal, found = self._read(rows, *signal_arguments, classes)
            self._initialize(rows.shape[1], len(found))
            self.classes_ = found
            if (names := feature_names(X)) is not None:
                self.feature_names_in_ = names
        else:
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes must stay {self.classes_.tolist()}; got {list(classes)}")
            rows = self._training_rows(X, fitted=True)
            rows, signal, _ = self._read(rows, *signal_arguments, self.classes_)
        self._one_pass(rows, signal)
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
        rows, signal, _ = self._read(rows, y, teacher_logits, soft_labels, sample_weight, self.classes_)
        targets = self._targets(signal)(self.n_iter_)
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

    def _read(self, rows, y, teacher_logits, soft_labels, sample_weight, classes):
        if soft_labels is not None and callable(self.temperature):
            raise ValueError("soft_labels are softened at one temperature; a temperature schedule needs teacher_logits")
        return read_signal(type(self).__name__, rows, y, teacher_logits, soft_labels, sample_weight, classes)

    def _read_eval_set(self, eval_set, n_features: int, classes: np.ndarray) -> HeldOut:
        X, y = pair(eval_set)
        rows = self._training_rows(X)
        if rows.shape[1] != n_features:
            raise ValueError(f"eval_set has {rows.shape[1]} features; X has {n_features}")
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
