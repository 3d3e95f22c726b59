"""Probabilities of a student MLP, float32: single rows as a trading loop asks for them, and batches.

Single rows are timed call by call (p50, p99, p99.9, less the cost of reading the clock) and also back to back.
Run: ``python -m bench.inference --json PATH [--quick]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import common, networks, roofline
from bench.common import Contender, optional

CASES = [
    ((4, 32, 16, 3), 1),
    ((8, 64, 32, 3), 1),
    ((16, 128, 64, 3), 1),
    ((8, 64, 32, 3), 32),
    ((8, 64, 32, 3), 1024),
    ((8, 64, 32, 3), 100_000),
    ((16, 128, 64, 3), 100_000),
]
TILE = 512


def numpy_forward(layers: networks.Weights) -> Callable[[np.ndarray], np.ndarray]:
    def forward(x: np.ndarray) -> np.ndarray:
        for w, b in layers[:-1]:
            x = x @ w
            x += b
            np.maximum(x, 0, out=x)
        w, b = layers[-1]
        z = x @ w
        z += b
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    return forward


def numpy_tiled(layers: networks.Weights) -> Callable[[np.ndarray], np.ndarray]:
    """The same in tiles of rows that stay in the cache: the fair NumPy opponent on large batches."""
    forward = numpy_forward(layers)

    def tiled(x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), layers[-1][1].size), np.float32)
        for i in range(0, len(x), TILE):
            out[i : i + TILE] = forward(x[i : i + TILE])
        return out

    return tiled


def numba_contenders(nb: Any, layers: networks.Weights, x: np.ndarray) -> list[Contender]:
    """Loops over one row at a time, weights as arguments; and the same with weights frozen into the machine code."""
    assert len(layers) == 3
    (w1, b1), (w2, b2), (w3, b3) = layers
    n1, n2, n3 = b1.size, b2.size, b3.size

    @nb.njit(inline="always", error_model="numpy")
    def network(x, out, w1, b1, w2, b2, w3, b3, n1, n2, n3):  # type: ignore[no-untyped-def]
        h1, h2 = np.empty(n1, np.float32), np.empty(n2, np.float32)
        for r in range(x.shape[0]):
            for j in range(n1):
                h1[j] = b1[j]
            for i in range(x.shape[1]):
                for j in range(n1):
                    h1[j] += x[r, i] * w1[i, j]
            for j in range(n2):
                h2[j] = b2[j]
            for i in range(n1):
                value = max(h1[i], np.float32(0))
                for j in range(n2):
                    h2[j] += value * w2[i, j]
            for j in range(n3):
                out[r, j] = b3[j]
            for i in range(n2):
                value = max(h2[i], np.float32(0))
                for j in range(n3):
                    out[r, j] += value * w3[i, j]
            top, total = out[r, 0], np.float32(0)
            for j in range(1, n3):
                top = max(top, out[r, j])
            for j in range(n3):
                out[r, j] = np.exp(out[r, j] - top)
                total += out[r, j]
            for j in range(n3):
                out[r, j] /= total

    @nb.njit(error_model="numpy", fastmath={"contract"})
    def with_arguments(x, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
        out = np.empty((x.shape[0], b3.size), np.float32)
        network(x, out, w1, b1, w2, b2, w3, b3, b1.size, b2.size, b3.size)
        return out

    @nb.njit(error_model="numpy", fastmath={"contract"})
    def frozen(x, out):  # type: ignore[no-untyped-def]
        network(x, out, w1, b1, w2, b2, w3, b3, n1, n2, n3)
        return out

    out = np.empty((len(x), n3), np.float32)
    return [
        Contender("numba", with_arguments, (x, w1, b1, w2, b2, w3, b3)),
        Contender("numba, frozen, out=", frozen, (x, out)),
    ]


def onnx_contenders(ort: Any, layers: networks.Weights, x: np.ndarray) -> list[Contender]:
    session = networks.onnx_session(ort, layers)
    out = np.empty((len(x), layers[-1][1].size), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    bound = ort.OrtValue.ortvalue_from_numpy(out)
    binding.bind_ortvalue_output("y", bound)

    def run_bound(binding: Any) -> Any:
        session.run_with_iobinding(binding)
        return bound

    return [
        Contender("onnxruntime run", lambda a: session.run(None, {"x": a})[0], (x,)),
        Contender("onnxruntime bound", run_bound, (binding,)),
    ]


def jax_contender(jax: Any, layers: networks.Weights, x: np.ndarray) -> Contender:
    def forward(x: Any) -> Any:
        for w, b in layers[:-1]:
            x = jax.numpy.maximum(x @ w + b, 0)
        w, b = layers[-1]
        z = x @ w + b
        e = jax.numpy.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    jitted = jax.jit(forward)
    return Contender("jax", lambda a: jitted(a).block_until_ready(), (jax.numpy.asarray(x),))


def torch_contender(torch: Any, layers: networks.Weights, x: np.ndarray) -> Contender:
    F = torch.nn.functional
    tensors = [(torch.from_numpy(w.T.copy()), torch.from_numpy(b)) for w, b in layers]

    @torch.inference_mode()
    def forward(x: Any) -> Any:
        for w, b in tensors[:-1]:
            x = F.linear(x, w, b).relu_()
        return torch.softmax(F.linear(x, *tensors[-1]), 1)

    return Contender("torch", forward, (torch.from_numpy(x),))


def contenders(sizes: tuple[int, ...], rows: int) -> list[Contender]:
    layers = networks.weights(sizes)
    x = np.random.default_rng(rows).normal(size=(rows, sizes[0])).astype(np.float32)
    truth = networks.softmax64(networks.forward64(layers, x)[-1])
    found = []
    if (deploy := optional("fastkd.deploy", "Predictor")) and optional("fastkd.models", "MLPClassifier"):
        predictor = deploy.Predictor(networks.fastkd_model(sizes, layers))
        mine = x[0] if rows == 1 else x  # a row goes in as it comes: one-dimensional
        found += [
            Contender("fastkd", predictor, (mine,)),
            Contender("fastkd, out=", predictor, (mine, np.empty((*mine.shape[:-1], sizes[-1]), np.float32))),
        ]
    found.append(Contender("numpy", numpy_forward(layers), (x,)))
    if rows > 2 * TILE:
        found.append(Contender(f"numpy, tiles of {TILE}", numpy_tiled(layers), (x,)))
    if optional("sklearn"):
        found.append(Contender("scikit-learn", networks.sklearn_model(layers).predict_proba, (x,)))
    if nb := optional("numba"):
        found += numba_contenders(nb, layers, x)
    if jax := optional("jax"):
        found.append(jax_contender(jax, layers, x))
    if torch := optional("torch"):
        found.append(torch_contender(torch, layers, x))
    if (ort := optional("onnxruntime")) and optional("onnx"):
        found += onnx_contenders(ort, layers, x)
    for c in found:
        result = c.call(*c.args)
        result = result.numpy() if hasattr(result, "numpy") else np.asarray(result)
        c.errors["probability"] = float(np.abs(result.reshape(truth.shape) - truth).max())
    common.require(found, 1e-5)
    return found


def main() -> None:
    options = common.arguments(__doc__)
    rounds, sample = (3, 1e-3) if options.quick else (21, 2e-2)
    calls = 1_000 if options.quick else 100_000
    cases = []
    for sizes, rows in CASES:
        row = f"{networks.label(sizes)}, {rows} row{'s' * (rows > 1)}"
        if options.only not in row:
            continue
        found = contenders(sizes, rows)
        common.throughput(found, rounds=rounds, sample_seconds=sample)
        n_bytes = 4 * (networks.products(sizes) + sum(sizes[1:]) + rows * (sizes[0] + sizes[-1]))
        roofline.note(found, roofline.least_seconds(n_bytes, 2 * rows * networks.products(sizes), 4))
        timer_ns = 0.0
        if rows == 1:
            timer_ns = common.timer_overhead_ns()
            common.latency(found, calls=calls)
        cases.append(common.case("inference", row, found, timer_ns=timer_ns))
    common.write("inference", options, cases)


if __name__ == "__main__":
    main()
