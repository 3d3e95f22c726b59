"""LSTM and CNN kernels against their definition, on every instruction set, at sizes around the lane width."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import Optimizer, SequenceKernel, SequencePredictorCore, StreamCore, Targets
from fastkd.reference.sequences import lstm_forward, sequence_layers

# kind, steps, widths, head sizes, pooling, kernel_size
SHAPES = [
    ("lstm", 5, (3, 7), (7, 3), "last", 1),
    ("lstm", 1, (1, 1), (1, 2), "mean", 1),
    ("lstm", 6, (4, 16, 16), (16, 3), "mean", 1),
    ("lstm", 4, (17, 5, 33), (33, 9, 4), "max", 1),
    ("lstm", 9, (6, 40), (40, 3), "last", 1),
    ("cnn", 5, (3, 7), (7, 3), "max", 3),
    ("cnn", 1, (1, 1), (1, 2), "mean", 1),
    ("cnn", 6, (4, 16, 16), (16, 3), "mean", 3),
    ("cnn", 4, (17, 5, 33), (33, 9, 4), "last", 4),
    ("cnn", 7, (2, 8, 19, 3), (3, 8, 3), "max", 2),
    ("cnn", 3, (5, 6, 6), (6, 2), "max", 5),
]
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-10}


def network(shape, dtype, seed=0):
    kind, steps, widths, sizes, pooling, kernel_size = shape
    kernel = SequenceKernel(kind, steps, widths, sizes, "tanh", pooling, kernel_size, dtype)
    params = np.random.default_rng(seed).normal(size=kernel.n_parameters) / np.sqrt(max(*widths, *sizes))
    return kernel, params.astype(dtype)


def windows(kernel, n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *kernel.input_shape)).astype(kernel.dtype)


def close(got, want, dtype):
    want = np.asarray(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(np.abs(want).max(initial=0))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_gradient_are_the_definition(each_isa, dtype, shape):
    kernel, params = network(shape, dtype)
    rng, out = np.random.default_rng(2), kernel.n_outputs
    for n in (1, 17, 70):
        X = windows(kernel, n)
        close(kernel.forward(params, X), reference.sequence_forward(kernel, params, X), dtype)
        signal = {
            "labels": rng.integers(-1, out, n).astype(np.int32),
            "teacher_logits": rng.normal(size=(n, out)).astype(dtype),
            "temperature": 2.0,
            "kd_weight": 0.6,
            "label_smoothing": 0.1,
            "weights": rng.uniform(0, 2, n).astype(dtype),
        }
        loss, grad = kernel.loss_gradient(params, X, Targets(n, dtype, **signal), l2=0.01)
        want, slope = reference.sequence_loss_gradient(kernel, params, X, l2=0.01, **signal)
        close(loss, want, dtype)
        close(grad, slope, dtype)


@pytest.mark.parametrize("shape", [s for s in SHAPES if max(s[2]) < 20])
def test_gradient_is_the_derivative(each_isa, shape):
    kernel, params = network(shape, np.float64)
    X, labels = windows(kernel, 6), np.random.default_rng(3).integers(0, kernel.n_outputs, 6).astype(np.int32)
    targets = Targets(6, np.float64, labels=labels)
    _, grad = kernel.loss_gradient(params, X, targets, l2=0.1)
    rng, h = np.random.default_rng(4), 1e-5
    for _ in range(5):  # directional derivatives reach all parameters at once
        way = rng.normal(size=len(params))
        up, down = (kernel.loss_gradient(params + s * h * way, X, targets, l2=0.1)[0] for s in (1, -1))
        assert grad @ way == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [1, 32, 100])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[7]])
def test_epochs_are_the_definition(each_isa, kind, batch, shape):
    kernel, params = network(shape, np.float64)
    n, rng = 130 if batch > 1 else 20, np.random.default_rng(5)
    X, labels = windows(kernel, n), rng.integers(0, 3, n).astype(np.int32)
    want = params.copy()
    optimizer = Optimizer(kind, kernel.n_parameters, np.float64)
    state = reference.OptimizerState(kind, np.zeros_like(params), np.zeros_like(params))
    step = {"adam": reference.adam_step, "sgd": reference.sgd_step}[kind]
    for _ in range(2):
        order = rng.permutation(n)
        loss = kernel.epoch(params, optimizer, X, Targets(n, np.float64, labels=labels), order, batch, 0.01, l2=1e-3)
        total = 0.0
        for start in range(0, n, batch):
            rows = order[start : start + batch]
            data_loss, _ = reference.sequence_loss_gradient(kernel, want, X[rows], labels=labels[rows])
            _, grad = reference.sequence_loss_gradient(kernel, want, X[rows], l2=1e-3, labels=labels[rows])
            step(want, grad, state, 0.01)
            total += data_loss * len(rows)
        assert loss == pytest.approx(total / n, rel=1e-9)
    np.testing.assert_allclose(params, want, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_predictor_is_the_forward_pass_of_scaled_windows(each_isa, dtype, shape):
    kernel, params = network(shape, dtype)
    rng, features = np.random.default_rng(6), kernel.input_shape[1]
    shift, factor = rng.normal(size=features).astype(dtype), rng.uniform(0.5, 2, features).astype(dtype)
    predict = SequencePredictorCore(kernel, params, shift, factor)
    for n in (1, 3, 100):
        X = windows(kernel, n, seed=n)
        want = reference.softmax(reference.sequence_forward(kernel, params, (X - shift) * factor))
        close(predict(X), want, dtype)
        close(predict(X[0]), want[0], dtype)
        np.testing.assert_array_equal(predict.argmax(X), predict(X).argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] == "lstm"])
def test_stream_is_the_window_up_to_now(each_isa, dtype, shape):
    kernel, params = network(shape, dtype)
    stream = StreamCore(SequencePredictorCore(kernel, params))
    X = windows(kernel, 1)[0]
    for t in range(len(X)):
        part = SimpleNamespace(**{name: getattr(kernel, name) for name in ("kind", "widths", "sizes", "activation")})
        part.pooling, part.kernel_size = kernel.pooling, 1
        want = reference.softmax(reference.sequence_forward(part, params, X[None, : t + 1]))[0]
        close(stream.push(X[t]), want, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("before", [10**6, 2**24 - 500, 2**26])
def test_a_long_stream_keeps_its_mean(each_isa, dtype, before):
    """As after `before` steps of a known mean: a plain sum in float32 loses what is below 2^-24 of it."""
    kernel, params = network(("lstm", 5, (3, 7), (7, 3), "mean", 1), dtype)
    params[-24:-3] *= 30  # the head's weights: a small change of the mean shows
    X = np.random.default_rng(1).normal(size=(1000, 3)).astype(dtype)
    layers, head = sequence_layers(kernel, params.astype(float))
    H = lstm_forward(*layers[0], X[None].astype(float))[0][0]
    mean = np.linspace(-0.5, 0.5, 7)
    stream = StreamCore(SequencePredictorCore(kernel, params))
    state = stream.state
    state[14:21] = mean * before  # after h and c of the one layer
    state[-2:] = divmod(before, 2**24)
    stream.state = state
    pooled = (state[14:21].astype(float) + np.cumsum(H, axis=0)) / (before + 1 + np.arange(1000))[:, None]
    want = reference.softmax(pooled @ head[:21].reshape(7, 3) + head[21:])
    got = np.array([stream.push(x).copy() for x in X])
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 if dtype == np.float32 else 1e-13)
    assert stream.n_seen == before + 1000
    assert stream.state[-2:].tolist() == list(divmod(before + 1000, 2**24))


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[9]])
def test_a_window_with_nan_spoils_no_other(each_isa, shape):
    kernel, params = network(shape, np.float32)
    predict = SequencePredictorCore(kernel, params)
    X = windows(kernel, 70)
    clean = predict(X)
    X[3, 0, 0], X[69, -1, -1] = np.nan, np.inf
    got = predict(X)
    bad = np.isin(np.arange(70), (3, 69))
    assert np.isnan(got[bad]).all()
    np.testing.assert_array_equal(got[~bad], clean[~bad])
    assert np.isnan(predict(X[3])).all()


def test_epoch_is_deterministic_and_leaves_other_rows_alone(each_isa):
    kernel, params = network(SHAPES[2], np.float32)
    X = np.full((6, *kernel.input_shape), np.nan, np.float32)
    X[:3] = windows(kernel, 3)
    targets = Targets(6, np.float32, labels=np.zeros(6, np.int32))
    results = []
    for _ in range(2):
        trained = params.copy()
        kernel.epoch(trained, Optimizer("adam", len(params), np.float32), X, targets, np.array([2, 0, 1]), 2, 0.1)
        results.append(trained)
    assert np.isfinite(results[0]).all()
    np.testing.assert_array_equal(*results)


def test_impossible_shapes_and_arrays_are_refused():
    with pytest.raises(ValueError, match="kind"):
        SequenceKernel("gru", 4, (2, 3), (3, 2), "relu", "last", 1, np.float32)
    with pytest.raises(ValueError, match="pooling"):
        SequenceKernel("lstm", 4, (2, 3), (3, 2), "relu", "sum", 1, np.float32)
    with pytest.raises(ValueError, match="head"):
        SequenceKernel("lstm", 4, (2, 3), (4, 2), "relu", "last", 1, np.float32)
    with pytest.raises(ValueError, match="kernel_size"):
        SequenceKernel("cnn", 4, (2, 3), (3, 2), "relu", "last", 0, np.float32)
    kernel, params = network(SHAPES[0], np.float32)
    with pytest.raises(ValueError, match="X"):
        kernel.forward(params, np.zeros((2, 4, 3), np.float32))
    targets = Targets(2, np.float32, labels=np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="params"):
        kernel.loss_gradient(params[1:], np.zeros((2, 5, 3), np.float32), targets)
    soft = Targets(2, np.float32, soft=np.full((2, 2), 0.5, np.float32))
    with pytest.raises(ValueError, match="outputs"):
        kernel.loss_gradient(params, np.zeros((2, 5, 3), np.float32), soft)
