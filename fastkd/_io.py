"""Model files: safetensors with JSON metadata. Nothing in them is code, and nothing is unpickled.

The header's metadata holds three strings: `format` ("fastkd-model/1"), `fastkd` (JSON: class, hyper-parameters,
network, classes, feature names) and `sha256`, a digest of that JSON and of all tensors. The digest tells a damaged or
edited file; it is no signature, and does not tell who wrote the file. The tensors are `layers.<k>.weight`
(n_in, n_out), `layers.<k>.bias` and, with a scaler, `scaler.mean` and `scaler.scale`. Networks over windows also have
`body.<k>.weight`, of an LSTM (n_in + units, 4 units), of a CNN (kernel_size, n_in, n_out), and `body.<k>.bias`.
"""

import hashlib
import json
import math
import os
import secrets
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

FORMAT = "fastkd-model"
VERSION = 1


class ModelFileError(ValueError):
    """The file is not a model file, is damaged, or was edited."""


def save(model: Any, path: Any) -> None:
    """Write a fitted model to a file that `load` reads.

    The file appears whole or not at all. Kept are class, hyper-parameters, weights, classes, feature names and scaler.
    Left out are the state of the optimizer, the training history, and hyper-parameters that are functions or
    generators (a `TemperatureSchedule` is kept); in the loaded model those have their defaults.

    Raises
    ------
    TypeError
        If the model is none of this package.
    ValueError
        If it has no weights yet.
    """
    if type(model) is not _model_classes().get(type(model).__name__):
        raise TypeError(f"save takes the models of fastkd.models; got {type(model).__name__}")
    model._check_fitted()
    from safetensors.numpy import save as to_bytes

    header = {
        "class": type(model).__name__,
        "hyper_parameters": _encode_hyper_parameters(model),
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
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    metadata = {"format": f"{FORMAT}/{VERSION}", "fastkd": text, "sha256": _digest(text, tensors)}
    data = to_bytes({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata=metadata)
    _write_whole(os.fspath(path), data)


def load(path: Any) -> Any:
    """Read a model file written by `save`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModelFileError
        A ValueError: the file is truncated, damaged, edited, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb"):  # an OSError for what cannot be read, before anything looks into it
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            header = _read_header(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ModelFileError(f"{path} is not a safetensors file, or is truncated: {error}") from error
    if metadata.get("sha256") != _digest(metadata["fastkd"], tensors):
        raise ModelFileError(f"{path}: the SHA-256 of its contents is not the one in it; the file is damaged or edited")
    try:
        return _build(header, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ModelFileError(f"{path} does not describe a model: {type(error).__name__}: {error}") from error


def _model_classes() -> dict[str, Any]:
    from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor

    return {c.__name__: c for c in (CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor)}


def _read_header(path: str, metadata: dict[str, str]) -> dict[str, Any]:
    name, _, version = metadata.get("format", "").partition("/")
    if name != FORMAT or "fastkd" not in metadata:
        raise ModelFileError(f"{path} is a safetensors file without the metadata of a fastkd model")
    if version != str(VERSION):
        raise ModelFileError(f"{path} has format version {version!r}; this fastkd reads version {VERSION}")
    try:
        header = json.loads(metadata["fastkd"])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its metadata are not JSON: {error}") from error
    known = sorted(_model_classes())
    if not isinstance(header, dict) or header.get("class") not in known:
        found = header.get("class") if isinstance(header, dict) else header
        raise ModelFileError(f"{path} is of the unknown class {found!r}; known are {known}")
    return header


def _build(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
    """The model that header and tensors describe; a ValueError and its like if they do not fit each other."""
    from fastkd.models._base import LinearScaler

    sizes = [int(size) for size in header["sizes"]]
    body = header.get("body")  # files of the first version have none
    shapes = _tensor_shapes(sizes, body)
    parameters = np.concatenate([part.ravel() for part in _checked_layers(shapes, header["dtype"], tensors)])
    settings = _decode_hyper_parameters(header["hyper_parameters"])
    model = _model_classes()[header["class"]](**settings)
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
        model.scaler = LinearScaler(tensors["scaler.mean"], tensors["scaler.scale"])
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


def _encode_hyper_parameters(model: Any) -> dict[str, Any]:
    from fastkd.distill.schedules import TemperatureSchedule

    encoded: dict[str, Any] = {}
    for name, value in model.get_params().items():
        if name == "dtype":
            value = np.dtype(value).name
        elif isinstance(value, TemperatureSchedule):
            value = {"TemperatureSchedule": asdict(value)}
        elif isinstance(value, np.generic):
            value = value.item()
        elif name in ("hidden", "channels"):
            value = [int(width) for width in value]
        elif callable(value) or isinstance(value, (np.random.Generator, np.random.RandomState)):
            continue
        encoded[name] = value
    return encoded


def _decode_hyper_parameters(encoded: dict[str, Any]) -> dict[str, Any]:
    from fastkd.distill.schedules import TemperatureSchedule

    decoded = {}
    for name, value in encoded.items():
        if isinstance(value, dict):
            value = TemperatureSchedule(**value["TemperatureSchedule"])
        decoded[name] = tuple(value) if isinstance(value, list) else value
    return decoded


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


def _digest(text: str, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _write_whole(path: str, data: bytes) -> None:
    """Write beside the target and rename, so that no reader and no crash sees half a file."""
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
