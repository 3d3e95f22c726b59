"""SequencePredictor: a trained LSTM or CNN, frozen, for one window at a time; and an LSTM's state between ticks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._core._native import SequencePredictorCore, StreamCore
from fastkd.models._thaw import thawed

DRAWN = 256  # windows on which a change is measured if none are given


@dataclass(frozen=True)
class WeightsChange:
    """What narrower weights change in the probabilities of some windows.

    Attributes
    ----------
    largest, mean : float
        Absolute change of a probability.
    classes : int
        Windows whose most probable class is another one.
    windows : int
        Windows that were measured.
    drawn : bool
        They were drawn at random: standard normal, scaled as the model's training data. Give real ones for a figure
        that means something for them.
    """

    largest: float
    mean: float
    classes: int
    windows: int
    drawn: bool


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
    weights : {None, "bfloat16"}
        None (or the name of the model's dtype): as the model has them. "bfloat16", for an LSTM in float32: the
        matrices of the LSTM layers are rounded to bfloat16 (8 significant bits), to nearest with ties to even;
        biases, head and all sums stay float32. One window of 150 units then takes about half the time, because each
        step reads all weights from the cache. What that changes is measured at once: see `change`. It is a choice of
        the predictor; the model, and what `save` writes, stay as they are.
    calibration : (n, n_steps, n_features) array, optional
        With weights="bfloat16": raw windows to measure the change on, such as those of the validation period. By
        default 256 windows are drawn from a normal distribution with a fixed seed.

    Attributes
    ----------
    classes_ : (n_classes,) array
        `argmax` gives the index into it.
    weights : str
        The type of the LSTM's weights.
    change : WeightsChange or None
        How far probabilities are from those with the model's own weights; None if these are used. The repr shows it.
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
    >>> model = LSTMClassifier(units=8, random_state=0).initialize((5, 2), 3)
    >>> narrow = model.predictor(weights="bfloat16", calibration=window[None])
    >>> narrow.change.windows, narrow.change.drawn, narrow.change.largest < 0.01
    (1, False, True)
    """

    change: WeightsChange | None

    def __new__(
        cls, model: Any, on_nan: str = "nan", weights: str | None = None, calibration: Any = None
    ) -> "SequencePredictor":
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
        arguments = kernel, model.parameters, shift, factor, on_nan, names
        predictor = cls._packed((*arguments, weights), model.classes_)
        if predictor.weights == kernel.dtype.name:
            if calibration is not None:
                raise ValueError("calibration measures what weights='bfloat16' changes; give both or neither")
            return predictor
        if drawn := calibration is None:
            calibration = np.random.default_rng(0).standard_normal((DRAWN, *kernel.input_shape))
            if scaler is not None:
                calibration = calibration * scaler.scale_ + scaler.mean_
            calibration = calibration.astype(kernel.dtype)
        predictor.change = _change(cls._packed((*arguments, None), model.classes_), predictor, calibration, drawn)
        return predictor

    @classmethod
    def _packed(cls, arguments: tuple[Any, ...], classes: np.ndarray) -> "SequencePredictor":
        predictor = super().__new__(cls, *arguments)
        predictor._arguments = arguments  # for copies and other processes
        predictor.classes_, predictor.change = classes, None
        return predictor

    def __reduce__(self):
        return thawed, (type(self), self._arguments, self.classes_), {"change": self.change}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.change = state["change"]

    def __repr__(self) -> str:
        change = f", change={self.change}" if self.change else ""
        shape = f"n_steps={self.n_steps}, n_features={self.n_features}, n_outputs={self.n_outputs}"
        return f"{type(self).__name__}({shape}, weights={self.weights!r}{change})"

    def stream(self) -> "SequenceStream":
        """A new `SequenceStream`, with a state of its own; LSTMs only.

        Raises
        ------
        TypeError
            If the network is a CNN, which needs its whole window.
        """
        return SequenceStream(self)


def _change(full: Any, narrow: Any, windows: Any, drawn: bool) -> WeightsChange:
    before = full(windows)
    if before.ndim != 2 or not len(before):
        shape = f"(n, {full.n_steps}, {full.n_features})"
        raise ValueError(f"calibration must be windows {shape}, n >= 1; got {np.shape(windows)}")
    if not np.isfinite(before).all():
        raise ValueError("calibration holds features that are NaN, infinite or too large: leave such windows out")
    after = narrow(windows)
    gap = np.abs(after.astype(np.float64) - before)
    other = after.argmax(axis=1) != before.argmax(axis=1)
    return WeightsChange(float(gap.max()), float(gap.mean()), int(other.sum()), len(gap), drawn)


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
