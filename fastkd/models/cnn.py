"""CNNClassifier: convolutions over windows of time that learn from labels, from a teacher, or from both."""

from typing import Any

import numpy as np

from fastkd.models._hyperparameters import checked_widths, integer, one_of
from fastkd.models._windows import SequenceClassifier


class CNNClassifier(SequenceClassifier):
    r"""Classifier of windows (rows, steps, features) by 1-D convolutions over time.

    Layer by layer, each step's channels are

    .. math:: h_t = \max(0, b + \sum_{j < k} W_j x_{t + j - \lfloor (k - 1) / 2 \rfloor})

    with zeros outside of the window. The last layer, pooled over time, goes into dense layers. The loss is that of
    `MLPClassifier`.

    Parameters
    ----------
    channels : tuple of int
        Number of channels of each convolution; at least one.
    kernel_size : int
        Steps k that a convolution sees, the same in every layer.
    pooling : {"max", "mean", "last"}
        Over the steps of the last convolution.
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
    Convolutions start He uniform (2015), biases at 0. The window is seen whole, so the last step may look at all
    others; the window itself must end at the last closed candle.

    Examples
    --------
    A jump up at any time, which no single step shows:

    >>> import numpy as np
    >>> from fastkd.models import CNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 12, 1)).cumsum(axis=1), rng.integers(0, 2, 300)
    >>> at = rng.integers(2, 10, 300)
    >>> X[:, :, 0] += np.where(np.arange(12) >= at[:, None], 8.0 * (2 * y[:, None] - 1), 0.0)
    >>> model = CNNClassifier((8,), kernel_size=2, learning_rate=0.01, epochs=60, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    channels: Any
    kernel_size: int
    pooling: str

    def __init__(
        self,
        channels=(32, 32),
        *,
        kernel_size=3,
        pooling="max",
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
        integer("kernel_size", self.kernel_size, low=1)
        one_of(self, "pooling", ("last", "mean", "max"))
        return "cnn", checked_widths("channels", self.channels), self.pooling, int(self.kernel_size)

    def _body_weights(self, kernel: Any, rng: np.random.Generator) -> list[np.ndarray]:
        parts = []
        for n_in, n_out in zip(kernel.widths[:-1], kernel.widths[1:], strict=True):
            limit = np.sqrt(6.0 / (kernel.kernel_size * n_in))
            parts += [rng.uniform(-limit, limit, (kernel.kernel_size, n_in, n_out)), np.zeros(n_out)]
        return parts
