"""Distillation from a finished teacher into a student."""

from typing import Any

from fastkd.models.adapters import as_model


def distill(
    teacher: Any,
    student: Any,
    X: Any,
    y: Any = None,
    *,
    temperature: Any = 3.0,
    kd_weight: float = 0.7,
    sample_weight: Any = None,
    eval_set: Any = None,
) -> Any:
    """Train `student` on the softened outputs of `teacher`, and on labels where there are any; returns the student.

    The loss of a row is kd_weight * T^2 * KL(teacher^T || student^T) + (1 - kd_weight) * CE(y, student) (Hinton,
    Vinyals and Dean 2015). Softening by T divides the gradient of the soft term by about T^2; the factor T^2
    makes up for it, so `kd_weight` need not be tuned anew when T changes.

    Parameters
    ----------
    teacher : model, callable or (n, n_classes) array
        Anything that `fastkd.models.as_model` takes (callables return logits), or the teacher's logits of X. If it has
        `classes_`, they become the student's.
    student : estimator
        A classifier of `fastkd.models`. Its hyper-parameters `temperature` and `kd_weight` are set to those given here.
    X : (n, n_features)
        Passed as it is to the teacher and to the student.
    y : (n,), optional
        Labels; -1 marks rows without one, which learn from the teacher alone.
    temperature : float or callable
        > 0; or a schedule, epoch -> temperature, such as `TemperatureSchedule`.
    kd_weight : float
        Weight of the teacher, in [0, 1].
    sample_weight, eval_set :
        As for the student's `fit`.

    Raises
    ------
    TypeError
        If the student cannot learn from a teacher, or the teacher is no model.
    ValueError
        If the teacher's outputs do not fit X or the labels.

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
    parameters = student.get_params() if hasattr(student, "get_params") else {}
    if not hasattr(student, "fit") or "kd_weight" not in parameters or "temperature" not in parameters:
        raise TypeError(
            "the student must be a classifier of fastkd.models, with temperature and kd_weight; "
            f"got {type(student).__name__}"
        )
    classes = None
    if hasattr(teacher, "__array__") or isinstance(teacher, (list, tuple)):
        logits = teacher
    else:
        model = as_model(teacher)
        logits = model.predict_logits(X)
        classes = getattr(model, "classes_", None)
    student.set_params(temperature=temperature, kd_weight=kd_weight)
    return student.fit(X, y, teacher_logits=logits, sample_weight=sample_weight, eval_set=eval_set, classes=classes)
