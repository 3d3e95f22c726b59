"""What every exporter reads: a student's layers, scaler, classes and provenance, free of the class that trained it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]  # weights (inputs, outputs) and bias (outputs,)

CENTER_FROM = 4.0  # a mean of more spreads than this is subtracted before the first product, which keeps its digits


class ExportError(ValueError):
    """The student cannot be exported, or what was generated failed a check; no file has been written."""


@dataclass(frozen=True, eq=False)
class Student:
    """A network as arrays; `scaled` says how raw features enter it.

    kind is "mlp", "lstm" or "cnn"; widths are the features of a step, then the width of each layer of the body (none
    of an MLP); `heads` are the classifiers at the hidden layers of a network with exits, the deepest left out.
    """

    kind: str
    steps: int
    widths: tuple[int, ...]
    body: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    heads: tuple[Layer, ...]
    activation: str
    pooling: str
    kernel_size: int
    mean: np.ndarray
    scale: np.ndarray
    edge: np.ndarray  # what a convolution sees outside of the window, once the mean is subtracted
    classes: tuple[Any, ...] | None
    feature_names: tuple[str, ...] | None
    origin: str
    sha256: str

    @property
    def n_features(self) -> int:
        return self.widths[0]

    @property
    def n_inputs(self) -> int:
        return self.steps * self.widths[0]

    @property
    def n_outputs(self) -> int:
        return self.layers[-1][0].shape[1]

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self.n_features,) if self.kind == "mlp" else (self.steps, self.n_features)

    @property
    def n_parameters(self) -> int:
        return sum(W.size + b.size for W, b in (*self.body, *self.layers, *self.heads))

    def rows(self, X: Any, name: str = "X") -> np.ndarray:
        """X as float32 rows of this student's shape."""
        from fastkd._check import as_real

        rows = as_real(X, name, np.float32)
        if rows.ndim != len(self.row_shape) + 1 or rows.shape[1:] != self.row_shape or not len(rows):
            wanted = ", ".join(str(n) for n in self.row_shape)
            raise ValueError(f"{name} must be rows of shape (n, {wanted}); got {rows.shape}")
        return rows

    def draw(self, n: int, seed: int = 0) -> np.ndarray:
        """Rows as the scaler has seen them: normal, of its mean and spread."""
        noise = np.random.default_rng(seed).normal(size=(n, *self.row_shape))
        return (noise * self.scale + self.mean).astype(np.float32)

    def outputs(self, X: np.ndarray, exit: int | None = None) -> np.ndarray:
        """Logits or values in float64, by the definition of the network; `exit` cuts it off at a hidden layer."""
        from fastkd.reference.networks import mlp_forward
        from fastkd.reference.sequences import sequence_forward

        rows = (np.asarray(X, np.float64) - self.mean) / self.scale
        layers = self.layers if exit is None else (*self.layers[: exit + 1], self.heads[exit])
        sizes = (layers[0][0].shape[0], *(len(b) for _, b in layers))
        flat = [part.ravel() for layer in (*self.body, *layers) for part in layer]
        if self.kind == "mlp":
            return mlp_forward(np.concatenate(flat), sizes, self.activation, rows)
        return sequence_forward(_Net(self, sizes), np.concatenate(flat), rows)

    def entering(self) -> Student:
        """The same network for raw features: weights divided by the scale; `mean` is what is left to be subtracted.

        ((x - m) / s) W + b = (x - h) (W / s) + (b + ((h - m) / s) W), exactly, for any h: 0 where the mean is within a
        few spreads, else the mean as a float32. `scale` becomes 1.
        """
        center = self.kind == "cnn" or np.abs(self.mean / self.scale).max(initial=0.0) > CENTER_FROM
        with np.errstate(over="ignore", invalid="ignore"):
            held = self.mean.astype(np.float32).astype(np.float64) if center else np.zeros_like(self.mean)
            (W, b), *rest = self.body or self.layers
            times = self.kernel_size if self.kind == "cnn" else 1
            n = times * self.n_features
            inner = W[:n] / np.tile(self.scale, times)[:, None]
            first = np.concatenate([inner, W[n:]]), b + np.tile(held - self.mean, times) @ inner
        edge = self.mean - held if self.kind == "cnn" else np.zeros_like(held)
        changed = {"body" if self.body else "layers": (first, *rest)}
        return replace(self, mean=held, scale=np.ones_like(self.scale), edge=edge, **changed)  # type: ignore[arg-type]

    def rounded(self) -> Student:
        """`entering`, in float32, as a file holds it."""
        entering = self.entering()
        with np.errstate(over="ignore"):
            parts = {
                name: tuple((W.astype(np.float32), b.astype(np.float32)) for W, b in getattr(entering, name))
                for name in ("body", "layers", "heads")
            }
        arrays = [a for layers in parts.values() for layer in layers for a in layer]
        if not all(np.isfinite(a).all() for a in (*arrays, entering.mean.astype(np.float32))):
            raise ExportError("with the scaler folded in, the weights overflow float32; a scale of the scaler is tiny")
        held = entering.mean.astype(np.float32)
        return replace(entering, mean=held, edge=entering.edge.astype(np.float32), **parts)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class _Net:
    """What `sequence_forward` wants to know of a network."""

    student: Student
    sizes: tuple[int, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.student, name)


