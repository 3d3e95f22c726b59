"""How the networks of this package are written to model files and read again; see `fastkd._io`.

The header says class, hyper-parameters, network, classes and feature names. The tensors are `layers.<k>.weight`
(n_in, n_out), `layers.<k>.bias` and, with a scaler, `scaler.mean` and `scaler.scale`. Networks over windows also have
`body.<k>.weight`, of an LSTM (n_in + units, 4 units), of a CNN (kernel_size, n_in, n_out), and `body.<k>.bias`.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._io import decode_value, encode_value, register
from fastkd.models._base import LinearScaler
from fastkd.models.classifier import MLPClassifier
from fastkd.models.cnn import CNNClassifier
from fastkd.models.lstm import LSTMClassifier
from fastkd.models.regressor import MLPRegressor

KINDS: dict[str, Any] = {c.__name__: c for c in (CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor)}


def encode_model(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and tensors of a fitted model; a ValueError if it has no weights."""
    model._check_fitted()
    header = {
        "hyper_parameters": encode_settings(model),
        "sizes": list(model._kernel.sizes),
        "activation": model._kernel.activation,
        "body": _body(model._kernel),
        "dtype": np.dtype(model._kernel.dtype).name,
        "feature_names": list(model.feature_names_in_) if hasattr(model, "feature_names_in_") else None,
        "classes": _encode_classes(model.classes_) if hasattr(model, "classes_") else None,
        "single_output": getattr(model, "_single_output", None),
    }
    tensors = _layer_tensors(model.parameters, _tensor_shapes(header["sizes"], header["body"]))
    if model.scaler is not None:
        tensors |= {"scaler.mean": model.scaler.mean_, "scaler.scale": model.scaler.scale_}
    return header, tensors


def encode_settings(model: Any) -> dict[str, Any]:
    """The hyper-parameters that JSON can hold; functions and generators are left out."""
    encoded: dict[str, Any] = {}
    for name, value in model.get_params(deep=False).items():
        if name == "dtype":
            encoded[name] = np.dtype(value).name
        elif not isinstance(value, (np.random.Generator, np.random.RandomState)):
            try:
                encoded[name] = encode_value(value)
            except TypeError:
                if not callable(value):
                    raise
    return encoded


def decode_model(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
    """The model that header and tensors describe; a ValueError and its like if they do not fit each other."""
    sizes = [int(size) for size in header["sizes"]]
    body = header.get("body")  # files of the first version have none
    shapes = _tensor_shapes(sizes, body)
    parameters = np.concatenate([part.ravel() for part in _checked_layers(shapes, header["dtype"], tensors)])
    settings = {name: decode_value(value) for name, value in header["hyper_parameters"].items()}
    model = KINDS[header["class"]](**settings)
    if (header["classes"] is None) == hasattr(model, "predict_proba"):
        raise ValueError(f"a {header['class']} with{'out' if header['classes'] is None else ''} classes")
    network = {"hidden": tuple(sizes[1:-1]), "activation": header["activation"], "dtype": header["dtype"]}
    n_features = sizes[0]
    inputs: Any = n_features
    if body is not None:
        network |= _body_settings(body)
        n_features = int(body["widths"][0])
        inputs = (int(body["steps"]), n_features)
    # The network may differ from the present hyper-parameters, which are for the next fit.
    model.set_params(**network).initialize(inputs, sizes[-1])
    if _body(model._kernel) != body:
        raise ValueError(f"{header['class']} has no body like {body}")
    model.set_params(**{name: settings[name] for name in network if name in settings})
    model.parameters = parameters
    if header["feature_names"] is not None:
        if len(header["feature_names"]) != n_features:
            raise ValueError(f"{len(header['feature_names'])} feature names for {n_features} features")
        model.feature_names_in_ = np.array([str(name) for name in header["feature_names"]], object)
    if header["classes"] is not None:
        model.classes_ = _decode_classes(header["classes"])
        if len(model.classes_) != sizes[-1]:
            raise ValueError(f"{len(model.classes_)} classes for {sizes[-1]} outputs")
    if header["single_output"] is not None:
        model._single_output = bool(header["single_output"])
    if "scaler.mean" in tensors:
        model.scaler = LinearScaler(tensors["scaler.mean"], tensors["scaler.scale"])  # checks it
        model._keep_scaler(model.scaler, model.scale)
    return model


def _body(kernel: Any) -> dict[str, Any] | None:
    """What comes before the dense layers; None for a perceptron."""
    if not hasattr(kernel, "widths"):
        return None
    kind = {"kind": kernel.kind, "pooling": kernel.pooling, "kernel_size": kernel.kernel_size}
    return kind | {"steps": kernel.input_shape[0], "widths": list(kernel.widths)}


def _body_settings(body: dict[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of that body."""
    layers = tuple(int(width) for width in body["widths"][1:])
    if body["kind"] == "lstm":
        return {"pooling": body["pooling"], "units": layers[0], "layers": len(layers)}
    return {"pooling": body["pooling"], "channels": layers, "kernel_size": body["kernel_size"]}


def _tensor_shapes(sizes: list[int], body: dict[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in the order of the flat parameters."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes {sizes} are not those of a network")
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (n_in, n_out) in enumerate(pairwise(body["widths"] if body else ())):
        if body is not None and body["kind"] == "lstm":
            shapes |= {f"body.{k}.weight": (n_in + n_out, 4 * n_out), f"body.{k}.bias": (4 * n_out,)}
        elif body is not None:
            shapes |= {f"body.{k}.weight": (body["kernel_size"], n_in, n_out), f"body.{k}.bias": (n_out,)}
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        shapes |= {f"layers.{k}.weight": (n_in, n_out), f"layers.{k}.bias": (n_out,)}
    return shapes


def _layer_tensors(parameters: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    tensors, at = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        tensors[name] = parameters[at : at + size].reshape(shape)
        at += size
    return tensors


def _checked_layers(shapes: dict[str, tuple[int, ...]], dtype: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    extra = set(tensors) - set(shapes)
    if extra and extra != {"scaler.mean", "scaler.scale"}:
        raise ValueError(f"unexpected tensors {sorted(extra)}")
    for name, shape in shapes.items():
        if name not in tensors:
            raise ValueError(f"the tensor {name} is missing")
        if tensors[name].shape != shape or tensors[name].dtype.name != dtype:
            found = f"{tensors[name].shape} {tensors[name].dtype}"
            raise ValueError(f"the tensor {name} should be {shape} {dtype}; it is {found}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"the tensor {name} holds NaN or infinity")
    return [tensors[name] for name in shapes]


def _encode_classes(classes: np.ndarray) -> dict[str, Any]:
    if classes.dtype.kind not in "biufU":
        raise TypeError(f"classes of dtype {classes.dtype} cannot be saved; use integers or strings")
    return {"dtype": classes.dtype.str, "values": classes.tolist()}


def _decode_classes(encoded: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(str(encoded["dtype"]))
    if dtype.kind not in "biufU":
        raise ValueError(f"classes of dtype {dtype}")
    classes = np.array(encoded["values"], "U" if dtype.kind == "U" else dtype)  # text is as long as it is, not as said
    if classes.ndim != 1 or not np.array_equal(np.unique(classes), classes):
        raise ValueError("classes must be a list of different labels in ascending order, without NaN")
    return classes


for _kind in KINDS.values():
    register(_kind, encode_model, decode_model)
