"""FixedPredictor: a student in integers, the same bits in Python, C and hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd.deploy.export.fixed_build import build
from fastkd.deploy.export.fixed_net import FEATURE_LIMIT, FixedNet
from fastkd.deploy.export.student import Student, read_student
from fastkd.losses import softmax

WEIGHTS = {"int8": 8, "int16": 16}
BATCH = 64
RATE = 1e-3


class FixedPredictor:
    r"""A fitted student with int8 or int16 weights, int16 activations and int32 sums, for parts without an FPU.

    No sum overflows 32 bits, for any input; this is proven when it is made. `export_c` writes it as C that uses
    integers only, `export_verilog` as hardware; both give the bits of `predict_proba`.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, LSTMClassifier or CNNClassifier
        Fitted; its scaler goes along, so rows are raw features.
    X_calibration : (n, n_features) or (n, steps, features)
        Raw rows like those to come, such as the training rows: activations get the widest scale that holds them, with
        a quarter to spare. What goes beyond saturates.
    weights : {"int8", "int16"}
        int16 weights are as wide as the sums allow.
    tune : int
        Epochs of distillation on the grid: the float student teaches its copy with rounded weights on the calibration
        rows, the gradient passes the rounding (Bengio, Leonard and Courville 2013), and the epoch that agrees most
        often, then the nearest to the teacher, is kept; the untuned student counts as the first.
    random_state : int, Generator or None
        Of the order of the rows in tuning.

    Attributes
    ----------
    quality_ : dict
        "untuned" and, if tune > 0, "tuned": on the calibration rows, against the float student, "agreement" (share of
        rows with the same class), "largest" and "mean" error of a probability and "kl", the mean divergence KL(float ||
        fixed) in nats; of a regressor "largest" and "mean" error in spreads of its values.
    agreement_ : float or None
        That of the student as it is; None for a regressor.
    classes_ : only of a classifier

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.deploy import FixedPredictor
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> model = MLPClassifier((16,), epochs=20, learning_rate=0.01, random_state=0).fit(X, y)
    >>> fixed = FixedPredictor(model, X, weights="int8")
    >>> bool(fixed.agreement_ > 0.98)
    True
    >>> bool(np.abs(fixed.predict_proba(X[:5]) - model.predict_proba(X[:5])).max() < 0.05)
    True
    """

    def __init__(
        self, model: Any, X_calibration: Any, weights: str = "int8", *, tune: int = 0, random_state: Any = None
    ):
        if weights not in WEIGHTS:
            raise ValueError(f'weights must be "int8" or "int16"; got {weights!r}')
        if not isinstance(tune, (int, np.integer)) or isinstance(tune, bool) or tune < 0:
            raise ValueError(f"tune must be a whole number of epochs, 0 or more; got {tune!r}")
        if tune and hasattr(model, "exits_"):
            raise TypeError(f"tune= trains one network; give one of exits_ instead of a {type(model).__name__}")
        student = read_student(model)
        rows = student.rows(X_calibration, "X_calibration")
        if not np.isfinite(rows).all():
            raise ValueError("X_calibration must be finite")
        self.student, self.weights, self.calibration = student, weights, rows
        self._scaled = (rows.astype(np.float64) - student.mean) / student.scale
        self._teacher = student.outputs(rows)
        self.net = build(student, self._scaled, WEIGHTS[weights])
        self.quality_ = {"untuned": self._quality(self.net)}
        if tune:
            self._tune(model, int(tune), as_rng(random_state))
        now = self.quality_.get("tuned", self.quality_["untuned"])
        self.agreement_ = now.get("agreement")
        if student.classes is not None:
            self.classes_ = np.array(student.classes)

    def __repr__(self) -> str:
        return f"FixedPredictor({self.student.origin}, weights={self.weights!r})"

    # -- predictions --------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """(integer outputs of the last layer of the good rows, which rows are good)"""
        rows = self.student.rows(X)
        good = (np.abs(rows) <= FEATURE_LIMIT).reshape(len(rows), -1).all(axis=1)
        return self.net.quantize(rows[good]), good

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, n_classes), multiples of 1/32768 in float32; NaN for a row with NaN or infinity."""
        if self.student.classes is None:
            raise AttributeError("a regressor has no probabilities; use predict")
        Q, good = self._outputs(X)
        out = np.full((len(good), self.student.n_outputs), np.nan, np.float32)
        out[good] = self.net.proba(Q).astype(np.float32) / np.float32(32768)
        return out

    def predict(self, X: Any) -> np.ndarray:
        """Labels (n,), or values (n, n_outputs) of a regressor, NaN for a row with NaN or infinity.

        Raises
        ------
        ValueError
            If a classifier gets a row with NaN or infinity, for which it has no label.
        """
        Q, good = self._outputs(X)
        z = self.net.logits(Q)
        if self.student.classes is None:
            out = np.full((len(good), self.student.n_outputs), np.nan, np.float32)
            out[good] = z.astype(np.float32) * np.float32(2.0**-self.net.out_bits)
            return out
        if not good.all():
            raise ValueError(f"row {int(np.argmin(good))} holds NaN, infinity or a number beyond {FEATURE_LIMIT:g}")
        return self.classes_[z.argmax(axis=1)]

    __call__ = predict_proba

    # -- quality and tuning -------------------------------------------------------------------------------------------

    def _quality(self, net: FixedNet) -> dict[str, float]:
        Q = net.quantize(self.calibration)
        if self.student.classes is None:
            spread = max(float(self._teacher.std()), np.finfo(float).tiny)
            error = np.abs(net.logits(Q) * 2.0**-net.out_bits - self._teacher) / spread
            return {"largest": float(error.max()), "mean": float(error.mean())}
        p, q = softmax(self._teacher), net.proba(Q) / 32768.0
        error, low = np.abs(p - q), np.maximum(q, 2.0**-17)
        return {
            "agreement": float(np.mean(net.logits(Q).argmax(axis=1) == p.argmax(axis=1))),
            "largest": float(error.max()),
            "mean": float(error.mean()),
            "kl": float(np.mean((p * np.log(np.maximum(p, 1e-10) / low) - p + low).sum(axis=1))),
        }

    def _tune(self, model: Any, epochs: int, rng: np.random.Generator) -> None:
        from fastkd.models._signal import Signal

        kernel = model._kernel
        dtype = np.dtype(kernel.dtype)
        rows = np.ascontiguousarray(self._scaled, dtype)
        regression = self.student.classes is None
        spread = max(float(self._teacher.std()), np.finfo(float).tiny) if regression else 1.0
        free = model.parameters.astype(np.float64)
        moment, square, step = np.zeros_like(free), np.zeros_like(free), 0
        best, kept = self.quality_["untuned"], self.net
        for epoch in range(epochs):
            order = rng.permutation(len(rows))
            rate = RATE * (1 - epoch / epochs)
            for start in range(0, len(rows), BATCH):
                batch = np.sort(order[start : start + BATCH])
                target = self._teacher[batch]
                signal = Signal(
                    len(batch),
                    dtype,
                    **({"values": target} if regression else {"teacher_logits": target.astype(dtype)}),
                )
                terms: dict[str, Any] = {"quantile": None} if regression else {"temperature": 1.0, "kd_weight": 1.0}
                rounded = self._rounded(free).astype(dtype)
                _, gradient = kernel.loss_gradient(
                    rounded, np.ascontiguousarray(rows[batch]), signal.native(**terms), 0.0
                )
                gradient = gradient.astype(np.float64) / spread
                step += 1
                moment += 0.1 * (gradient - moment)
                square += 0.001 * (gradient**2 - square)
                free -= rate * (moment / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            net = build(self._with(free), self._scaled, WEIGHTS[self.weights])
            quality = self._quality(net)
            if _rank(quality) < _rank(best):
                best, kept = quality, net
        self.net, self.quality_["tuned"] = kept, best

    def _arrays(self, flat: np.ndarray) -> list[np.ndarray]:
        """The flat parameters as weights and bias of each layer, in turn."""
        arrays, at = [], 0
        for array in (a for layer in (*self.student.body, *self.student.layers) for a in layer):
            arrays.append(flat[at : at + array.size].reshape(array.shape))
            at += array.size
        return arrays

    def _rounded(self, flat: np.ndarray) -> np.ndarray:
        """The parameters with weights on the grid of the first integers."""
        rounded = flat.copy()
        top = 127 if self.weights == "int8" else 32767
        for W, layer in zip(self._arrays(rounded)[::2], (*self.net.body, *self.net.layers), strict=True):
            W[...] = np.clip(np.rint(W * layer.scale), -top, top) / layer.scale
        return rounded

    def _with(self, flat: np.ndarray) -> Student:
        arrays = self._arrays(flat)
        layers = tuple(zip(arrays[::2], arrays[1::2], strict=True))
        n = len(self.student.body)
        return replace(self.student, body=layers[:n], layers=layers[n:])


def _rank(quality: dict[str, float]) -> tuple[float, ...]:
    """Lower is better."""
    return (quality["mean"],) if "agreement" not in quality else (-quality["agreement"], quality["kl"])