def read_student(model: Any) -> Student:
    """The student of a fitted model of `fastkd.models`, or of a `BeYourOwnTeacher` with its exits.

    Raises
    ------
    TypeError
        If it is none of these.
    ExportError
        If it has no weights yet, or predicts with an ensemble of its exits.
    """
    from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor

    if hasattr(model, "exits_") and hasattr(model, "predict_with"):
        return _read_exits(model)
    if not isinstance(model, (CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor)):
        raise TypeError(
            "an export takes a fitted MLPClassifier, MLPRegressor, LSTMClassifier, CNNClassifier or BeYourOwnTeacher; "
            f"got {type(model).__name__}"
        )
    model._check_fitted()
    from fastkd.reference.networks import mlp_layers
    from fastkd.reference.sequences import sequence_layers

    kernel, parameters = model._kernel, model.parameters.astype(np.float64)
    windows = model._takes_windows
    body, head = sequence_layers(kernel, parameters) if windows else ([], parameters)
    n_features = kernel.widths[0] if windows else kernel.sizes[0]
    scaler = model.scaler
    names = getattr(model, "feature_names_in_", None)
    classes = getattr(model, "classes_", None)
    return Student(
        kind=kernel.kind if windows else "mlp",
        steps=kernel.input_shape[0] if windows else 1,
        widths=tuple(kernel.widths) if windows else (n_features,),
        body=tuple((W.reshape(-1, W.shape[-1]), b) for W, b in body),
        layers=tuple(mlp_layers(head, kernel.sizes)),
        heads=(),
        activation=kernel.activation,
        pooling=kernel.pooling if windows else "last",
        kernel_size=kernel.kernel_size if windows else 1,
        mean=np.zeros(n_features) if scaler is None else np.array(scaler.mean_),
        scale=np.ones(n_features) if scaler is None else np.array(scaler.scale_),
        edge=np.zeros(n_features),
        classes=None if classes is None else tuple(np.asarray(classes).tolist()),
        feature_names=None if names is None else tuple(str(name) for name in names),
        origin=type(model).__name__,
        sha256=_digest(model),
    )


def _read_exits(model: Any) -> Student:
    if model.predict_with == "ensemble":
        raise ExportError('an ensemble of exits is not exported; set predict_with to "deepest" or to an exit')
    chosen = len(model.exits_) - 1 if model.predict_with == "deepest" else int(model.predict_with)
    students = [read_student(exit) for exit in model.exits_[: chosen + 1]]
    last = students[-1]
    for shallow in students[:-1]:
        same = zip(shallow.layers[:-1], last.layers, strict=False)
        scaled = np.array_equal(shallow.mean, last.mean) and np.array_equal(shallow.scale, last.scale)
        if not (scaled and all(np.array_equal(W, V) and np.array_equal(b, c) for (W, b), (V, c) in same)):
            raise ExportError("the exits no longer share scaler and hidden layers; export one of exits_ instead")
    digest = hashlib.sha256("".join(s.sha256 for s in students).encode()).hexdigest()
    return replace(last, heads=tuple(s.layers[-1] for s in students[:-1]), origin=type(model).__name__, sha256=digest)


def _digest(model: Any) -> str:
    """The digest that the model's file would carry."""
    from safetensors import safe_open

    from fastkd._io import save

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "student.safetensors")
        save(model, path)
        with safe_open(path, framework="numpy") as file:
            return str(file.metadata()["sha256"])
