"""How a forecaster learns: its teachers, then its student."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastkd.distill import distill
from fastkd.distill.teachers import Said, ask, teachers_in
from fastkd.forecast.labels import Return
from fastkd.forecast.parts import Rows, span_text
from fastkd.models import MLPClassifier, MLPRegressor
from fastkd.models._base import Estimator
from fastkd.models.adapters import MIN_PROBABILITY

if TYPE_CHECKING:
    from fastkd.forecast.forecaster import Forecaster

__all__ = [
    "Learned",
    "LeftOut",
    "check_teachers",
    "default_student",
    "default_teacher",
    "learn",
    "network_for",
    "require_settings",
    "spans_of_teachers",
]


@dataclass(frozen=True)
class LeftOut:
    """What stands in a loaded forecaster for a setting that its file could not hold."""

    what: str

    def __repr__(self) -> str:
        return f"<left out of the file: {self.what}>"


@dataclass(frozen=True, eq=False)
class Learned:
    """What training gives: the models, and of returns the best constant of the training part."""

    student: Any
    teacher: Any
    constant: float


def default_student(labels: Any) -> Any:
    """32 and 16 hidden units: a forecast well below a microsecond."""
    return network_for(labels, hidden=(32, 16), learning_rate=3e-3, batch_size=128, epochs=20)


def default_teacher(labels: Any) -> Any:
    """128 and 64 hidden units, held back by weight decay: candles hold little signal to fit."""
    return network_for(labels, hidden=(128, 64), learning_rate=1e-3, batch_size=128, epochs=10, l2=2e-3)


def network_for(labels: Any, **settings: Any) -> Any:
    """The perceptron that such labels need."""
    if not isinstance(labels, Return):
        return MLPClassifier(**settings)
    if labels.quantile is None:
        return MLPRegressor(**settings)
    return MLPRegressor(loss="quantile", quantile=labels.quantile, **settings)


def learn(forecaster: Forecaster, rows: Rows, say: Callable[[str], None]) -> Learned:
    """Train teachers and student on rows; the forecaster stays as it is."""
    require_settings(forecaster)
    labels = forecaster.labels
    student = prepared(forecaster, default_student(labels) if forecaster.student is None else forecaster.student)
    wanted = MLPRegressor if isinstance(labels, Return) else MLPClassifier
    if not isinstance(student, wanted):
        found = type(student).__name__
        raise TypeError(f"the student of {labels} must be an {wanted.__name__}; got {found}")
    constant = 0.0
    if isinstance(labels, Return):
        constant = float(rows.y.mean() if labels.quantile is None else np.quantile(rows.y, labels.quantile))
    teacher = None
    if forecaster.kd_weight != 0.0:
        teacher = taught(forecaster, rows, say)
    say(f"student, {student.hidden} hidden units")
    if teacher is None:
        more = {} if isinstance(labels, Return) else {"classes": np.arange(len(labels.names))}
        student.fit(rows.X, rows.y, **more)
    elif isinstance(labels, Return):
        weights = forecaster.teacher_weights
        distill(teacher, student, rows.X, rows.y, kd_weight=forecaster.kd_weight, teacher_weights=weights)
    else:
        said = ask(teacher, rows.X, weights=forecaster.teacher_weights)
        distill(
            all_classes(said, len(labels.names)),
            student,
            rows.X,
            rows.y,
            outputs="logits",
            temperature=forecaster.temperature,
            kd_weight=forecaster.kd_weight,
        )
    student.feature_names_in_ = np.array(forecaster.features.names, object)
    return Learned(student, teacher, constant)


def taught(forecaster: Forecaster, rows: Rows, say: Callable[[str], None]) -> Any:
    """The teacher or teachers, trained if they are not yet."""
    given = default_teacher(forecaster.labels) if forecaster.teacher is None else forecaster.teacher
    several = teachers_in(given)
    ready = []
    for teacher in [given] if several is None else several:
        if type(teacher) is type(forecaster):
            ready.append(student_of(teacher, forecaster))
        elif hasattr(teacher, "fit") and not is_fitted(teacher):
            say(f"teacher, {type(teacher).__name__}")
            learner = prepared(forecaster, teacher)
            ready.append(learner.fit(rows.X, rows.y) or learner)
        else:
            ready.append(teacher)
    return ready[0] if several is None else ready


def require_settings(forecaster: Forecaster) -> None:
    """Raise if training anew needs what the file of a loaded forecaster could not hold."""
    needed = ["student", "random_state", "kd_weight"]
    if forecaster.kd_weight != 0.0:
        needed += ["teacher"] if isinstance(forecaster.labels, Return) else ["teacher", "temperature"]
    for name in needed:
        if isinstance(value := getattr(forecaster, name), LeftOut):
            raise ValueError(
                f"the file of this forecaster could not hold its {name}, {value.what}: set .{name} before it is "
                "trained anew" + (" (None: the default one)" if name == "teacher" else "")
            )


def check_teachers(
    forecaster: Forecaster, test_span: tuple[int, int], interval: str, symbols: tuple[str | None, ...]
) -> None:
    """Raise if a forecaster that teaches is of another market, or knows the answers of the part that judges."""
    for one in forecasters_in(forecaster):
        if one.interval != interval:
            raise ValueError(f"the teacher was trained on candles of {one.interval}; these are of {interval}")
        if isinstance(one.symbol, str) and len(symbols) == 1 and symbols[0] not in (None, one.symbol):
            raise ValueError(
                f"the teacher was trained on {one.symbol}; these candles are of {symbols[0]}. To learn from it "
                "nevertheless, give its model: teacher.student_"
            )
    for span in spans_of_teachers(forecaster):
        if span[1] >= test_span[0] and span[0] <= test_span[1]:
            raise ValueError(
                f"the teacher was trained on {span_text(span)}; the part that is to judge the student is "
                f"{span_text(test_span)}. Give a teacher of earlier dates, or one that is not fitted"
            )


def forecasters_in(forecaster: Forecaster) -> list[Forecaster]:
    """The finished forecasters among its teachers."""
    teacher = forecaster.teacher if forecaster.kd_weight != 0.0 else None
    return [one for one in teachers_in(teacher) or [teacher] if type(one) is type(forecaster) and is_fitted(one)]


def spans_of_teachers(forecaster: Forecaster) -> tuple[tuple[int, int], ...]:
    """The dates that the forecasters among its teachers, and theirs, were trained on."""
    spans = [span for one in forecasters_in(forecaster) for span in (one.trained_span, *one.teacher_spans)]
    return tuple(dict.fromkeys(spans))


def prepared(forecaster: Forecaster, model: Any) -> Any:
    """A copy of an unfitted estimator; networks of this package get scale and seed where they have none."""
    twin = copy.deepcopy(model)
    if isinstance(twin, Estimator):
        own = twin.get_params()
        if "scale" in own and own["scale"] is None and twin.scaler is None:
            twin.set_params(scale=forecaster.scale)
    if hasattr(twin, "get_params") and twin.get_params().get("random_state", 0) is None:
        twin.set_params(random_state=forecaster.random_state)
    return twin


def student_of(teacher: Forecaster, pupil: Forecaster) -> Any:
    """The model of a finished forecaster that teaches another."""
    teacher._require_fitted()
    if teacher.features.to_dict() != pupil.features.to_dict() or teacher.labels != pupil.labels:
        raise ValueError(
            f"a forecaster teaches one of the same features and labels: it has {teacher.features!r} and "
            f"{teacher.labels}, the pupil {pupil.features!r} and {pupil.labels}"
        )
    return teacher.student_


def is_fitted(model: Any) -> bool:
    if hasattr(model, "__sklearn_is_fitted__"):
        return bool(model.__sklearn_is_fitted__())
    return any(name.endswith("_") and not name.startswith("_") for name in vars(model))


def all_classes(said: Said, n_classes: int) -> NDArray[Any]:
    """Logits with a column for each class, next to no probability for those that the teacher has not seen."""
    if said.classes is None or np.array_equal(said.classes, np.arange(n_classes)):
        if said.logits.shape[1] != n_classes:
            raise ValueError(f"the teacher gives {said.logits.shape[1]} classes; the labels have {n_classes}")
        return said.logits
    if not np.isin(said.classes, np.arange(n_classes)).all():
        raise ValueError(f"the teacher knows classes {said.classes.tolist()}; the labels are 0 .. {n_classes - 1}")
    full = np.full((len(said.logits), n_classes), np.log(MIN_PROBABILITY))
    full[:, said.classes.astype(np.int64)] = said.logits - said.logits.max(axis=1, keepdims=True)
    return full
