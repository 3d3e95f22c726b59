"""The MLP kernel against its definition, on every instruction set, at sizes around the lane width."""

import threading

import numpy as np
import pytest

from fastkd import reference
from fastkd._core import _native
from fastkd._core._native import MLPKernel, Optimizer, PredictorCore, Targets

SHAPES = [
    (4, 3),
    (1, 1, 1),
    (4, 32, 16, 3),
    (8, 64, 32, 3),
    (5, 7, 2),
    (3, 70, 130, 5),
    (10, 100, 20),
    (17, 15, 16, 17),
]
TOLERANCE = {np.float32: 2e-4, np.float64: 1e-10}


def network(sizes, activation, dtype, seed=0):
    kernel = MLPKernel(sizes, activation, dtype)
    scale = 1 / np.sqrt(max(sizes))
    return kernel, (scale * np.random.default_rng(seed).normal(size=kernel.n_parameters)).astype(dtype)


def close(got, want, dtype):
    want = np.asarray(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(np.abs(want).max(initial=0))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.parametrize("sizes", SHAPES)
def test_forward_and_gradient_are_the_definition(each_isa, dtype, activation, sizes):
    kernel, params = network(sizes, activation, dtype)
    rng = np.random.default_rng(1)
    for n in (1, 15, 17, 300):
        X = rng.normal(size=(n, sizes[0])).astype(dtype)
        close(kernel.forward(params, X), reference.mlp_forward(params, sizes, activation, X), dtype)
        signals = [
            {"values": rng.normal(size=(n, sizes[-1])).astype(dtype)},
            {"values": rng.normal(size=(n, sizes[-1])).astype(dtype), "quantile": 0.9},
            {
                "labels": rng.integers(-1, sizes[-1], n).astype(np.int32),
                "teacher_logits": rng.normal(size=(n, sizes[-1])).astype(dtype),
                "temperature": 2.0,
                "kd_weight": 0.6,
                "label_smoothing": 0.1,
                "weights": rng.uniform(0, 2, n).astype(dtype),
            },
        ]
        for signal in signals:
            loss, grad = kernel.loss_gradient(params, X, Targets(n, dtype, **signal), l2=0.01)
            want, slope = reference.mlp_loss_gradient(params, sizes, activation, X, l2=0.01, **signal)
            close(loss, want, dtype)
            close(grad, slope, dtype)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "identity"])
def test_gradient_is_the_derivative(each_isa, activation):
    kernel, params = network((3, 5, 4, 3), activation, np.float64)
    rng = np.random.default_rng(2)
    X, labels, teacher = rng.normal(size=(20, 3)), rng.integers(-1, 3, 20).astype(np.int32), rng.normal(size=(20, 3))
    targets = Targets(20, np.float64, labels=labels, teacher_logits=teacher, temperature=3.0, kd_weight=0.7)
    _, grad = kernel.loss_gradient(params, X, targets, l2=0.1)
    for i in range(len(params)):
        step = np.zeros_like(params)
        step[i] = 1e-6
        slope = (
            kernel.loss_gradient(params + step, X, targets, l2=0.1)[0]
            - kernel.loss_gradient(params - step, X, targets, l2=0.1)[0]
        )
        assert grad[i] == pytest.approx(slope / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [1, 7, 32, 600])
