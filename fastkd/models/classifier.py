"""MLPClassifier: a multilayer perceptron that learns from labels, from a teacher, or from both."""

from typing import Self

import numpy as np

from fastkd.models._classification import NetworkClassifier
from fastkd.models._perceptron import MLP


class MLPClassifier(MLP, NetworkClassifier):
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
    scale : {"standard", "minmax", "robust"} or None
        Scaling of the features, learned by `fit` from its training rows (mean and deviation, minimum and range, median
        and interquartile range), kept as `scaler_`, and applied by every method: all take raw features. None for
        none.

    Attributes
    ----------
    classes_ : (n_classes,) array
        Labels in ascending order; the order of the columns of probabilities and logits.
    n_features_in_, feature_names_in_ : int, array of str
        The latter only after `fit` on a DataFrame with string column names.
    scaler_ : with `mean_` and `scale_`
        If the model scales: (x - mean_) / scale_.
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
        scale=None,
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
        self.scale = scale

    def initialize(self, n_features: int, n_outputs: int) -> Self:
        """Fresh weights without data, for classes 0 .. n_outputs - 1; returns self."""
        self._initialize((n_features,), n_outputs)
        self.classes_ = np.arange(n_outputs)
        return self
