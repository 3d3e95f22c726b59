"""LSTMClassifier: a recurrent network over windows of time that learns from labels, from a teacher, or from both."""

from typing import Any

import numpy as np

from fastkd.models._hyperparameters import integer, one_of
from fastkd.models._windows import SequenceClassifier


class LSTMClassifier(SequenceClassifier):
    r"""Long short-term memory classifier of windows (rows, steps, features).

    At each step t of a window, with x the features and h, c the state (both 0 at the start),

    .. math::
        i, f, o = \sigma(W [x_t, h_{t-1}] + b), \quad g = \tanh(W_g [x_t, h_{t-1}] + b_g), \quad
        c_t = f c_{t-1} + i g, \quad h_t = o \tanh(c_t)

    (Hochreiter and Schmidhuber 1997, forget gate of Gers, Schmidhuber and Cummins 2000). The last layer's h, at the
    last step or pooled over all, goes into dense layers. The loss is that of `MLPClassifier`.

    Parameters
    ----------
    units : int
        Width of each LSTM layer.
    layers : int
        Number of LSTM layers, each reading the steps of the one before.
    pooling : {"last", "mean", "max"}
        What the dense layers see of the last LSTM layer: its last step, or the mean or maximum over all steps.
    hidden : tuple of int
        Widths of dense layers between pooling and output; () for none.
    activation : {"relu", "tanh", "gelu", "identity"}
        Of the dense layers in `hidden`.
    optimizer, learning_rate, batch_size, epochs, l2, temperature, kd_weight, label_smoothing, early_stopping, \
validation_fraction, patience, dtype, random_state, verbose, momentum, lr_schedule, n_init, tol, n_iter_no_change, \
workers, scale
        As of `MLPClassifier`.

    Attributes
    ----------
    classes_, n_features_in_, history_, n_iter_, best_epoch_, converged_
        As of `MLPClassifier`; n_features_in_ is the number of features of a step.

    Notes
    -----
    Weights start uniform within 1 / sqrt(units), biases at 0 but for the forget gate's, which is 1, so that a fresh
    network remembers (Jozefowicz, Zaremba and Sutskever 2015). `predictor().stream()` goes step by step: a new candle
    costs one step, not a window.

    Examples
    --------
    Which of two events came first, which no sum over the window can tell:

    >>> import numpy as np
    >>> from fastkd.models import LSTMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = np.zeros((200, 8, 2)), rng.integers(0, 2, 200)
    >>> first, second = rng.integers(0, 4, 200), rng.integers(4, 8, 200)
    >>> X[np.arange(200), first, y], X[np.arange(200), second, 1 - y] = 1.0, 1.0
    >>> model = LSTMClassifier(units=16, learning_rate=0.01, epochs=40, random_state=0).fit(X, y)
    >>> model.score(X, y)
    1.0
    """

    units: int
    layers: int
    pooling: str

    def __init__(
        self,
        units=64,
        *,
        layers=1,
        pooling="last",
        hidden=(),
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
        settings = dict(locals())
        del settings["self"]
        self.__dict__.update(settings)

    def _body(self) -> tuple[str, tuple[int, ...], str, int]:
        integer("units", self.units, low=1)
        integer("layers", self.layers, low=1)
        one_of(self, "pooling", ("last", "mean", "max"))
        return "lstm", (int(self.units),) * int(self.layers), self.pooling, 1

    def _body_weights(self, kernel: Any, rng: np.random.Generator) -> list[np.ndarray]:
        parts = []
        for n_in, units in zip(kernel.widths[:-1], kernel.widths[1:], strict=True):
            limit = 1.0 / np.sqrt(units)
            bias = np.zeros(4 * units)
            bias[units : 2 * units] = 1.0
            parts += [rng.uniform(-limit, limit, (n_in + units, 4 * units)), bias]
        return parts
