"""as_model: anybody's classifier as an object with predict_logits and predict_proba."""

import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from fastkd._check import plain, to_array
from fastkd.losses import softmax
from fastkd.models._inputs import as_real_array, check_soft_labels
from fastkd.models.boosters import read_booster

# Probabilities are raised to this before their logarithm is taken, so that a 0 gives a finite logit.
MIN_PROBABILITY = 1e-10


class ModelAdapter:
    """Logits and probabilities of a foreign classifier; made by `as_model`.

    Attributes
    ----------
    model : the object that was wrapped
    undeclared : whether it is taken to return logits because nothing said what it returns
    classes_ : only if the wrapped object has it, or is a booster: 0, 1, ...
    """

    def __init__(
        self,
        model: Any,
        logits: Callable[[Any], Any] | None,
        proba: Callable[[Any], Any] | None,
        undeclared: bool = False,
    ):
        self.model = model
        self.undeclared = undeclared
        self._logits = logits
        self._proba = proba
        if (classes := getattr(model, "classes_", None)) is not None:
            self.classes_ = np.asarray(classes)

    def __repr__(self) -> str:
        return f"as_model({self.model!r})"

    def predict_logits(self, X: Any) -> np.ndarray:
        """Logits (n, n_classes); of a model that gives probabilities, log(max(p, 1e-10))."""
        if self._logits is None:
            return np.log(np.maximum(self.predict_proba(X), MIN_PROBABILITY))
        logits = self._checked(self._logits(X), X)
        if np.isnan(logits).any() or np.isposinf(logits).any():
            raise ValueError(f"{self._name()} returned logits with NaN or +inf")
        return logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, n_classes); of a model that gives logits, their softmax."""
        if self._proba is None:
            return softmax(self.predict_logits(X))
        proba = self._checked(self._proba(X), X)
        return check_soft_labels(proba, len(proba), proba.dtype, f"probabilities from {self._name()}")

    def _name(self) -> str:
        return type(self.model).__name__

    def _checked(self, returned: Any, X: Any) -> np.ndarray:
        array = as_real_array(returned, f"the output of {self._name()}")
        n = len(X) if hasattr(X, "__len__") else len(to_array(X, "X"))
        if array.ndim != 2 or array.shape[0] != n or array.shape[1] == 0:
            raise ValueError(
                f"{self._name()} must return shape ({n}, n_classes), one column for each class; got {array.shape}. "
                "A binary model with one output needs a callable that returns both columns"
            )
        expected = getattr(self, "classes_", None)
        if expected is not None and len(expected) != array.shape[1]:
            raise ValueError(f"{self._name()} has {len(expected)} classes_ and returned {array.shape[1]} columns")
        return array.astype(np.result_type(array.dtype, np.float32), copy=False)


def as_model(model: Any, *, returns: str | None = None, output: str | None = None) -> ModelAdapter:
    """Wrap a classifier so that it has ``predict_logits(X)`` and ``predict_proba(X)``, both (n, n_classes).

    Parameters
    ----------
    model : object
        Tried in this order: a torch ``nn.Module`` (called in eval mode, without gradients, on the device and dtype of
        its weights); an ONNX Runtime session (``get_inputs`` and ``run``); a ``Booster`` of LightGBM or XGBoost with
        an objective for classes; an object with ``predict_logits`` or ``predict_proba`` (this package, scikit-learn,
        the classifiers of LightGBM and XGBoost); any other callable.
    returns : {"logits", "proba"}, optional
        What a torch module, a session or a callable returns; "logits" if not given. Nothing is guessed from the values.
    output : str, optional
        Name of the session's output to use; needed if it has several.

    Raises
    ------
    TypeError
        If the object is none of these, or is a class instead of an instance.
    ValueError
        If `returns` or `output` do not fit the object. The adapter's methods raise it when the wrapped model returns a
        wrong shape, NaN, or probabilities that do not sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import as_model
    >>> rule = as_model(lambda X: np.column_stack([-X[:, 0], X[:, 0]]))
    >>> rule.predict_proba(np.array([[0.0], [100.0]])).round(3)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    if isinstance(model, ModelAdapter) and returns is None and output is None:
        return model
    if isinstance(model, type):
        raise TypeError(f"as_model needs an instance; got the class {model.__name__}")
    if returns not in (None, "logits", "proba"):
        raise ValueError(f'returns must be "logits" or "proba"; got {returns!r}')
    torch = sys.modules.get("torch")
    is_session = hasattr(model, "get_inputs") and hasattr(model, "run")
    if output is not None and not is_session:
        raise ValueError(f"output= names an output of an ONNX Runtime session; got {type(model).__name__}")
    call: Callable[[Any], Any]
    if torch is not None and isinstance(model, torch.nn.Module):
        call = _torch_call(model, torch)
    elif is_session:
        call = _session_call(model, output)
    elif (booster := read_booster(model)) is not None:
        if returns is not None:
            raise ValueError("what a Booster returns is known from its objective; returns= is for callables")
        adapter = ModelAdapter(model, booster.logits, booster.proba)
        adapter.classes_ = np.arange(booster.n_classes)
        return adapter
    elif hasattr(model, "predict_logits") or hasattr(model, "predict_proba"):
        if returns is not None:
            raise ValueError(f"{type(model).__name__} has predict_logits or predict_proba; returns= is for callables")
        return ModelAdapter(model, getattr(model, "predict_logits", None), getattr(model, "predict_proba", None))
    elif callable(model):
        call = model
    else:
        raise TypeError(
            "as_model needs an object with predict_logits or predict_proba, a torch module, an ONNX Runtime session, "
            f"a Booster or a callable; got {type(model).__name__}"
        )
    if returns == "proba":
        return ModelAdapter(model, None, call)
    return ModelAdapter(model, call, None, undeclared=returns is None)


# Whether a torch module trains is its own state: one call at a time, also through several adapters.
_LOCKS: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()


def _torch_call(module: Any, torch: Any) -> Callable[[Any], np.ndarray]:
    lock = _LOCKS.setdefault(module, threading.Lock())

    def call(X: Any) -> np.ndarray:
        weight = next(module.parameters(), None)
        options = {} if weight is None else {"dtype": weight.dtype, "device": weight.device}
        given = as_real_array(X, "X")  # torch knows neither read-only arrays nor other byte orders
        rows = torch.as_tensor(np.array(given, given.dtype.newbyteorder("="), order="C"), **options)
        with lock:
            modes = [(part, part.training) for part in module.modules()]
            module.eval()
            try:
                with torch.no_grad():
                    out = module(rows)
            finally:
                for part, mode in modes:
                    part.training = mode
        if not hasattr(out, "detach"):
            raise TypeError(f"the torch module must return one tensor; got {type(out).__name__}")
        out = out.detach().cpu()
        return (out.double() if out.dtype == torch.float64 else out.float()).numpy()

    return call


def _session_call(session: Any, output: str | None) -> Callable[[Any], Any]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"the session must have one input; it has {[i.name for i in inputs]}")
    names = [o.name for o in session.get_outputs()]
    if output is None and len(names) != 1:
        raise ValueError(f"the session has outputs {names}; say which by output=")
    if output is not None and output not in names:
        raise ValueError(f"the session has no output {output!r}; it has {names}")
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}.get(inputs[0].type)
    if dtype is None:
        raise ValueError(f"the session's input must be tensor(float) or tensor(double); it is {inputs[0].type}")

    def call(X: Any) -> Any:
        rows = plain(as_real_array(X, "X"), dtype)
        return session.run([output or names[0]], {inputs[0].name: rows})[0]

    return call
