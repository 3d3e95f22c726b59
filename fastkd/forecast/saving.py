"""How a forecaster is written to a file and checked when it is read; see `fastkd._io`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd import _io
from fastkd.features import FeatureSet
from fastkd.forecast.forecaster import Forecaster
from fastkd.forecast.labels import Labels, Return
from fastkd.forecast.learning import LeftOut
from fastkd.market.times import normalize_interval
from fastkd.models import MLPClassifier, MLPRegressor
from fastkd.models._saving import KINDS, encode_settings

PREFIX = "student/"


def encode(forecaster: Forecaster) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    forecaster._require_fitted()
    student, tensors = _io.encode(forecaster.student_)
    header = {
        "student": student,
        "features": forecaster.features.to_dict(),
        "feature_names": list(forecaster.feature_names_),
        "labels": _io.encode_value(forecaster.labels),
        "class_names": list(forecaster.labels.names),
        "symbol": list(forecaster.symbol) if isinstance(forecaster.symbol, tuple) else forecaster.symbol,
        "category": forecaster.category,
        "interval": forecaster.interval,
        "trained_span": list(forecaster.trained_span),
        "teacher_spans": list(map(list, forecaster.teacher_spans)),
        "test_span": list(forecaster.test_span),
        "purge": forecaster.labels.horizon,
        "version": forecaster.version_,
        "metrics": forecaster.metrics_,
        "constant": forecaster._constant,
        "settings": _settings(forecaster),
    }
    return header, {PREFIX + name: tensor for name, tensor in tensors.items()}


def decode(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Forecaster:
    features = FeatureSet.from_dict(header["features"])
    if list(features.names) != header["feature_names"]:
        raise ValueError(
            f"the file's features are {header['feature_names']}; here {features!r} gives {list(features.names)}"
        )
    labels = _io.decode_value(header["labels"])
    if not isinstance(labels, Labels) or list(labels.names) != header["class_names"]:
        raise ValueError(f"classes {header['class_names']} are not those of {labels}")
    if stray := [name for name in tensors if not name.startswith(PREFIX)]:
        raise ValueError(f"unexpected tensors {stray}")
    student = _io.decode(header["student"], {name[len(PREFIX) :]: t for name, t in tensors.items()})
    _check_student(student, labels, header["feature_names"])
    forecaster = Forecaster(features, labels, **_unpacked(header["settings"]))
    forecaster.student_, forecaster.teacher_, forecaster.report_ = student, None, None
    forecaster._constant = float(header["constant"])
    if labels.names:
        forecaster.classes_ = np.arange(len(labels.names))
    forecaster.feature_names_ = tuple(features.names)
    forecaster.interval = normalize_interval(header["interval"])
    symbol = header["symbol"]
    forecaster.symbol = tuple(symbol) if isinstance(symbol, list) else symbol
    forecaster.category = header["category"]
    forecaster.trained_span, forecaster.test_span = _span(header["trained_span"]), _span(header["test_span"])
    forecaster.teacher_spans = tuple(map(_span, header.get("teacher_spans", ())))
    if header["purge"] != labels.horizon:
        raise ValueError(f"a purge of {header['purge']} rows does not fit {labels}")
    forecaster.version_, forecaster.metrics_ = str(header["version"]), dict(header["metrics"])
    return forecaster


def _check_student(student: Any, labels: Labels, names: list[str]) -> None:
    wanted: Any = MLPRegressor if isinstance(labels, Return) else MLPClassifier
    if not isinstance(student, wanted):
        raise ValueError(f"{labels} needs an {wanted.__name__}; the file holds an {type(student).__name__}")
    if list(getattr(student, "feature_names_in_", ())) != names:
        raise ValueError("the student's features are not those of the recipe")
    if labels.names and not np.array_equal(student.classes_, np.arange(len(labels.names))):
        raise ValueError(f"the student's classes {student.classes_.tolist()} are not 0 .. {len(labels.names) - 1}")
    student._scaler_to_use()


def _settings(forecaster: Forecaster) -> dict[str, Any]:
    """Hyper-parameters, for `clone`; teachers and students that are estimators of this package by their settings.

    What a file cannot hold is named under "left_out".
    """
    found: dict[str, Any] = {"scale": forecaster.scale}
    left_out: dict[str, str] = {}
    for name in ("temperature", "kd_weight", "random_state"):
        try:
            found[name] = _io.encode_value(getattr(forecaster, name))
        except TypeError:  # a function or a generator
            left_out[name] = _description(getattr(forecaster, name))
    for name in ("student", "teacher"):
        model = getattr(forecaster, name)
        if type(model) is KINDS.get(type(model).__name__) and not model.__sklearn_is_fitted__():
            found[name] = {"class": type(model).__name__, "hyper_parameters": encode_settings(model)}
        elif model is not None:
            left_out[name] = _description(model)
    if forecaster.teacher_weights is not None and "teacher" not in left_out:
        found["teacher_weights"] = _io.encode_value(forecaster.teacher_weights)
    return {**found, "left_out": left_out} if left_out else found


def _description(value: Any) -> str:
    if isinstance(value, LeftOut):
        return value.what
    if isinstance(value, list | tuple):
        return f"a list of {', '.join(map(_description, value))}"
    return f"a function {value.__name__}" if hasattr(value, "__name__") else f"of the type {type(value).__name__}"


def _unpacked(settings: dict[str, Any]) -> dict[str, Any]:
    apart = ("student", "teacher", "left_out")
    found = {name: _io.decode_value(v) for name, v in settings.items() if name not in apart}
    found |= {name: LeftOut(str(what)) for name, what in settings.get("left_out", {}).items()}
    for name in ("student", "teacher"):
        if name in settings:
            parameters = settings[name]["hyper_parameters"]
            found[name] = KINDS[settings[name]["class"]](**{k: _io.decode_value(v) for k, v in parameters.items()})
    return found


def _span(ends: Any) -> tuple[int, int]:
    first, last = (int(end) for end in ends)
    if first > last:
        raise ValueError(f"a span from {first} to {last}")
    return first, last


_io.register(Forecaster, encode, decode)
