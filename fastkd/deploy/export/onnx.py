"""export_onnx: a student as an ONNX file, its NaN guard inside, without the onnx package."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.onnx_check import CHECK_ROWS, largest_error
from fastkd.deploy.export.protobuf import model, node, value
from fastkd.deploy.export.report import ExportReport
from fastkd.deploy.export.student import ExportError, Student, read_student
from fastkd.deploy.export.text import target_path
from fastkd.deploy.export.writing import write_all

OUTPUTS = ("probabilities", "logits", "values")


class _Graph:
    """Nodes and constants, in order; each step returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = np.asarray(array, dtype)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(node(operator, inputs, [output], **attributes))
        return output


def export_onnx(
    model: Any, path: Any, *, batch: int | str = "n", nan_guard: bool = True, output: str = "auto"
) -> ExportReport:
    """Write a student as an ONNX file of float32, opset 17, that takes raw features; no onnx package is needed.

    The bytes to be written are read back, and their graph is evaluated in NumPy, and by ONNX Runtime where it is
    installed, against the model in float64 on 1,000 rows; with the guard also on rows with NaN and infinity.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, LSTMClassifier or CNNClassifier
        Fitted. The one input is "x", (n, n_features) or (n, steps, features).
    path : path that ends in ".onnx"
    batch : str or int
        Name of the free first dimension, or a fixed number of rows, which some readers need.
    nan_guard : bool
        A row with NaN or infinity gives NaN, as everywhere in this package. Without the guard Relu, MaxPool and LSTM
        of some runtimes turn it into confident numbers.
    output : {"auto", "probabilities", "logits", "values"}
        What the one output holds, and its name: "auto" is "probabilities" of a classifier, "values" of a regressor.

    Returns
    -------
    ExportReport

    Raises
    ------
    ExportError
        If the model has no such output, cannot be exported, or the graph does not answer as the model. No file has
        been written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastkd.deploy import export_onnx
    >>> from fastkd.models import MLPClassifier
    >>> model = MLPClassifier((8,), random_state=0).initialize(4, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export_onnx(model, Path(folder) / "student.onnx")
    >>> sum(report.files.values()) < 1000
    True
    """
    target, _ = target_path(path, ".onnx")
    named = isinstance(batch, str) and batch.isidentifier()
    if not (named or (isinstance(batch, (int, np.integer)) and not isinstance(batch, bool) and batch > 0)):
        raise ValueError(f"batch must be the name of a dimension or a number of rows; got {batch!r}")
    student = read_student(model)
    if student.heads:
        raise ExportError("ONNX has no early exits; export one of exits_")
    classifier = student.classes is not None
    if output not in (*OUTPUTS, "auto"):
        raise ValueError(f"output must be one of {OUTPUTS} or 'auto'; got {output!r}")
    chosen = ("probabilities" if classifier else "values") if output == "auto" else output
    if (chosen == "values") == classifier:
        raise ExportError(f"a {student.origin} has no {chosen}")
    data = _file(student, int(batch) if not named else batch, nan_guard, chosen)
    error, checks = largest_error(data, student, batch if named else int(batch), nan_guard, chosen)
    write_all({target: data})
    return ExportReport(
        target="onnx",
        files={str(target): len(data)},
        sha256=student.sha256,
        rows=CHECK_ROWS,
        error=error,
        checks=checks,
    )


def _file(student: Student, batch: int | str, guard: bool, output: str) -> bytes:
    rounded, graph = student.rounded(), _Graph()
    x = "x"
    if rounded.mean.any():
        x = graph.add("Sub", [x, graph.constant("mean", rounded.mean)], "centered")
    if rounded.edge.any():  # so that the zeros around the window are means, too
        x = graph.add("Sub", [x, graph.constant("edge", rounded.edge)], "centered_twice")
        (W, b), *rest = rounded.body
        whole = b + np.tile(rounded.edge, student.kernel_size) @ W
        rounded = replace(rounded, body=((W, whole), *rest))
    if student.kind == "lstm":
        x = _lstm(graph, rounded, x)
    elif student.kind == "cnn":
        x = _cnn(graph, rounded, x)
    for k, (W, b) in enumerate(rounded.layers):
        last = k + 1 == len(rounded.layers)
        name = output if last and not guard and output != "probabilities" else f"z{k}"
        x = graph.add("Gemm", [x, graph.constant(f"W{k}", W), graph.constant(f"B{k}", b)], name)
        x = x if last else _activation(graph, student.activation, x)
    if guard:
        x = _guard(graph, student, x, output if output != "probabilities" else "guarded")
    if output == "probabilities":
        graph.add("Softmax", [x], output, axis=1)
    metadata = {
        "fastkd": json.dumps(
            {
                "sha256": student.sha256,
                "model": student.origin,
                "classes": None if student.classes is None else list(student.classes),
                "features": None if student.feature_names is None else list(student.feature_names),
            }
        )
    }
    return model(
        graph.nodes,
        graph.constants,
        [value("x", [batch, *student.row_shape])],
        [value(output, [batch, student.n_outputs])],
        __version__,
        "Raw features in; data of whoever trained the model.",
        metadata,
    )


