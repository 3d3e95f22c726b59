"""Model files: safetensors with JSON metadata. Nothing in them is code, and nothing is unpickled.

The header's metadata holds three strings: `format` ("fastkd-model/1"), `fastkd` (JSON with the class and what it says
of itself) and `sha256`, a digest of that JSON and of all tensors. The digest tells a damaged or edited file; it is no
signature, and does not tell who wrote the file. What a class writes and reads is its own affair: it registers itself
here (`fastkd.models._saving`, `fastkd.forecast.saving`).
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastkd._files import write_whole

FORMAT = "fastkd-model"
VERSION = 1

Tensors = dict[str, np.ndarray]


class ModelFileError(ValueError):
    """The file is not a model file, is damaged, or was edited."""


@dataclass(frozen=True)
class Kind:
    """How the objects of a class are written and read."""

    cls: type
    encode: Callable[[Any], tuple[dict[str, Any], Tensors]]
    decode: Callable[[dict[str, Any], Tensors], Any]


_KINDS: dict[str, Kind] = {}
_VALUES: dict[str, Any] = {}


def register(cls: type, encode: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """Let `save` and `load` take objects of this class.

    `encode(object)` gives a header that JSON can hold and tensors by name; `decode(header, tensors)` makes the object
    again, and raises a ValueError, TypeError, KeyError, AttributeError or IndexError where they do not fit each other.
    """
    _KINDS[cls.__name__] = Kind(cls, encode, decode)


def register_value(cls: type) -> type:
    """Let hyper-parameters hold such a dataclass; returns it, so it can be used as a decorator."""
    _VALUES[cls.__name__] = cls
    return cls


def encode(item: Any) -> tuple[dict[str, Any], Tensors]:
    """Header, with the class, and tensors of an object.

    Raises
    ------
    TypeError
        Its class is not registered.
    """
    kind = _KINDS.get(type(item).__name__)
    if kind is None or type(item) is not kind.cls:
        raise TypeError(f"save takes the models of fastkd.models and a Forecaster; got {type(item).__name__}")
    header, tensors = kind.encode(item)
    return {"class": type(item).__name__, **header}, tensors


def decode(header: Any, tensors: Tensors) -> Any:
    """The object that `encode` described."""
    name = header.get("class") if isinstance(header, dict) else header
    if not isinstance(name, str) or name not in _KINDS:
        raise ModelFileError(f"unknown class {name!r}; known are {sorted(_KINDS)}")
    return _KINDS[name].decode(header, tensors)


def encode_value(value: Any) -> Any:
    """A hyper-parameter as JSON holds it; a TypeError for functions, generators and whatever else it cannot."""
    if _VALUES.get(type(value).__name__) is type(value):
        return {type(value).__name__: {f.name: encode_value(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [encode_value(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be saved")


def decode_value(value: Any) -> Any:
    """The hyper-parameter again; sequences are tuples."""
    if isinstance(value, dict):
        ((name, inside),) = value.items()
        if name not in _VALUES:
            raise ValueError(f"unknown value {name!r}; known are {sorted(_VALUES)}")
        return _VALUES[name](**{key: decode_value(field) for key, field in inside.items()})
    return tuple(decode_value(v) for v in value) if isinstance(value, list) else value


def save(model: Any, path: Any) -> None:
    """Write a fitted model or forecaster to a file that `load` reads.

    The file appears whole or not at all; a symbolic link stays one, and a device or pipe is written to. Of a model are
    kept class, hyper-parameters, weights, classes, feature names and scaler. Left out are the state of the optimizer,
    the training history, and hyper-parameters that are functions or generators (a `TemperatureSchedule` is kept); in
    the loaded model those have their defaults.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it has no weights yet.
    """
    header, tensors = encode(model)
    write_whole(path, to_bytes(header, tensors))


def to_bytes(header: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of a model file."""
    from safetensors.numpy import save as pack

    text = json.dumps(header, sort_keys=True, allow_nan=False)
    metadata = {"format": f"{FORMAT}/{VERSION}", "fastkd": text, "sha256": digest(text, tensors)}
    return pack({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata=metadata)


def load(path: Any) -> Any:
    """Read a file written by `save`.

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
    if metadata.get("sha256") != digest(metadata["fastkd"], tensors):
        raise ModelFileError(f"{path}: the SHA-256 of its contents is not the one in it; the file is damaged or edited")
    try:
        return decode(header, tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ModelFileError(f"{path} does not describe a model: {type(error).__name__}: {error}") from error


def _read_header(path: str, metadata: dict[str, str]) -> Any:
    name, _, version = metadata.get("format", "").partition("/")
    if name != FORMAT or "fastkd" not in metadata:
        raise ModelFileError(f"{path} is a safetensors file without the metadata of a fastkd model")
    if version != str(VERSION):
        raise ModelFileError(f"{path} has format version {version!r}; this fastkd reads version {VERSION}")
    try:
        return json.loads(metadata["fastkd"])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its metadata are not JSON: {error}") from error


def digest(text: str, tensors: Tensors) -> str:
    """SHA-256 of a header and its tensors, whatever their order."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        found.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        found.update(tensor.tobytes())
    return found.hexdigest()
