"""Distillation from finished teachers into a student."""

from typing import Any

import numpy as np

from fastkd._check import feature_names
from fastkd.distill.teachers import ask, values_of
from fastkd.models._hyperparameters import checked_temperature, real
from fastkd.models._inputs import UNLABELLED, check_labels, check_weights
from fastkd.models.regressor import MLPRegressor

TEMPERATURE = 3.0


def distill(
    teacher: Any,
    student: Any,
    X: Any,
    y: Any = None,
    *,
    teacher_X: Any = None,
    outputs: str = "auto",
    temperature: Any = TEMPERATURE,
    kd_weight: float = 0.7,
    scale_t2: bool = True,
    teacher_weights: Any = None,
    class_weight: Any = None,
    sample_weight: Any = None,
    eval_set: Any = None,
) -> Any:
    r"""Train `student` on what `teacher` says, and on labels where there are any; returns the student.

    The loss of a row is kd_weight * T^2 * KL(teacher^T || student^T) + (1 - kd_weight) * CE(y, student) (Hinton,
    Vinyals and Dean 2015). Softening by T divides the gradient of the soft term by about T^2; the factor T^2
    makes up for it, so `kd_weight` need not be tuned anew when T changes.

    A regressor's loss is kd_weight * l(f, teacher) + (1 - kd_weight) * l(f, y), with its own l (squared or quantile).

    Parameters
    ----------
    teacher : model, callable, array of shape (n, n_classes), or a list of these
        Anything that `fastkd.models.as_model` takes, or what it said of X. If it has `classes_`, they become the
        student's. For a regressor: anything with `predict`, a callable, or an array of values.
    student : estimator
        A classifier of `fastkd.models`, or an `MLPRegressor`. A classifier's hyper-parameters `temperature` and
        `kd_weight` are set to those given here.
    X : (n, n_features)
        Raw if the student scales (`scale`), else as it takes it.
    y : (n,), optional
        Labels; -1 (of a regressor NaN) marks rows without one, which learn from the teacher alone.
    teacher_X : (n, ...), optional
        The same rows as the teacher takes them; X if not given.
    outputs : {"auto", "logits", "proba"}
        What an array, a callable, a torch module or an ONNX session holds or returns. "auto" takes rows that are
        non-negative and sum to 1 as probabilities, with a `TakenAsProbabilities` warning, and others as logits.
        Models with `predict_logits` or `predict_proba` say it themselves.
    temperature : float or callable
        > 0; or a schedule, epoch -> temperature, such as `TemperatureSchedule`. Not for regressors.
    kd_weight : float
        Weight of the teacher, in [0, 1].
    scale_t2 : bool
        False leaves out the factor T^2 (for a fixed temperature), as some texts do.
    teacher_weights : sequence of float or "validation", optional
        Of a list of teachers: weights of the mean of their probabilities (or values), equal if not given; or the
        teacher alone that has the lowest log-loss on `eval_set`.
    class_weight : dict or "balanced", optional
        Factor on the weight of rows by their label; "balanced" makes all classes weigh the same. Rows without a label
        keep theirs.
    sample_weight, eval_set :
        As for the student's `fit`.

    Raises
    ------
    TypeError
        If the student cannot learn from a teacher, or the teacher is no model.
    ValueError
        If the teacher's outputs do not fit X or the labels, or an option does not go with the student.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.distill import distill
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> def teacher(X):
    ...     return np.column_stack([-3 * X[:, 0], 3 * X[:, 0]])
    >>> student = distill(teacher, MLPClassifier(hidden=(8,), learning_rate=0.01, random_state=0), X)
    >>> student.score(X, (X[:, 0] > 0).astype(int)) > 0.97
    True
    """
    known = X if teacher_X is None else teacher_X
    if isinstance(student, MLPRegressor):
        for name, changed in (
            ("temperature", callable(temperature) or temperature != TEMPERATURE),
            ("scale_t2", not scale_t2),
            ("class_weight", class_weight is not None),
            ("outputs", outputs != "auto"),
        ):
            if changed:
                raise ValueError(f"{name} is for classifiers; a regressor learns from values")
        values = values_of(teacher, known, teacher_weights)
        return _distill_values(student, X, y, values, real("kd_weight", kd_weight, low=0.0, high=1.0), sample_weight,
                               eval_set)  # fmt: skip
    parameters = student.get_params() if hasattr(student, "get_params") else {}
    if not hasattr(student, "fit") or "kd_weight" not in parameters or "temperature" not in parameters:
        raise TypeError(
            "the student must be a classifier of fastkd.models, with temperature and kd_weight, or an MLPRegressor; "
            f"got {type(student).__name__}"
        )
    judged = eval_set if teacher_X is None else None  # a teacher of other features cannot be asked of X_val
    if judged is None and isinstance(teacher_weights, str) and teacher_X is not None:
        raise ValueError("teacher_weights='validation' cannot ask teachers of eval_set when they take another X")
    said = ask(teacher, known, outputs, teacher_weights, judged)
    weights = class_weights(class_weight, y, len(said.logits), sample_weight)
    student.set_params(temperature=temperature, kd_weight=kd_weight)
    arguments = {"sample_weight": weights, "eval_set": eval_set, "classes": said.classes}
    if scale_t2:
        return student.fit(X, y, teacher_logits=said.logits, **arguments)
    return _fit_unscaled(student, X, y, said.logits, arguments)