def _activation(graph: _Graph, kind: str, z: str) -> str:
    if kind == "identity":
        return z
    if kind != "gelu":
        return graph.add({"relu": "Relu", "tanh": "Tanh"}[kind], [z], f"{z}_a")
    half, root, one = (graph.constant(f"c{k}", v) for k, v in enumerate((0.5, 0.5**0.5, 1.0)))
    erf = graph.add("Erf", [graph.add("Mul", [z, root], f"{z}_u")], f"{z}_erf")
    twice = graph.add("Mul", [z, graph.add("Add", [erf, one], f"{z}_cdf2")], f"{z}_2a")
    return graph.add("Mul", [twice, half], f"{z}_a")


def _guard(graph: _Graph, student: Student, z: str, name: str) -> str:
    """z plus the sum of x - x: 0, or NaN where a feature is NaN or infinite."""
    zero = graph.add("Sub", ["x", "x"], "nothing")
    axes = list(range(1, len(student.row_shape) + 1))
    row = graph.add("ReduceSum", [zero, graph.constant("axes", axes, np.int64)], "row", keepdims=int(len(axes) == 1))
    if len(axes) > 1:
        row = graph.add("Unsqueeze", [row, graph.constant("second", [1], np.int64)], "column")
    return graph.add("Add", [z, row], name)


def _lstm(graph: _Graph, student: Student, x: str) -> str:
    """ONNX orders the gates input, output, forget, cell, and puts time first."""
    x = graph.add("Transpose", [x], "time_first", perm=[1, 0, 2])
    zero = graph.constant("first", [0], np.int64)
    last = len(student.body) - 1
    for k, ((W, b), (n_in, u)) in enumerate(zip(student.body, pairwise(student.widths), strict=True)):
        gates = W.reshape(-1, 4, u)[:, [0, 3, 1, 2]].reshape(-1, 4 * u)
        bias = b.reshape(4, u)[[0, 3, 1, 2]].ravel()
        names = [
            x,
            graph.constant(f"lstm{k}_W", gates[:n_in].T[None]),
            graph.constant(f"lstm{k}_R", gates[n_in:].T[None]),
        ]
        names.append(graph.constant(f"lstm{k}_B", np.concatenate([bias, np.zeros_like(bias)])[None]))
        if k == last and student.pooling == "last":
            graph.nodes.append(node("LSTM", names, ["", f"h{k}"], hidden_size=u))
            return graph.add("Squeeze", [f"h{k}", zero], "pooled")
        graph.nodes.append(node("LSTM", names, [f"y{k}"], hidden_size=u))
        x = graph.add("Squeeze", [f"y{k}", graph.constant("direction", [1], np.int64)], f"steps{k}")
    if student.pooling == "mean":
        return graph.add("ReduceMean", [x], "pooled", axes=[0], keepdims=0)
    return graph.add("ReduceMax", [x], "pooled", axes=[0], keepdims=0)


def _cnn(graph: _Graph, student: Student, x: str) -> str:
    K, T = student.kernel_size, student.steps
    left = (K - 1) // 2
    x = graph.add("Transpose", [x], "channels_first", perm=[0, 2, 1])
    for k, ((W, b), n_in) in enumerate(zip(student.body, student.widths[:-1], strict=True)):
        kernel = W.reshape(K, n_in, -1).transpose(2, 1, 0)
        names = [x, graph.constant(f"conv{k}_W", kernel), graph.constant(f"conv{k}_B", b)]
        x = graph.add("Conv", names, f"conv{k}", kernel_shape=[K], pads=[left, K - 1 - left])
        x = graph.add("Relu", [x], f"relu{k}")
    if student.pooling == "last":
        bounds = {"starts": [T - 1], "ends": [T], "slice_axes": [2]}
        x = graph.add("Slice", [x, *(graph.constant(name, v, np.int64) for name, v in bounds.items())], "last_step")
    else:
        x = graph.add({"max": "GlobalMaxPool", "mean": "GlobalAveragePool"}[student.pooling], [x], "over_time")
    return graph.add("Flatten", [x], "pooled", axis=1)
