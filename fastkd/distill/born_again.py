"""BornAgain: generations of one network, each trained from fresh weights on what the one before has learned."""

import copy
import functools
import threading
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd._parallel import each
from fastkd.distill._committee import Committee
from fastkd.distill.generations import VARIANTS, Lineage, Material, raise_lineage
from fastkd.distill.uncertainty_head import UncertaintyStudent
from fastkd.models._hyperparameters import checked_temperature, integer, one_of, real


class BornAgain(Committee):
    r"""Born-again networks: self-distillation over generations (Furlanello et al. 2018).

    Generation 0 learns from the labels. Generation k starts from fresh weights and learns, with the same architecture,
    from the outputs of generation k - 1 on the training rows, computed once:

    .. math:: w \, T_k^2 \, KL(q_{k-1}^{T_k} \| q_k^{T_k}) + (1 - w) \, CE(y, q_k)

    with w = `kd_weight` and :math:`q^T` = softmax(logits / T). As a rule accuracy gains little and stops gaining after
    two or three generations; validation picks the generation that predicts.

    Parameters
    ----------
    model : estimator
        Unfitted classifier of `fastkd.models`: the architecture and how it is trained. It stays as it is; each
        generation is a copy. Its `temperature`, `kd_weight` and `random_state` are not used.
    generations : int
        Networks trained one after the other, generation 0 included.
    variant : {"ban+l", "ban", "cwtm", "dkpp", "label_smoothing"}
        What generations from 1 on learn from. "ban+l": the teacher and the labels; "ban": the teacher alone; "cwtm":
        the labels, each row weighted by the teacher's largest probability; "dkpp": the teacher alone, its logits other
        than the largest permuted at random in each row. "label_smoothing" is no self-distillation but the baseline
        that any of these has to beat: fresh networks on uniformly smoothed labels.
    temperature : float or callable
        T of the soft term; or step -> T, such as `TemperatureSchedule`, where step k - 1 is generation k: T_0 softens
        what generation 0 teaches. The paper uses 1.
    kd_weight : float, sequence or callable
        w of "ban+l", in [0, 1]; or one for each generation (entry 0 is not used); or generation -> w, such as
        `PeriodicLabels`, which brings the labels back now and then.
    learning_rate : None, float, sequence or callable
        None for that of `model`; else as `kd_weight`, entry 0 being that of generation 0.
    noise : float
        Standard deviation of normal noise on the teacher's logits, drawn once a generation.
    average_targets : bool
        Learn from the mean of the softened outputs of all generations so far, not of the last alone.
    label_smoothing : float
        Of the variant "label_smoothing", in [0, 1).
    patience : int, optional
        Stop when that many generations in a row have not been the best on the validation part.
    validation_fraction : float
        Share of rows held out to judge the generations if `fit` gets no `eval_set`: the last rows, never shuffled. 0
        holds out none; then the last generation is taken for the best.
    predict_with : {"best", "last", "ensemble"}
        What `predict*` uses: the generation that validation picked, the last, or the mean of the probabilities of all
        (BANE, the born-again ensemble). A hyper-parameter that may be changed after `fit`.
    uncertainty_head : bool
        Also fit `student_`: the best generation with a second output that predicts the variance over the generations,
        so that it costs nothing extra at inference.
    n_init : int
        Independent lineages from different seeds; validation picks one.
    workers : int
        Threads for `n_init` > 1; -1 for one a core. The result does not depend on it.
    callback : callable, optional
        Called as callback(generation, model, history) after each generation; from several threads if `workers` > 1.
        It may raise to end the run: the error comes out of `fit`, and the generations trained so far are usable.
    random_state : int, Generator or None
    verbose : bool
        Print a line a generation.

    Attributes
    ----------
    generations_ : list of fitted models
    best_generation_ : int
        Highest validation accuracy; among equals the lowest validation loss, then the earliest.
    history_ : dict of lists
        One entry a generation: "temperature", "kd_weight" (None where nothing was distilled), "learning_rate",
        "accuracy" (training rows), "agreement" (share of training rows with the class that the previous generation
        gives) and, with a validation part, "val_accuracy", "val_loss".
    student_ : UncertaintyStudent
        With `uncertainty_head`.
    classes_, n_features_in_, feature_names_in_ :
        As for the model.

    Notes
    -----
    Rows with y = -1 have no label: generation 0 leaves them out, later generations learn them from their teacher.

    Four things are said to put off saturation: a falling `temperature`, `noise`, `average_targets`, and labels that
    come back periodically (`PeriodicLabels` as `kd_weight`).

    References
    ----------
    Furlanello, Lipton, Tschannen, Itti and Anandkumar, Born-Again Neural Networks, ICML 2018. Mobahi, Farajtabar and
    Bartlett, Self-Distillation Amplifies Regularization in Hilbert Space, NeurIPS 2020: why few rounds help and many
    under-fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.distill import BornAgain
    >>> from fastkd.models import MLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 3))
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> model = MLPClassifier(hidden=(8,), learning_rate=0.01, epochs=20)
    >>> ban = BornAgain(model, generations=3, random_state=0).fit(X, y)
    >>> len(ban.generations_), len(ban.history_["val_accuracy"]), ban.score(X, y) > 0.95
    (3, 3, True)
    >>> ban.uncertainty(X).variance.shape
    (400,)
    """

    def __init__(
        self,
        model,
        generations=5,
        *,
        variant="ban+l",
        temperature=3.0,
        kd_weight=0.7,
        learning_rate=None,
        noise=0.0,
        average_targets=False,
        label_smoothing=0.1,
        patience=None,
        validation_fraction=0.1,
        predict_with="best",
        uncertainty_head=False,
        n_init=1,
        workers=1,
        callback=None,
        random_state=None,
        verbose=False,
    ):
        self.model = model
        self.generations = generations
        self.variant = variant
        self.temperature = temperature
        self.kd_weight = kd_weight
        self.learning_rate = learning_rate
        self.noise = noise
        self.average_targets = average_targets
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.predict_with = predict_with
        self.uncertainty_head = uncertainty_head
        self.n_init = n_init
        self.workers = workers
        self.callback = callback
        self.random_state = random_state
        self.verbose = verbose

    def _check(self) -> None:
        self._check_model("learning_rate", "label_smoothing")
        one_of(self, "variant", VARIANTS)
        one_of(self, "predict_with", ("best", "last", "ensemble"))
        for name in ("generations", "n_init"):
            integer(name, getattr(self, name), low=1)
        if self.patience is not None:
            integer("patience", self.patience, low=1)
        if self.workers != -1:
            integer("workers", self.workers, low=1, hint=", or -1 for all cores")
        checked_temperature(self.temperature)
        real("noise", self.noise, low=0.0)
        real("label_smoothing", self.label_smoothing, low=0.0, high=1.0, high_open=True)
        real("validation_fraction", self.validation_fraction, low=0.0, high=1.0, high_open=True)
        for name in ("kd_weight", "learning_rate"):
            value = getattr(self, name)
            if not callable(value) and np.ndim(value) == 0 and value is not None:
                real(name, value, low=0.0, high=1.0 if name == "kd_weight" else np.inf, low_open=name != "kd_weight")
            elif np.ndim(value) and len(value) < self.generations:
                raise ValueError(
                    f"{name} has {len(value)} values; expected one for each of {self.generations} generations"
                )
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable or None; got {self.callback!r}")

    def fit(self, X, y, *, sample_weight=None, eval_set=None, classes=None, executor=None) -> "BornAgain":
        """Train all generations; returns self.

        Parameters
        ----------
        X : (n, n_features)
            Finite features, raw if the model scales; in time order if the last rows are to be held out.
        y : (n,)
            Labels of at least two classes; -1 for unlabelled rows.
        sample_weight : (n,), optional
            Not negative; only ratios count.
        eval_set : (X_val, y_val), optional
            Judges the generations; then none of X is held out.
        classes : optional
            All labels, if y does not show every one of them.
        executor : concurrent.futures.Executor, optional
            Raises the `n_init` lineages, in place of `workers` threads; the result has the same bits.

        Raises
        ------
        ValueError, TypeError
            On fewer than two classes, an empty validation part, data or hyper-parameters out of range.
        """
        self._check()
        rows, values, codes, weights, found = self._read(
            X, y, sample_weight, classes, held_out=0.0 if eval_set is not None else self.validation_fraction
        )
        validation = None if eval_set is None else self._read_eval_set(eval_set, rows, found)
        if eval_set is None and self.validation_fraction > 0.0:
            cut = len(rows) - max(1, round(self.validation_fraction * len(rows)))
            if cut < 1:
                raise ValueError(f"n_samples={len(rows)} are too few to hold out a validation part; pass eval_set")
            validation = self._read_eval_set((rows[cut:], values[cut:]), rows, found, raw=False)
            rows, values, codes = rows[:cut], values[:cut], codes[:cut]
            weights = None if weights is None else weights[:cut]
        if self.n_init > 1 and validation is None:
            raise ValueError(f"n_init={self.n_init} needs a validation part to choose by: pass eval_set")
        material = Material(rows, values, codes, weights, found, validation)
        best = self._all_lineages(material, executor)
        if not best.generations and best.error is not None:
            raise best.error
        self._adopt_shape(X, rows)
        self.__dict__.pop("student_", None)
        self.classes_ = found
        self.generations_ = best.generations
        self.history_ = best.history
        self.best_generation_ = best.best
        if best.error is not None:
            done = len(best.generations)
            best.error.add_note(f"BornAgain: {done} generation(s) were trained before this and can be used")
            raise best.error
        if self.uncertainty_head:
            self.student_ = UncertaintyStudent.of(self.best_model_, rows, spread_of=self.generations_)
        return self

    def _all_lineages(self, material: Material, executor: Any) -> Lineage:
        """The lineage to keep; if one failed, with its error."""
        seeds = [int(s) for s in as_rng(self.random_state).integers(2**63, size=self.n_init)]
        stop = threading.Event()

        def task(number: int) -> Lineage:
            return raise_lineage(self, material, seeds[number], stop, functools.partial(self._report, number))

        lines: list[Lineage] = []
        try:
            if executor is None:
                lines = each(task, range(self.n_init), workers=self.workers, stop=stop, keep=lines.extend)
            else:  # callbacks stay here, and hear of a lineage when it has ended
                far = copy.copy(self)
                far.callback, far.verbose = None, False
                jobs = [(far, material, seed) for seed in seeds]
                lines = each(_far_lineage, jobs, executor=executor, keep=lines.extend)
                for number, line in enumerate(lines):
                    for k in range(len(line.generations)):
                        self._report(number, k, line)
        except BaseException as error:
            if not lines:
                raise
            lines[0].error = error
        best = min(lines, key=Lineage.rank)
        best.error = next((line.error for line in lines if line.error is not None), None)
        return best

    def _report(self, number: int, k: int, line: Lineage) -> None:
        if self.verbose:
            print(self._line(number, k, line), flush=True)
        if self.callback is not None:
            self.callback(k, line.generations[k], line.history)

    def _line(self, number: int, k: int, line: Lineage) -> str:
        start = f"[start {number + 1}/{self.n_init}] " if self.n_init > 1 else ""
        text = f"{start}generation {k}  accuracy {line.history['accuracy'][k]:.4f}"
        if line.history["val_loss"]:
            text += f"  val_accuracy {line.history['val_accuracy'][k]:.4f}  val_loss {line.history['val_loss'][k]:.4f}"
        return text

    # -- members -------------------------------------------------------------------------------------------------------

    @property
    def best_model_(self) -> Any:
        """The generation that validation picked."""
        self._check_fitted()
        return self.generations_[self.best_generation_]

    def _members(self) -> list[Any]:
        return self.generations_

    def _chosen(self) -> Any:
        one_of(self, "predict_with", ("best", "last", "ensemble"))
        if self.predict_with == "ensemble":
            return None
        return self.best_model_ if self.predict_with == "best" else self.generations_[-1]


def _far_lineage(job: tuple[Any, Material, int]) -> Lineage:
    """A lineage where nobody listens: in another process, or on another machine."""
    ban, material, seed = job
    return raise_lineage(ban, material, seed, threading.Event(), lambda k, line: None)