def _fit_unscaled(student: Any, X: Any, y: Any, logits: np.ndarray, arguments: dict[str, Any]) -> Any:
    """Minimize w KL + (1 - w) CE: up to a factor c the usual loss with another weight v, w : 1-w = v T^2 : 1-v."""
    if callable(student.temperature):
        raise ValueError("scale_t2=False needs a fixed temperature; got a schedule")
    T2 = checked_temperature(student.temperature) ** 2
    w = real("kd_weight", student.kd_weight, low=0.0, high=1.0) if y is not None else 1.0
    factor = (w + (1.0 - w) * T2) / T2  # w KL + (1 - w) CE = factor * (v T^2 KL + (1 - v) CE)
    own = {name: getattr(student, name) for name in ("kd_weight", "learning_rate", "l2")}
    changed = {"kd_weight": w / (w + (1.0 - w) * T2), "l2": student.l2 / factor}
    if student.optimizer == "sgd":  # Adam's step does not depend on the size of the loss
        changed["learning_rate"] = student.learning_rate * factor
    try:
        student.set_params(**changed).fit(X, y, teacher_logits=logits, **arguments)
    finally:
        student.set_params(**own)
    for name in ("loss", "learning_rate"):
        unit = factor if name == "loss" else own["learning_rate"] / changed.get("learning_rate", own["learning_rate"])
        student.history_[name][:] = [unit * value for value in student.history_[name]]
    return student


def _distill_values(
    student: MLPRegressor, X: Any, y: Any, values: np.ndarray, kd_weight: float, sample_weight: Any, eval_set: Any
) -> MLPRegressor:
    if y is None or kd_weight == 1.0:
        return student.fit(X, values, sample_weight=sample_weight, eval_set=eval_set)
    labels = np.asarray(y, np.float64)
    if labels.shape != values.shape:
        raise ValueError(f"the teacher's values must have the shape of y, {labels.shape}; got {values.shape}")
    known = ~np.isnan(labels.reshape(len(labels), -1)).any(axis=1)
    if known.all() and student.loss == "squared":  # the same minimum, gradient and all, from one target
        return student.fit(X, kd_weight * values + (1.0 - kd_weight) * labels, sample_weight=sample_weight,
                           eval_set=eval_set)  # fmt: skip
    rows = np.asarray(X)
    given = check_weights(sample_weight, len(rows))
    weights = np.ones(len(rows)) if given is None else given
    # Each row twice, with either target; side by side, so that rows held out at the end are the latest.
    order = np.argsort(np.concatenate([np.arange(len(rows)), np.flatnonzero(known)]), kind="stable")
    twice = [
        (rows, rows[known]),
        (values, labels[known]),
        (kd_weight * weights, (1.0 - kd_weight) * weights[known]),
    ]
    X2, y2, w2 = (np.concatenate(pair)[order] for pair in twice)
    student.fit(X2, y2, sample_weight=w2, eval_set=eval_set)
    if (names := feature_names(X)) is not None:  # `rows` has none
        student.feature_names_in_ = names
    return student


def class_weights(class_weight: Any, y: Any, n: int, sample_weight: Any) -> Any:
    """Sample weights times the weight of each row's class."""
    if class_weight is None:
        return sample_weight
    if y is None:
        raise ValueError("class_weight needs labels; got y=None")
    labels = check_labels(y, n)
    found, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    known = found != UNLABELLED if found.dtype.kind in "if" else np.ones(len(found), bool)
    factors = np.ones(len(found))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced'; got {class_weight!r}")
        factors[known] = counts[known].sum() / (known.sum() * counts[known])
    else:
        stray = set(class_weight) - set(found.tolist())
        if stray:
            raise ValueError(f"class_weight names classes that y does not show: {sorted(map(str, stray))}")
        factors = np.array([float(class_weight.get(label, 1.0)) for label in found.tolist()])
    weights = check_weights(sample_weight, n)
    return factors[codes] if weights is None else weights * factors[codes]
