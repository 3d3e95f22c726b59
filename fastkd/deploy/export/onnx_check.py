"""The check of an ONNX export: its bytes, read back and evaluated, against the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastkd.deploy.export.protobuf import OPSET, fields
from fastkd.deploy.export.student import ExportError, Student
from fastkd.losses import softmax

CHECK_ROWS = 1000
BROKEN_ROWS = 12
TOLERANCE = 2e-5  # runtimes approximate exp, tanh and erf


def _attributes(node: list[tuple[int, Any]]) -> dict[str, Any]:
    found = {}
    for data in (v for field, v in node if field == 5):
        parts = fields(data)
        many = [v for field, v in parts if field == 8]
        found[dict(parts)[1].decode()] = many or dict(parts)[3]
    return found


def _array(data: bytes) -> np.ndarray:
    parts = fields(data)
    kind = {1: "<f4", 7: "<i8"}[dict(parts)[2]]
    array = np.frombuffer(dict(parts)[9], kind).reshape([v for field, v in parts if field == 1])
    return array.astype(np.float64) if kind == "<f4" else array


def _lstm(x: np.ndarray, W: np.ndarray, R: np.ndarray, B: np.ndarray, hidden_size: int) -> list[np.ndarray]:
    """Outputs (steps, 1, n, units) and the last (1, n, units); gates in the order input, output, forget, cell."""
    h = c = np.zeros((x.shape[1], hidden_size))
    steps = []
    for row in x:
        z = row @ W[0].T + h @ R[0].T + B[0][: 4 * hidden_size] + B[0][4 * hidden_size :]
        i, o, f = (0.5 * (1 + np.tanh(z[:, k * hidden_size : (k + 1) * hidden_size] / 2)) for k in range(3))
        c = f * c + i * np.tanh(z[:, 3 * hidden_size :])
        h = o * np.tanh(c)
        steps.append(h)
    return [np.array(steps)[:, None], h[None]]


def _conv(x: np.ndarray, W: np.ndarray, b: np.ndarray, kernel_shape: list[int], pads: list[int]) -> np.ndarray:
    (K,), T = kernel_shape, x.shape[2]
    wide = np.pad(x, ((0, 0), (0, 0), tuple(pads)))
    return b[:, None] + sum(
        np.einsum("nct,oc->not", wide[:, :, k : k + T], W[:, :, k], optimize=True) for k in range(K)
    )


def _softmax(z: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Tanh": np.tanh,
    "Erf": lambda x: np.vectorize(math.erf, otypes=[float])(x),
    "Relu": lambda x: np.maximum(x, 0.0),
    "Gemm": lambda x, W, b: x @ W + b,
    "Softmax": _softmax,
    "ReduceSum": lambda x, axes, keepdims: x.sum(axis=tuple(axes), keepdims=bool(keepdims)),
    "ReduceMean": lambda x, axes, keepdims: x.mean(axis=tuple(axes), keepdims=bool(keepdims)),
    "ReduceMax": lambda x, axes, keepdims: x.max(axis=tuple(axes), keepdims=bool(keepdims)),
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Transpose": lambda x, perm: x.transpose(perm),
    "Slice": lambda x, starts, ends, axes: x.take(np.arange(starts[0], ends[0]), axis=axes[0]),
    "GlobalMaxPool": lambda x: x.max(axis=2, keepdims=True),
    "GlobalAveragePool": lambda x: x.mean(axis=2, keepdims=True),
    "Flatten": lambda x, axis: x.reshape(len(x), -1),
    "LSTM": _lstm,
    "Conv": _conv,
}


def evaluate(data: bytes, X: np.ndarray) -> np.ndarray:
    """The one output of an exported file for rows X: its nodes by the definitions of ONNX, in float64."""
    whole = fields(data)
    if [dict(fields(v))[2] for field, v in whole if field == 8] != [OPSET]:
        raise ExportError(f"the file is not of opset {OPSET}")
    graph = fields(dict(whole)[7])
    values = {dict(fields(v))[8].decode(): _array(v) for field, v in graph if field == 5}
    values[dict(fields(dict(graph)[11]))[1].decode()] = np.asarray(X, np.float64)
    for node in (fields(v) for field, v in graph if field == 1):
        inputs, outputs = ([v.decode() for field, v in node if field == which] for which in (1, 2))
        made = OPERATORS[dict(node)[4].decode()](*(values[name] for name in inputs), **_attributes(node))
        values |= zip(outputs, made if isinstance(made, list) else [made], strict=False)
    return values[dict(fields(dict(graph)[12]))[1].decode()]


def _by_runtime(data: bytes, X: np.ndarray, batch: int | str) -> np.ndarray:
    """The same by ONNX Runtime; of a fixed batch the rows in turn, the last one again to fill it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    size = len(X) if isinstance(batch, str) else batch
    filled = X[np.minimum(np.arange(-(-len(X) // size) * size), len(X) - 1)]
    return np.concatenate([session.run(None, {"x": rows})[0] for rows in np.split(filled, len(filled) // size)])[
        : len(X)
    ]


def largest_error(
    data: bytes, student: Student, batch: int | str, guard: bool, output: str
) -> tuple[float, dict[str, str]]:
    """The largest error of the file's graph, and what was checked.

    Raises
    ------
    ExportError
        If it is too large, or with the guard a row with NaN or infinity gives a number.
    """
    X = student.draw(CHECK_ROWS, seed=1)
    if guard:
        broken, rng = student.draw(BROKEN_ROWS, seed=2), np.random.default_rng(3)
        flat = broken.reshape(BROKEN_ROWS, -1)
        places = rng.integers(0, flat.shape[1], BROKEN_ROWS)
        flat[np.arange(BROKEN_ROWS), places] = np.resize([np.nan, np.inf, -np.inf], BROKEN_ROWS)
        X = np.concatenate([X, broken])
    exact = student.outputs(X[:CHECK_ROWS])
    probabilities = output == "probabilities"
    expected = softmax(exact) if probabilities else exact
    unit = 1.0 if probabilities else np.maximum(np.abs(expected).max(axis=0), np.finfo(float).tiny)
    tolerance = TOLERANCE * (max(1.0, np.abs(exact).max() / 16) if probabilities else 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        answers = {"the graph in NumPy": evaluate(data, X)}
    checks = {"NaN guard": "inside" if guard else "left out: a runtime may answer a broken row with a number"}
    if isinstance(batch, int) and batch > len(X):
        checks["ONNX Runtime"] = f"left out: a batch of {batch} rows"
    else:
        try:
            answers["ONNX Runtime"] = _by_runtime(data, X, batch)
        except ImportError:
            checks["ONNX Runtime"] = "not installed: the file has not been run by it"
        except Exception as failure:
            raise ExportError(f"ONNX Runtime does not run the file: {failure}") from failure
    worst = 0.0
    for who, got in answers.items():
        error = float(np.abs((got[:CHECK_ROWS] - expected) / unit).max())
        if not error <= tolerance:
            raise ExportError(f"{who} differs from the model by {error:.2g}, more than {tolerance:.2g}")
        if not np.isnan(got[CHECK_ROWS:]).all():
            raise ExportError(f"{who} answers a row with NaN or infinity with a number")
        checks[who] = f"{error:.2g} from float64 at most, {len(X)} rows"
        worst = max(worst, error)
    return worst, checks