@pytest.mark.parametrize("sizes", [(4, 9, 3), (4, 32, 16, 3)])
def test_epochs_are_the_definition(each_isa, kind, batch, sizes):
    kernel, params = network(sizes, "relu", np.float64)
    rng = np.random.default_rng(3)
    X, labels = rng.normal(size=(601, 4)), rng.integers(0, 3, 601).astype(np.int32)
    want = params.copy()
    optimizer = Optimizer(kind, kernel.n_parameters, np.float64)
    state = reference.OptimizerState(kind, np.zeros_like(params), np.zeros_like(params), 0, 0.9, 0.9, 0.999, 1e-8)
    for _ in range(2):
        order = rng.permutation(601)
        loss = kernel.epoch(params, optimizer, X, Targets(601, np.float64, labels=labels), order, batch, 0.01, l2=1e-3)
        expected = reference.mlp_epoch(want, state, sizes, "relu", X, order, batch, 0.01, 1e-3, labels=labels)
        assert loss == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(params, want, rtol=0, atol=1e-10)
    assert optimizer.step == state.step == 2 * -(-601 // batch)


def test_epoch_over_a_subset_leaves_the_other_rows_alone(each_isa):
    kernel, params = network((2, 4, 2), "relu", np.float32)
    X = np.full((6, 2), np.nan, np.float32)
    X[:3] = np.random.default_rng(4).normal(size=(3, 2))
    targets = Targets(6, np.float32, labels=np.zeros(6, np.int32))
    loss = kernel.epoch(params, Optimizer("sgd", len(params), np.float32), X, targets, np.array([2, 0, 1]), 2, 0.1)
    assert np.isfinite(loss)
    assert np.isfinite(params).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("sizes", SHAPES)
def test_predictor_is_the_forward_pass(each_isa, dtype, activation, sizes):
    _, params = network(sizes, activation, dtype)
    predict = PredictorCore(sizes, activation, dtype, params)
    for n in (1, 2, 31, 64, 200):
        X = np.random.default_rng(n).normal(size=(n, sizes[0])).astype(dtype)
        want = reference.softmax(reference.mlp_forward(params, sizes, activation, X))
        close(predict(X), want, dtype)
        close(predict(X[0]), want[0], dtype)
        out = np.empty((n, sizes[-1]), dtype)
        assert predict(X, out) is out
        assert predict(X, out=out) is out
        np.testing.assert_array_equal(predict.argmax(X), out.argmax(1))
        assert predict.argmax(X[0]) == predict(X[0]).argmax()


@pytest.mark.parametrize("sizes", [(20, 8, 3), (20, 8, 40)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_never_gives_a_confident_answer(each_isa, bad, sizes):
    _, params = network(sizes, "relu", np.float32)
    predict = PredictorCore(sizes, "relu", np.float32, params)
    X = np.zeros((70, 20), np.float32)
    for column in (0, 16, 19):
        X[:] = 0
        X[41, column] = bad
        p = predict(X)
        assert np.isnan(p[41]).all()
        assert np.isfinite(np.delete(p, 41, axis=0)).all()
        assert np.isnan(predict(X[41])).all()
        assert predict.argmax(X[41]) == predict.argmax(X)[41] == -1
    with pytest.raises(ValueError, match="1 of 70 rows"):
        PredictorCore(sizes, "relu", np.float32, params, on_nan="raise")(X)


def test_predictor_is_shared_between_threads(each_isa):
    sizes = (8, 64, 32, 3)
    _, params = network(sizes, "relu", np.float32)
    predict = PredictorCore(sizes, "relu", np.float32, params)
    rows = np.random.default_rng(5).normal(size=(4, 300, 8)).astype(np.float32)
    want = [np.array([predict(x) for x in part]) for part in rows]
    got = [None] * 4

    def work(i):
        got[i] = np.array([predict(x) for _ in range(5) for x in rows[i]])[-300:]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(4):
        np.testing.assert_array_equal(got[i], want[i])


def test_errors():
    kernel, params = network((4, 8, 3), "relu", np.float32)
    X, targets = np.zeros((5, 4), np.float32), Targets(5, np.float32, labels=np.zeros(5, np.int32))
    optimizer = Optimizer("adam", kernel.n_parameters, np.float32)
    with pytest.raises(ValueError, match="sizes must be"):
        MLPKernel((4,), "relu", np.float32)
    with pytest.raises(ValueError, match="activation must be one of"):
        MLPKernel((4, 3), "swish", np.float32)
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        MLPKernel((4, 3), "relu", np.int32)
    with pytest.raises(ValueError, match="params must be a C-contiguous float32 array"):
        kernel.forward(params.astype(np.float64), X)
    with pytest.raises(ValueError, match="X must be"):
        kernel.forward(params, X[:, :3])
    with pytest.raises(ValueError, match="order must hold row indices"):
        kernel.epoch(params, optimizer, X, targets, np.array([5]), 2, 0.1)
    with pytest.raises(ValueError, match="label 3 is out of range"):
        kernel.loss_gradient(params, X, Targets(5, np.float32, labels=np.full(5, 3, np.int32)))
    with pytest.raises(ValueError, match="not both"):
        Targets(5, np.float32, labels=np.zeros(5, np.int32), values=np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match="optimizer must be"):
        Optimizer("lbfgs", 3, np.float32)
    predict = PredictorCore((4, 8, 3), "relu", np.float32, params)
    with pytest.raises(ValueError, match=r"x must have shape \(4,\)"):
        predict(np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="out must be a float32 array"):
        predict(X[0], np.empty(4, np.float32))
    with pytest.raises(ImportError, match="offer"):
        _native._use_isa("mmx")


def test_in_place_prediction_still_sees_the_bad_row(each_isa):
    sizes = (3, 8, 3)
    _, params = network(sizes, "relu", np.float32)
    predict = PredictorCore(sizes, "relu", np.float32, params)
    X = np.random.default_rng(6).normal(size=(70, 3)).astype(np.float32)
    X[5, 1] = -np.inf
    want = predict(X)
    assert np.isnan(want[5]).all()
    np.testing.assert_array_equal(predict(X, X), want)
    memory = np.zeros(9, np.float32)
    with pytest.raises(ValueError, match="overlaps"):
        predict(memory[:3], memory[1:4])
