"""TorchClassifier: a torch module that learns as the classifiers of this package do, in federations too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from fastkd._check import as_rng
from fastkd.losses import softmax
from fastkd.models._base import Estimator
from fastkd.models._hyperparameters import checked_temperature, integer, real
from fastkd.models._inputs import as_real_array, check_names, check_windows, feature_names
from fastkd.models._signal import Signal, labelled_accuracy
from fastkd.models._teaching import read_signal

__all__ = ["TorchClassifier"]


class TorchClassifier(Estimator):
    """A torch ``nn.Module`` with its optimizer and epochs, as a student, a teacher, or a client of FedMD and RobustFL.

    The loss is that of `MLPClassifier`: kd_weight T^2 KL + (1 - kd_weight) CE, by autograd.

    Parameters
    ----------
    module : torch.nn.Module
        Rows, in the dtype of its weights, to logits (n, n_classes). `fit` begins with its weights as they are; it
        stays as it is, a copy is trained.
    optimizer : callable, optional
        Parameters -> torch optimizer; by default ``torch.optim.Adam`` with `learning_rate`.
    learning_rate : float
        Of the default optimizer.
    epochs, batch_size : int
        Passes over the rows; rows a step.
    temperature, kd_weight
        As of `MLPClassifier`.
    scale : {"standard", "minmax", "robust"} or None
        As of `MLPClassifier`.
    random_state : int, Generator or None
        Source of the order of rows; the module's weights are torch's affair.

    Attributes
    ----------
    module_ : the trained copy
    classes_, n_features_in_, feature_names_in_, scaler_
        As of `MLPClassifier`.
    history_ : dict with "loss", one entry an epoch

    Notes
    -----
    It is not saved by `fastkd.save`, and a federation with it takes no checkpoint: torch saves its modules itself.

    Examples
    --------
    A client of FedMD is then ``Client("torch", TorchClassifier(module), X, y)``, and a student
    ``distill(teacher, TorchClassifier(module), X, y)``.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        module: Any,
        *,
        optimizer: Callable[[Any], Any] | None = None,
        learning_rate: float = 1e-3,
        epochs: int = 20,
        batch_size: int = 64,
        temperature: Any = 3.0,
        kd_weight: float = 0.7,
        scale: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.module, self.optimizer = module, optimizer
        self.learning_rate, self.epochs, self.batch_size = learning_rate, epochs, batch_size
        self.temperature, self.kd_weight, self.scale = temperature, kd_weight, scale
        self.random_state = random_state

    # -- training -----------------------------------------------------------------------------------------------------

    def initialize(self, input_shape: Any, n_outputs: int) -> Self:
        """A copy of the module with its weights as they are, for classes 0 .. n_outputs - 1; returns self."""
        shape = (input_shape,) if isinstance(input_shape, int | np.integer) else tuple(input_shape)
        self._start(shape, np.arange(n_outputs))
        return self

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        teacher_logits: Any = None,
        soft_labels: Any = None,
        sample_weight: Any = None,
        eval_set: Any = None,
        classes: Any = None,
    ) -> Self:
        """Train a copy of the module; returns self. Arguments as of `MLPClassifier.fit`, without `eval_set`."""
        if eval_set is not None:
            raise ValueError("TorchClassifier trains all its epochs: it takes no eval_set")
        integer("epochs", self.epochs, low=1)
        rows, signal, found = self._read(X, y, teacher_logits, soft_labels, sample_weight, classes)
        self._keep_scaler(self._scaler_to_fit(rows, self.scale), self.scale)
        self._start(rows.shape[1:], found, feature_names(X))
        for epoch in range(self.epochs):
            self._epoch(rows, signal, epoch)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        classes: Any = None,
        teacher_logits: Any = None,
        soft_labels: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """One pass over the rows, going on from the present weights and optimizer; returns self."""
        fitted = self.__sklearn_is_fitted__()
        known = self.classes_ if fitted else classes
        rows, signal, found = self._read(X, y, teacher_logits, soft_labels, sample_weight, known)
        if self.scaler is None:
            self.fit_scaler(rows)
        if not fitted:
            self._start(rows.shape[1:], found, feature_names(X))
        self._epoch(rows, signal, len(self.history_["loss"]))
        return self

    def gradient(
        self, X: Any, y: Any = None, *, teacher_logits: Any = None, soft_labels: Any = None, sample_weight: Any = None
    ) -> tuple[float, np.ndarray]:
        """Loss of all rows as one batch at the present weights, and its flat gradient, in the order of `parameters`."""
        self._check_fitted()
        rows, signal, _ = self._read(X, y, teacher_logits, soft_labels, sample_weight, self.classes_)
        self.module_.zero_grad()
        loss = self._loss(rows, signal, len(self.history_["loss"]))
        loss.backward()
        parts = [np.zeros(p.shape) if p.grad is None else p.grad.cpu().numpy() for p in self.module_.parameters()]
        self.module_.zero_grad()
        return float(loss.detach()), np.concatenate([part.ravel() for part in parts])

    def _start(self, shape: tuple[int, ...], classes: np.ndarray, names: Any = None) -> None:
        import torch

        self.module_ = copy.deepcopy(self.module)
        weights = [p for p in self.module_.parameters() if p.requires_grad]
        if not weights:
            raise ValueError("the module has no weights to train")
        if self.optimizer is None:
            real("learning_rate", self.learning_rate, low=0.0, low_open=True)
            self._optimizer = torch.optim.Adam(weights, lr=self.learning_rate)
        else:
            self._optimizer = self.optimizer(weights)
        self.classes_, self.n_features_in_, self._shape = classes, int(shape[-1]), tuple(shape)
        self.history_: dict[str, list[float]] = {"loss": []}
        self._rng = as_rng(self.random_state)
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        found = self._forward(np.zeros((2, *shape))).shape
        if found != (2, len(classes)):
            raise ValueError(f"the module must give (rows, {len(classes)}) logits, one for each class; got {found}")

    def _read(
        self, X: Any, y: Any, teacher_logits: Any, soft_labels: Any, sample_weight: Any, classes: Any
    ) -> tuple[np.ndarray, Signal, np.ndarray]:
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)
        if soft_labels is not None and callable(self.temperature):
            raise ValueError("soft_labels are softened at one temperature; a temperature schedule needs teacher_logits")
        rows = self._rows(X)
        arguments = (y, teacher_logits, soft_labels, sample_weight, classes)
        return read_signal(type(self).__name__, rows, *arguments, np.dtype(np.float64))

    def _epoch(self, rows: np.ndarray, signal: Signal, epoch: int) -> None:
        integer("batch_size", self.batch_size, low=1)
        losses, n = [], len(rows)
        order = self._rng.permutation(n)
        self.module_.train()
        for start in range(0, n, self.batch_size):
            batch = order[start : start + self.batch_size]
            self._optimizer.zero_grad()
            loss = self._loss(rows[batch], signal.rows(batch), epoch)
            if not bool(loss.isfinite()):
                raise ValueError("the loss is not a number: lower the learning rate, or scale the features (scale=)")
            loss.backward()
            self._optimizer.step()
            losses.append(float(loss.detach()) * len(batch))
        self.history_["loss"].append(sum(losses) / n)

    def _loss(self, rows: np.ndarray, signal: Signal, epoch: int) -> Any:
        import torch

        logits = self.module_(self._tensor(rows)).double()
        T = checked_temperature(self.temperature, epoch)
        weight = signal.kd_weight(self.kd_weight)
        loss = torch.zeros(len(rows), dtype=torch.float64, device=logits.device)
        if weight and signal.has_teacher:
            soft = signal.soft if signal.soft is not None else softmax(np.asarray(signal.teacher_logits), T)
            target = torch.as_tensor(np.array(soft, np.float64), device=logits.device)
            gap = torch.xlogy(target, target) - target * torch.log_softmax(logits / T, dim=1)
            loss = loss + weight * T**2 * gap.sum(dim=1)
        if signal.labels is not None and weight < 1.0:
            labels = torch.as_tensor(signal.labels.astype(np.int64), device=logits.device)
            hard = torch.nn.functional.cross_entropy(logits, labels, reduction="none", ignore_index=-1)
            loss = loss + (1.0 - weight) * hard
        if signal.weights is not None:
            loss = loss * torch.as_tensor(signal.weights / signal.weights.mean(), device=logits.device)
        return loss.mean()

    # -- predictions --------------------------------------------------------------------------------------------------

    def predict_logits(self, X: Any) -> np.ndarray:
        """Logits, (n, n_classes)."""
        self._check_fitted()
        check_names(feature_names(X), getattr(self, "feature_names_in_", None))
        return self._forward(self._rows(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities softmax(logits) at temperature 1, (n, n_classes)."""
        return softmax(self.predict_logits(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, (n,)."""
        best = self.predict_logits(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the labelled rows."""
        return labelled_accuracy(self.predict(X), y, self.classes_, sample_weight)

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        import torch

        training = self.module_.training
        self.module_.eval()
        try:
            with torch.no_grad():
                return self.module_(self._tensor(rows)).cpu().numpy()
        finally:
            self.module_.train(training)

    def _rows(self, X: Any) -> np.ndarray:
        """X as finite float64 rows or windows of the module's shape, not scaled."""
        rows = as_real_array(X, "X")
        shape = getattr(self, "_shape", rows.shape[1:])
        if rows.ndim < 2 or rows.shape[1:] != shape or 0 in rows.shape:
            raise ValueError(f"X must hold rows of shape {shape}; got shape {rows.shape}")
        flat = rows.reshape(len(rows), -1, rows.shape[-1])
        return check_windows(flat, np.dtype(np.float64), owner=type(self).__name__).reshape(rows.shape)

    def _tensor(self, rows: np.ndarray) -> Any:
        import torch

        weight = next(self.module_.parameters())
        scaler = self._scaler_to_use() if self.__sklearn_is_fitted__() and len(self.history_["loss"]) else self.scaler
        scaled = rows if scaler is None else scaler.transform(rows)
        return torch.as_tensor(np.ascontiguousarray(scaled), dtype=weight.dtype, device=weight.device)

    # -- weights ------------------------------------------------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return len(self.parameters)

    @property
    def parameters(self) -> np.ndarray:
        """All weights as one 1-D array (a copy), in torch's order; assign to replace them."""
        self._check_fitted()
        return np.concatenate([p.detach().cpu().numpy().ravel() for p in self.module_.parameters()])

    @parameters.setter
    def parameters(self, value: Any) -> None:
        import torch

        self._check_fitted()
        array = as_real_array(value, "parameters")
        if array.shape != (self.n_parameters,) or not np.isfinite(array).all():
            raise ValueError(f"parameters must be {self.n_parameters} finite numbers; got shape {array.shape}")
        at = 0
        with torch.no_grad():
            for p in self.module_.parameters():
                p.copy_(torch.as_tensor(array[at : at + p.numel()].reshape(p.shape)))
                at += p.numel()
