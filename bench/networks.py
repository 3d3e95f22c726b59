"""The student and teacher networks the benchmarks share: weights, and a float64 definition of what they compute.

Layout of flat parameters: per layer W (n_in, n_out) in C order, then b (n_out,). Hidden layers are ReLU,
the last one is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Weights = list[tuple[np.ndarray, np.ndarray]]


def label(sizes: tuple[int, ...]) -> str:
    return "-".join(map(str, sizes))


def weights(sizes: tuple[int, ...], seed: int = 0) -> Weights:
    """He-normal float32 weights and small biases, the same for every contender."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype(np.float32),
            rng.normal(0, 0.1, n_out).astype(np.float32),
        )
        for n_in, n_out in pairwise(sizes)
    ]


def flat(layers: Weights) -> np.ndarray:
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def forward64(layers: Weights, x: np.ndarray) -> list[np.ndarray]:
    """Inputs of every layer, then the logits, in float64."""
    steps = [x.astype(np.float64)]
    for i, (w, b) in enumerate(layers):
        z = steps[-1] @ w + b
        steps.append(np.maximum(z, 0) if i < len(layers) - 1 else z)
    return steps


def softmax64(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def fastkd_model(sizes: tuple[int, ...], layers: Weights, **hyper: Any) -> Any:
    from fastkd.models import MLPClassifier

    model = MLPClassifier(hidden=sizes[1:-1], random_state=0, **hyper).initialize(sizes[0], sizes[-1])
    model.parameters = flat(layers)
    return model


def torch_model(torch: Any, layers: Weights) -> Any:
    parts: list[Any] = []
    for w, b in layers:
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        parts += [linear, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*parts[:-1])


def sklearn_model(layers: Weights, **hyper: Any) -> Any:
    """A fitted MLPClassifier whose weights are then replaced: scikit-learn has no other way to set them."""
    from sklearn.neural_network import MLPClassifier

    n_in, n_out = layers[0][0].shape[0], layers[-1][1].size
    model = MLPClassifier(hidden_layer_sizes=[b.size for _, b in layers[:-1]], alpha=0.0, random_state=0, **hyper)
    rows = max(n_out, hyper.get("batch_size", 0))
    model.partial_fit(np.zeros((rows, n_in), np.float32), np.arange(rows) % n_out, classes=np.arange(n_out))
    for i, (w, b) in enumerate(layers):
        model.coefs_[i][...] = w
        model.intercepts_[i][...] = b
    del model._optimizer  # it holds moments of that first step; the next partial_fit makes a new one
    model.t_ = 0
    return model


def onnx_bytes(layers: Weights) -> bytes:
    """The network with a final softmax as an ONNX model for any number of rows."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, name = [], [], "x"
    for i, (w, b) in enumerate(layers):
        initializers += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"z{i}"]))
        last = i == len(layers) - 1
        name = "y" if last else f"h{i}"
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{i}"], [name]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", layers[0][0].shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", layers[-1][1].size])
    graph = helper.make_graph(nodes, "mlp", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def onnx_session(ort: Any, layers: Weights) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    return ort.InferenceSession(onnx_bytes(layers), options, providers=["CPUExecutionProvider"])


def products(sizes: Sequence[int]) -> int:
    """Multiplications of one row with all weights: a forward pass takes twice as many operations."""
    return sum(n_in * n_out for n_in, n_out in pairwise(sizes))
