"""SnapshotDistillation: one training run whose earlier states teach it."""

from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd.distill._committee import Committee
from fastkd.distill.generations import soft_targets
from fastkd.distill.schedules import CosineCycles
from fastkd.losses import log_softmax
from fastkd.models._hyperparameters import checked_temperature, integer, one_of, real
from fastkd.models._inputs import UNLABELLED

WAYS = ("cycles", "average")


class SnapshotDistillation(Committee):
    """Distillation from snapshots of one training run; it costs about as much as that run.

    "cycles" (Yang et al. 2019): the epochs fall into cycles, in each of which the learning rate falls by a cosine
    from its full value towards 0; the state at the end of a cycle teaches the whole next cycle. The first cycle learns
    from the labels alone. "average": snapshots are taken during ordinary training on the labels, and the rest of the
    epochs learn from the mean of their softened predictions.

    Parameters
    ----------
    model : estimator
        Unfitted classifier of `fastkd.models` with `partial_fit`; its `epochs` are those of the whole run. It stays as
        it is. Its `temperature`, `kd_weight`, `random_state` and early stopping, and in "cycles" `lr_schedule`, are
        not used.
    way : {"cycles", "average"}
    snapshots : int
        Cycles, or snapshots to average. Epochs are divided evenly: `epochs // snapshots` a cycle, the last taking the
        rest; for "average" a snapshot every `epochs // (snapshots + 1)` epochs.
    snapshot_epochs : sequence of int, optional
        For "average" instead of `snapshots`: ascending numbers of epochs after which to take a snapshot.
    temperature : float or callable
        Of the soft term, > 0; for "cycles" also cycle -> T, cycle 1 being the first that is taught (step 0).
    kd_weight : float
        Weight of the soft term, in [0, 1].
    predict_with : {"last", "best", "ensemble"}
        What `predict*` uses: the end of the run, the snapshot with the highest validation accuracy, or the mean of the
        probabilities of all snapshots. May be changed after `fit`.
    random_state : int, Generator or None
    verbose : bool
        Print a line a snapshot.

    Attributes
    ----------
    snapshots_ : list of fitted models
        The last is the end of the run.
    best_snapshot_ : int
        By validation accuracy, then loss; the last without an `eval_set`.
    history_ : dict of lists
        "loss" an epoch; "epoch" and, with an `eval_set`, "val_accuracy" and "val_loss" a snapshot.
    classes_, n_features_in_, feature_names_in_ :
        As for the model.

    References
    ----------
    Yang, Xie, Su and Yuille, Snapshot Distillation: Teacher-Student Optimization in One Generation, CVPR 2019. Huang
    et al., Snapshot Ensembles, ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.distill import SnapshotDistillation
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> run = SnapshotDistillation(MLPClassifier((8,), learning_rate=0.01, epochs=40), snapshots=4, random_state=0)
    >>> run.fit(X, y).history_["epoch"]
    [10, 20, 30, 40]
    """

    def __init__(
        self,
        model,
        *,
        way="cycles",
        snapshots=4,
        snapshot_epochs=None,
        temperature=3.0,
        kd_weight=0.5,
        predict_with="last",
        random_state=None,
        verbose=False,
    ):
        self.model = model
        self.way = way
        self.snapshots = snapshots
        self.snapshot_epochs = snapshot_epochs
        self.temperature = temperature
        self.kd_weight = kd_weight
        self.predict_with = predict_with
        self.random_state = random_state
        self.verbose = verbose

    def _ends(self) -> list[int]:
        """Numbers of epochs after which there is a snapshot, the end of the run last."""
        epochs = self.model.epochs
        if self.snapshot_epochs is not None:
            if self.way != "average":
                raise ValueError('snapshot_epochs are for way="average"; cycles are of equal length, see snapshots')
            ends = [int(e) for e in self.snapshot_epochs]
            if not ends or ends[0] < 1 or ends[-1] >= epochs or any(a >= b for a, b in pairwise(ends)):
                raise ValueError(
                    f"snapshot_epochs must ascend within 1 .. {epochs - 1}, less than the model's epochs; got {ends}"
                )
            return [*ends, epochs]
        parts = self.snapshots + (self.way == "average")
        if epochs < parts:
            raise ValueError(f"{self.snapshots} snapshots need at least {parts} epochs; the model has {epochs}")
        return [*(i * (epochs // parts) for i in range(1, parts)), epochs]

    def _check(self) -> None:
        self._check_model("epochs")
        if not hasattr(self.model, "partial_fit"):
            raise TypeError(f"model needs partial_fit; {type(self.model).__name__} has none")
        one_of(self, "way", WAYS)
        one_of(self, "predict_with", ("last", "best", "ensemble"))
        integer("snapshots", self.snapshots, low=1)
        checked_temperature(self.temperature)
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)

    def fit(self, X, y, *, sample_weight=None, eval_set=None, classes=None) -> "SnapshotDistillation":
        """Train the whole run; returns self. Arguments as for `BornAgain.fit`; without `eval_set` nothing is held out.

        A run that breaks off (Ctrl-C, a loss that is no number) leaves the snapshots so far usable.
        """
        self._check()
        rows, values, codes, weights, found = self._read(X, y, sample_weight, classes)
        validation = None if eval_set is None else self._read_eval_set(eval_set, rows, found)
        ends = self._ends()
        self.classes_ = found
        self.snapshots_: list[Any] = []
        self.best_snapshot_ = 0
        self.history_: dict[str, list[Any]] = {"loss": [], "epoch": [], "val_accuracy": [], "val_loss": []}
        model = self._fresh_model(
            kd_weight=self.kd_weight,
            random_state=int(as_rng(self.random_state).integers(2**63)),
            early_stopping=False,
        )
        if self.way == "cycles":
            model.set_params(lr_schedule=CosineCycles(ends[0]))
        labelled = codes != UNLABELLED
        logits: list[np.ndarray] = []
        start = 0
        self._adopt_shape(X, rows)
        for number, end in enumerate(ends):
            taught = number > 0 if self.way == "cycles" else number == len(ends) - 1
            model.set_params(temperature=checked_temperature(self.temperature, max(number - 1, 0)))
            if taught:
                teachers = logits if self.way == "average" else logits[-1:]
                soft = soft_targets(teachers, "ban+l", model.temperature, 0.0, np.random.default_rng(0))
            kept = slice(None) if taught or labelled.all() else labelled
            for _ in range(start, end):
                model.partial_fit(
                    rows[kept],
                    values[kept],
                    classes=self.classes_,
                    teacher_logits=soft if taught else None,
                    sample_weight=None if weights is None else weights[kept],
                )
                self.history_["loss"].append(model.history_["loss"][-1])
            start = end
            logits.append(model.predict_logits(rows))
            self._keep(model, end, validation)
        return self

    def _keep(self, model: Any, epoch: int, validation: tuple[np.ndarray, np.ndarray] | None) -> None:
        self.snapshots_.append(deepcopy(model))
        self.history_["epoch"].append(epoch)
        last = len(self.snapshots_) - 1
        line = f"snapshot {last}  epoch {epoch}  loss {self.history_['loss'][-1]:.5g}"
        if validation is None:
            self.best_snapshot_ = last
        else:
            rows, codes = validation
            log_p = log_softmax(np.asarray(model.predict_logits(rows), np.float64))
            accuracy, loss = self.history_["val_accuracy"], self.history_["val_loss"]
            accuracy.append(float((log_p.argmax(axis=1) == codes).mean()))
            loss.append(float(-log_p[np.arange(len(codes)), codes].mean()))
            best = self.best_snapshot_
            if (-accuracy[last], loss[last]) < (-accuracy[best], loss[best]):
                self.best_snapshot_ = last
            line += f"  val_accuracy {accuracy[-1]:.4f}  val_loss {loss[-1]:.4f}"
        if self.verbose:
            print(line, flush=True)

    # -- members -------------------------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return bool(getattr(self, "snapshots_", None))

    def _members(self) -> list[Any]:
        return self.snapshots_

    def _chosen(self) -> Any:
        one_of(self, "predict_with", ("last", "best", "ensemble"))
        if self.predict_with == "ensemble":
            return None
        return self.snapshots_[self.best_snapshot_ if self.predict_with == "best" else -1]
