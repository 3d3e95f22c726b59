"""The kernel of perceptrons with exits against its definition, and that against numerical derivatives."""

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import ExitsKernel, MLPKernel, Optimizer, Targets

SHAPES = [(1, 1, 1, 2), (4, 32, 16, 3), (5, 7, 3, 2), (3, 20, 33, 17, 5), (10, 40, 8, 20)]
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-10}


def setting(sizes, seed=0, dtype=np.float64, **options):
    """(kernel, parameters, X, labels and options of the definition)."""
    rng = np.random.default_rng(seed)
    exit_weights = tuple(rng.uniform(0.5, 1.5, len(sizes) - 2))
    losses = {"exit_weights": exit_weights, **options}
    activation = losses.pop("activation", "tanh")
    kernel = ExitsKernel(sizes, activation, dtype, **losses)
    params = (rng.normal(size=kernel.n_parameters) / np.sqrt(max(sizes))).astype(dtype)
    return kernel, params, losses


def data(sizes, n, dtype, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    signal = {
        "labels": rng.integers(-1, sizes[-1], n).astype(np.int32),
        "weights": rng.uniform(0, 2, n).astype(dtype),
        "temperature": 2.0,
        "kd_weight": 0.4,
        "label_smoothing": 0.1,
    }
    return X, signal


def close(got, want, dtype):
    want = np.asarray(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(np.abs(want).max(initial=0))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SHAPES)
@pytest.mark.parametrize("shallow_teaches", [False, True])
@pytest.mark.parametrize("feature_weight", [0.0, 0.2])
def test_gradient_is_the_definition(each_isa, dtype, sizes, shallow_teaches, feature_weight):
    for activation in ("relu", "tanh", "gelu"):
        kernel, params, losses = setting(
            sizes, dtype=dtype, activation=activation, shallow_teaches=shallow_teaches, feature_weight=feature_weight
        )
        for n in (1, 17, 300):
            X, signal = data(sizes, n, dtype)
            loss, grad = kernel.loss_gradient(params, X, Targets(n, dtype, **signal), l2=0.01)
            want, slope = reference.exits_loss_gradient(params, sizes, activation, X, l2=0.01, **losses, **signal)
            close(loss, want, dtype)
            close(grad, slope, dtype)


@pytest.mark.parametrize("shallow_teaches", [False, True])
@pytest.mark.parametrize("feature_weight", [0.0, 0.3])
def test_definition_is_the_derivative_with_teachers_held_constant(shallow_teaches, feature_weight):
    sizes = (3, 5, 4, 3, 2)
    _, params, losses = setting(sizes, shallow_teaches=shallow_teaches, feature_weight=feature_weight)
    X, signal = data(sizes, 12, np.float64)
    trunk, heads, _ = reference.exits_heads(params, sizes, feature_weight > 0)
    hidden, layers = [X], reference.mlp_layers(trunk, sizes)
    for W, b in layers[:-1]:
        hidden.append(np.tanh(hidden[-1] @ W + b))
    outputs = [h @ W + b for h, (W, b) in zip(hidden[1:], [*heads, layers[-1]], strict=True)]
    fixed = {"teacher": reference.exits_teacher(outputs, 2.0, shallow_teaches), "hint": hidden[-1]}

    def loss(p):
        return reference.exits_loss_gradient(p, sizes, "tanh", X, l2=0.1, **losses, **signal, **fixed)

    grad = loss(params)[1]
    np.testing.assert_array_equal(
        grad, reference.exits_loss_gradient(params, sizes, "tanh", X, l2=0.1, **losses, **signal)[1]
    )
    for i in range(len(params)):
        step = np.zeros_like(params)
        step[i] = 1e-6
        slope = (loss(params + step)[0] - loss(params - step)[0]) / 2e-6
        assert grad[i] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_without_weight_on_the_shallow_exits_it_is_the_plain_perceptron(each_isa):
    sizes = (4, 9, 6, 3)
    plain = MLPKernel(sizes, "relu", np.float64)
    kernel = ExitsKernel(sizes, "relu", np.float64, (0.0, 1.0))
    X, signal = data(sizes, 40, np.float64)
    params = np.random.default_rng(3).normal(size=kernel.n_parameters)
    labels, weights = signal["labels"], signal["weights"]
    loss, grad = kernel.loss_gradient(params, X, Targets(40, np.float64, **signal))
    hard = Targets(40, np.float64, labels=labels, weights=weights, label_smoothing=0.1)
    want, slope = plain.loss_gradient(params[: plain.n_parameters].copy(), X, hard)
    assert loss == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(grad[: plain.n_parameters], slope, rtol=1e-12, atol=1e-14)
    assert not grad[plain.n_parameters :].any()


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [16, 70, 600])
def test_an_epoch_is_a_step_for_each_batch(each_isa, kind, batch):
    sizes, n = (4, 12, 7, 3), 130
    kernel, params, losses = setting(sizes, feature_weight=0.1, activation="gelu")
    X, signal = data(sizes, n, np.float64)
    order = np.random.default_rng(5).permutation(n).astype(np.int64)
    state = reference.OptimizerState(kind, np.zeros_like(params), np.zeros_like(params))
    want, step, total = params.copy(), {"adam": reference.adam_step, "sgd": reference.sgd_step}[kind], 0.0
    for _ in range(2):
        for start in range(0, n, batch):
            rows = order[start : start + batch]
            part = {k: v[rows] if np.ndim(v) else v for k, v in signal.items()}
            data_loss, _ = reference.exits_loss_gradient(want, sizes, "gelu", X[rows], **losses, **part)
            _, grad = reference.exits_loss_gradient(want, sizes, "gelu", X[rows], l2=0.02, **losses, **part)
            step(want, grad, state, 0.01)
            total += data_loss * len(rows)
    optimizer = Optimizer(kind, kernel.n_parameters, np.float64, momentum=0.9)
    targets = Targets(n, np.float64, **signal)
    got = sum(kernel.epoch(params, optimizer, X, targets, order, batch, 0.01, 0.02) for _ in range(2))
    assert got == pytest.approx(total / n, rel=1e-9)
    assert optimizer.step == state.step
    np.testing.assert_allclose(params, want, rtol=1e-8, atol=1e-10)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="two hidden layers"):
        ExitsKernel((4, 8, 3), "relu", np.float32, (1.0,))
    with pytest.raises(ValueError, match="one an exit"):
        ExitsKernel((4, 8, 8, 3), "relu", np.float32, (1.0,))
    with pytest.raises(ValueError, match="feature_weight"):
        ExitsKernel((4, 8, 8, 3), "relu", np.float32, (1.0, 1.0), feature_weight=float("nan"))
    kernel = ExitsKernel((4, 8, 8, 3), "relu", np.float64, (1.0, 1.0))
    X, labels = np.zeros((5, 4)), np.full(5, 3, np.int32)
    with pytest.raises(ValueError, match="out of range"):
        kernel.loss_gradient(np.zeros(kernel.n_parameters), X, Targets(5, np.float64, labels=labels))
    with pytest.raises(ValueError, match="from labels"):
        kernel.loss_gradient(np.zeros(kernel.n_parameters), X, Targets(5, np.float64, values=np.zeros((5, 3))))
