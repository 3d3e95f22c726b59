"""Checks of hyper-parameters, made when they are used (scikit-learn's convention), not when they are set."""

import math
import numbers
from typing import Any

import numpy as np

ACTIVATIONS = ("relu", "tanh", "gelu", "identity")
OPTIMIZERS = ("adam", "sgd")
LR_SCHEDULES = ("constant", "cosine", "step")
DTYPES = ("float32", "float64")


def check_training(model: Any) -> None:
    """Raise a ValueError that names the first hyper-parameter out of its domain."""
    one_of(model, "activation", ACTIVATIONS)
    one_of(model, "optimizer", OPTIMIZERS)
    if not callable(model.lr_schedule):
        one_of(model, "lr_schedule", LR_SCHEDULES)
    checked_dtype(model.dtype)
    checked_hidden(model.hidden)
    for name in ("batch_size", "epochs", "patience", "n_init"):
        integer(name, getattr(model, name), low=1)
    if model.n_iter_no_change is not None:
        integer("n_iter_no_change", model.n_iter_no_change, low=1)
    if model.workers != -1:
        integer("workers", model.workers, low=1, hint=", or -1 for all cores")
    real("learning_rate", model.learning_rate, low=0.0, low_open=True)
    real("l2", model.l2, low=0.0)
    real("tol", model.tol, low=0.0)
    real("momentum", model.momentum, low=0.0, high=1.0, high_open=True)
    real("validation_fraction", model.validation_fraction, low=0.0, high=1.0, low_open=True, high_open=True)


def checked_dtype(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if dtype is None or found is None or found.name not in DTYPES or not found.isnative:
        raise ValueError(f"dtype must be one of {DTYPES}; got {dtype!r}")
    return found


def checked_hidden(hidden: Any) -> tuple[int, ...]:
    return checked_widths("hidden", hidden)


def checked_widths(name: str, widths: Any) -> tuple[int, ...]:
    if isinstance(widths, (str, bytes)) or not hasattr(widths, "__len__"):
        raise ValueError(f"{name} must be a tuple of layer widths such as (32, 16); got {widths!r}")
    for width in widths:
        integer(f"each width in {name}", width, low=1)
    return tuple(int(width) for width in widths)


def one_of(model: Any, name: str, allowed: tuple[str, ...]) -> None:
    value = getattr(model, name)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}; got {value!r}")


def integer(name: str, value: Any, *, low: int, hint: str = "") -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}{hint}; got {value!r}")


def real(
    name: str,
    value: Any,
    *,
    low: float,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """`value` as a float in the interval; infinity is never in it."""
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not ok or not (low < value if low_open else low <= value) or not (value < high if high_open else value <= high):
        end = ")" if high_open or math.isinf(high) else "]"
        raise ValueError(f"{name} must be a number in {'(' if low_open else '['}{low:g}, {high:g}{end}; got {value!r}")
    return float(value)


def checked_temperature(temperature: Any, epoch: int = 0) -> float:
    """A temperature, or that of a schedule in an epoch: finite and > 0."""
    if callable(temperature):
        return real(f"temperature({epoch})", temperature(epoch), low=0.0, low_open=True)
    return real("temperature", temperature, low=0.0, low_open=True)
