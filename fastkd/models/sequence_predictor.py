"""SequencePredictor: a trained LSTM or CNN, frozen, for one window at a time; and an LSTM's state between ticks."""

from typing import Any

import numpy as np

from fastkd._core._native import SequencePredictorCore, StreamCore
from fastkd.models._thaw import thawed


class SequencePredictor(SequencePredictorCore):
    """Probabilities of one window (steps, features) or a batch (n, steps, features) of raw features.

    The weights are those the model has now. A call changes nothing, so threads may share a predictor. A call with
    `out` allocates nothing if the network is of a usual size (32 KB of working memory).

    Parameters
    ----------
    model : LSTMClassifier or CNNClassifier
        Fitted. Its `scaler` is applied to each step, in the model's dtype.
    on_nan : {"nan", "raise"}
        A window with a NaN or infinity gives a row of NaN, or a ValueError.

    Attributes
    ----------
    classes_ : (n_classes,) array
        `argmax` gives the index into it.
    n_steps, n_features, n_outputs, dtype

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import LSTMClassifier
    >>> predict = LSTMClassifier(units=8, random_state=0).initialize((5, 2), 3).predictor()
    >>> window = np.ones((5, 2), np.float32)
    >>> out = predict(window)
    >>> stream = predict.stream()
    >>> for row in window:
    ...     step = stream.push(row)
    >>> bool(np.allclose(step, out, atol=1e-6))
    True
    """

    def __new__(cls, model: Any, on_nan: str = "nan") -> "SequencePredictor":
        kernel = getattr(model, "_kernel", None)
        if kernel is None and hasattr(model, "_check_fitted"):
            model._check_fitted()
        if kernel is None or not getattr(model, "_takes_windows", False):
            found = type(model).__name__
            raise TypeError(f"SequencePredictor needs a fitted LSTMClassifier or CNNClassifier; got {found}")
        shift = factor = None
        if (scaler := model._scaler_to_use()) is not None:
            with np.errstate(over="ignore"):
                shift = scaler.mean_.astype(kernel.dtype)
                factor = (1.0 / scaler.scale_).astype(kernel.dtype)
            if not (np.isfinite(shift).all() and np.isfinite(factor).all()):
                raise ValueError(f"the scaler overflows {kernel.dtype}; its mean_ is too large or scale_ too small")
        names = getattr(model, "feature_names_in_", None)
        return cls._packed((kernel, model.parameters, shift, factor, on_nan, names), model.classes_)

    @classmethod
    def _packed(cls, arguments: tuple[Any, ...], classes: np.ndarray) -> "SequencePredictor":
        predictor = super().__new__(cls, *arguments)
        predictor._arguments = arguments  # for copies and other processes
        predictor.classes_ = classes
        return predictor

    def __reduce__(self):
        return thawed, (type(self), self._arguments, self.classes_)

    def stream(self) -> "SequenceStream":
        """A new `SequenceStream`, with a state of its own; LSTMs only.

        Raises
        ------
        TypeError
            If the network is a CNN, which needs its whole window.
        """
        return SequenceStream(self)


class SequenceStream(StreamCore):
    """An LSTM that keeps its state between ticks: `push(row)` costs one step instead of a window.

    After k pushes the probabilities are those of one window of these k rows; the state reaches back to the last
    `reset`, also further than the windows of training. All state is here, so each thread or market takes a stream of
    its own; they share the predictor's weights.

    Parameters
    ----------
    predictor : SequencePredictor
        Of an `LSTMClassifier`.

    Attributes
    ----------
    state : 1-D array
        All that the stream remembers (a copy): of each layer h and c, what pooling has gathered, the number of
        steps (high, low: high * 2^24 + low). Assign it to a stream of the same model to go on from there.
    n_seen : int
        Steps since the last reset.

    Notes
    -----
    A copy (also a deep one) has a state of its own and shares the predictor, which never changes; a pickle holds both.
    """

    def __copy__(self) -> "SequenceStream":
        return _resumed(type(self), self.predictor, self.state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "SequenceStream":
        return self.__copy__()

    def __reduce__(self):
        return _resumed, (type(self), self.predictor, self.state)

    def push(self, row: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (n_classes,) after one more step with the raw features `row`, (n_features,).

        A row with NaN or infinity gives NaN, or a ValueError under on_nan="raise", and leaves the state as it was.
        """
        return super().push(row, out)


def _resumed(kind: type[SequenceStream], predictor: SequencePredictor, state: np.ndarray) -> SequenceStream:
    stream = kind(predictor)
    stream.state = state
    return stream
