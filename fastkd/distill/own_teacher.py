"""BeYourOwnTeacher: a network with a classifier at every hidden layer, whose exits teach each other while it trains."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd._core._native import ExitsKernel
from fastkd.distill._committee import Committee
from fastkd.losses import softmax
from fastkd.models._hyperparameters import (
    check_training,
    checked_dtype,
    checked_hidden,
    checked_temperature,
    one_of,
    real,
)
from fastkd.models._inputs import check_rows
from fastkd.models._network import new_optimizer
from fastkd.models._perceptron import mlp_kernel
from fastkd.models._signal import Signal, classification_scores
from fastkd.models._training import Plan, Run, best_of
from fastkd.models.classifier import MLPClassifier

DIRECTIONS = ("deepest", "shallow")


class BeYourOwnTeacher(Committee):
    r"""Self-distillation between the layers of one network (Zhang et al. 2019).

    Every hidden layer gets a linear classifier, an exit; the last layer of the network is the deepest. All train at
    once. The deepest exit learns from the labels, each shallow exit e from the labels and from the deepest:

    .. math::
        \sum_e v_e \left[ w \, T^2 \, KL(q_{deep}^T \| q_e^T) + (1 - w) \, CE(y, q_e) \right] + v_{deep} \, CE(y,
        q_{deep}) + \tfrac{\mu}{2} \sum_e \| A_e h_e - h_{deep} \|^2

    The last term draws the hidden layers, through linear adapters A_e that only training has, towards the deepest one.
    No gradient flows into a teacher. Each exit is a network of its own and the shallower the cheaper.

    Parameters
    ----------
    model : MLPClassifier
        Unfitted, with at least two hidden layers: the network and how it is trained. It stays as it is; its
        `temperature`, `kd_weight` and `random_state` are not used.
    direction : {"deepest", "shallow"}
        Who teaches: the deepest exit (the paper), or the mean of the shallow exits' softened outputs teaches the
        deepest, as some accounts of the method have it; the shallow exits then learn from the labels alone.
    temperature : float or callable
        T, > 0; or epoch -> T, such as `TemperatureSchedule`.
    kd_weight : float
        w of the pupils, in [0, 1]. The authors use 0.3.
    feature_weight : float
        mu, >= 0; 0 does without adapters. Not used with direction="shallow".
    exit_weights : sequence of float, optional
        v, one for each hidden layer, the deepest last; 1 each by default.
    predict_with : {"deepest", "ensemble"} or int
        What `predict*` uses: the deepest exit, the softmax of the mean of all exits' logits, or exit 0 (the
        shallowest), 1, ... May be changed after `fit`.
    random_state : int, Generator or None

    Attributes
    ----------
    exits_ : list of fitted MLPClassifier
        The shallowest first. Each is a model like any other: `exits_[0].predictor()` is the fastest student.
    history_ : dict of lists
        As of the model: "loss" (of all exits), "learning_rate" and, where rows are held out, "val_loss" and
        "val_score" of the deepest exit.
    exit_scores_ : list of float
        With an `eval_set`: accuracy of each exit.
    n_iter_, best_epoch_, converged_, classes_, n_features_in_, feature_names_in_ :
        As of the model.

    Notes
    -----
    The paper's loss has no factor T^2, and its authors' later code takes the un-squared norm of a whole batch for the
    last term and leaves out the shallowest layer there. Here the loss of a row does not depend on its batch, and the
    soft term is weighed as everywhere in this library.

    Pupils and teacher share layers, so pupils can come closer to the teacher by making it say less: with `kd_weight`
    near 1 and equal exit weights all exits may end at the class shares. Small `exit_weights` of the pupils prevent it.

    References
    ----------
    Zhang, Song, Gao, Chen, Bao and Ma, Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks
    via Self Distillation, ICCV 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.distill import BeYourOwnTeacher
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> model = MLPClassifier((16, 16, 16), learning_rate=0.01, epochs=60)
    >>> net = BeYourOwnTeacher(model, random_state=0).fit(X, y)
    >>> [exit.hidden for exit in net.exits_]
    [(16,), (16, 16), (16, 16, 16)]
    >>> net.score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        model,
        *,
        direction="deepest",
        temperature=3.0,
        kd_weight=0.3,
        feature_weight=0.03,
        exit_weights=None,
        predict_with="deepest",
        random_state=None,
    ):
        self.model = model
        self.direction = direction
        self.temperature = temperature
        self.kd_weight = kd_weight
        self.feature_weight = feature_weight
        self.exit_weights = exit_weights
        self.predict_with = predict_with
        self.random_state = random_state

    def _check(self) -> None:
        self._check_model()
        if not isinstance(self.model, MLPClassifier):
            raise TypeError(f"model must be an MLPClassifier; got {type(self.model).__name__}")
        check_training(self.model)
        hidden = checked_hidden(self.model.hidden)
        if len(hidden) < 2:
            raise ValueError(f"exits need at least two hidden layers; got hidden={self.model.hidden!r}")
        one_of(self, "direction", DIRECTIONS)
        self._check_predict_with(len(hidden))
        checked_temperature(self.temperature)
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)
        real("label_smoothing of the model", self.model.label_smoothing, low=0.0, high=1.0, high_open=True)
        real("feature_weight", self.feature_weight, low=0.0)
        if self.exit_weights is not None:
            if np.shape(self.exit_weights) != (len(hidden),):
                raise ValueError(
                    f"exit_weights must be {len(hidden)} numbers, one a hidden layer; got {self.exit_weights!r}"
                )
            for weight in self.exit_weights:
                real("each of exit_weights", weight, low=0.0)

    def _check_predict_with(self, n_exits: int) -> None:
        chosen = self.predict_with
        named = isinstance(chosen, str) and chosen in ("deepest", "ensemble")
        if not named and (isinstance(chosen, (str, bool)) or chosen not in range(n_exits)):
            raise ValueError(
                f"predict_with must be 'deepest', 'ensemble' or an exit 0 .. {n_exits - 1}; got {chosen!r}"
            )

    def fit(self, X, y, *, sample_weight=None, eval_set=None, classes=None) -> "BeYourOwnTeacher":
        """Train from fresh weights; returns self.

        Parameters
        ----------
        X : (n, n_features)
            Finite features, raw if the model scales.
        y : (n,)
            Labels of at least two classes; with y = -1 a row teaches the pupils alone.
        sample_weight : (n,), optional
            Not negative; only ratios count.
        eval_set : (X_val, y_val), optional
            Judged after every epoch by the deepest exit. With early stopping of the model and no `eval_set`, the last
            rows are held out.
        classes : optional
            All labels, if y does not show every one of them.
        """
        self._check()
        model = self.model
        holds_out = eval_set is None and model.early_stopping
        held_out = model.validation_fraction if holds_out else 0.0
        rows, values, codes, weights, found = self._read(X, y, sample_weight, classes, held_out)
        dtype = checked_dtype(model.dtype)
        validation = None if eval_set is None else self._read_eval_set(eval_set, rows, found)
        if validation is None and model.early_stopping:
            cut = len(rows) - max(1, round(model.validation_fraction * len(rows)))
            validation = self._read_eval_set((rows[cut:], values[cut:]), rows, found, raw=False)
            rows, codes = rows[:cut], codes[:cut]
            weights = None if weights is None else weights[:cut]
        rows = check_rows(rows, dtype, owner=type(self).__name__)
        held_out = None
        if validation is not None:
            held_out = check_rows(validation[0], dtype, owner=type(self).__name__), validation[1]
        sizes = (rows.shape[1], *checked_hidden(model.hidden), len(found))
        kernel = self._kernel(sizes, dtype.name)
        signal = Signal(len(rows), dtype, labels=codes, weights=weights)
        evaluate = None if held_out is None else partial(self._evaluate, sizes, *held_out)
        comparable = model.lr_schedule == "constant" and not callable(self.temperature)
        plan = Plan(kernel, rows, partial(self._targets, signal), evaluate, model, comparable)
        run = best_of(plan, partial(self._start, kernel), as_rng(self.random_state))
        self._adopt_shape(X, rows)
        self.classes_ = found
        self.history_, self.n_iter_, self.best_epoch_, self.converged_ = (
            run.history,
            run.n_iter,
            run.best_epoch,
            run.converged,
        )
        self.exits_ = self._networks(sizes, run.parameters)
        if held_out is not None:
            known = held_out[0], self.classes_[held_out[1]]
            self.exit_scores_ = [exit.score(*known) for exit in self.exits_]
        if run.error is not None:
            raise run.error
        return self

    def _kernel(self, sizes: tuple[int, ...], dtype: str) -> ExitsKernel:
        shallow = self.direction == "shallow"
        weights = (1.0,) * (len(sizes) - 2) if self.exit_weights is None else tuple(self.exit_weights)
        hint = 0.0 if shallow else float(self.feature_weight)
        return ExitsKernel(sizes, self.model.activation, dtype, weights, feature_weight=hint, shallow_teaches=shallow)

    def _start(self, kernel: ExitsKernel, rng: np.random.Generator) -> Run:
        """The network as its model starts it; exits and adapters Glorot uniform (2010)."""
        sizes, model = kernel.sizes, self.model
        trunk = model._start(mlp_kernel(sizes, kernel.activation, kernel.dtype), rng)
        parts = [trunk.parameters]
        hints = self.direction == "deepest" and self.feature_weight > 0
        for n_in in sizes[1:-2]:
            for n_out in (sizes[-1], sizes[-2])[: 1 + hints]:
                limit = np.sqrt(6.0 / (n_in + n_out))
                parts += [rng.uniform(-limit, limit, n_in * n_out), np.zeros(n_out)]
        parameters = np.concatenate(parts).astype(kernel.dtype)
        return Run(parameters, new_optimizer(kernel, *trunk.settings), rng, trunk.settings)

    def _targets(self, signal: Signal, epoch: int) -> Any:
        return signal.native(
            temperature=checked_temperature(self.temperature, epoch),
            kd_weight=float(self.kd_weight),
            label_smoothing=float(self.model.label_smoothing),
        )

    def _evaluate(self, sizes: tuple[int, ...], rows: np.ndarray, codes: np.ndarray, parameters: np.ndarray):
        kernel = mlp_kernel(sizes, self.model.activation, rows.dtype)
        outputs = kernel.forward(parameters[: kernel.n_parameters], rows)
        return classification_scores(outputs, Signal(len(rows), rows.dtype, labels=codes), 1.0)

    def _networks(self, sizes: tuple[int, ...], parameters: np.ndarray) -> list[MLPClassifier]:
        """Each exit as a classifier of its own."""
        ends = np.cumsum([(n_in + 1) * n_out for n_in, n_out in pairwise(sizes)])
        at, found = ends[-1], []
        hints = self.direction == "deepest" and self.feature_weight > 0
        for depth in range(1, len(sizes) - 1):
            own = parameters[: ends[-1]]
            if depth < len(sizes) - 2:
                head = (sizes[depth] + 1) * sizes[-1]
                own = np.concatenate([parameters[: ends[depth - 1]], parameters[at : at + head]])
                at += head + hints * (sizes[depth] + 1) * sizes[-2]
            exit = self._fresh_model(hidden=sizes[1 : depth + 1], random_state=0)
            exit.initialize(sizes[0], sizes[-1])
            exit.parameters = own
            exit.classes_ = self.classes_
            found.append(exit)
        return found

    # -- predictions ---------------------------------------------------------------------------------------------------

    def _members(self) -> list[Any]:
        return self.exits_

    def _chosen(self) -> Any:
        self._check_predict_with(len(self.exits_))
        if self.predict_with == "ensemble":
            return None
        return self.exits_[-1 if self.predict_with == "deepest" else self.predict_with]

    def ensemble_proba(self, X: Any) -> np.ndarray:
        """Softmax of the mean of all exits' logits, (n, n_classes)."""
        rows = self._rows(X)
        return softmax(np.mean([exit.predict_logits(rows) for exit in self.exits_], axis=0))

    def predict_early(self, X: Any, confidence: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """(labels, exits): each row leaves at the shallowest exit whose largest probability reaches `confidence`.

        Deeper exits see only the rows that are left; `exits` says which one a row took.
        """
        real("confidence", confidence, low=0.0, high=1.0)
        rows = self._rows(X)
        codes, taken = np.empty(len(rows), np.intp), np.empty(len(rows), np.intp)
        left = np.arange(len(rows))
        for depth, exit in enumerate(self.exits_):
            proba = exit.predict_proba(rows[left])
            sure = (proba.max(axis=1) >= confidence) | (depth == len(self.exits_) - 1)
            codes[left[sure]], taken[left[sure]] = proba.argmax(axis=1)[sure], depth
            left = left[~sure]
            if not len(left):
                break
        return self.classes_[codes], taken
