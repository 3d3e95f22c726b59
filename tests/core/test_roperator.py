"""The R operator and gradient matching against their definitions and finite differences, on every instruction set."""

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import MLPKernel, Targets, gradient_match, r_operator

SHAPES = [(4, 3), (1, 1, 1), (8, 64, 32, 3), (3, 17, 33, 5), (16, 15, 16, 17)]
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-10}
ACTIVATIONS = ["relu", "tanh", "gelu", "identity"]


def problem(sizes, activation, dtype, n, seed=0):
    rng = np.random.default_rng(seed)
    kernel = MLPKernel(sizes, activation, dtype)
    params = rng.normal(size=kernel.n_parameters).astype(dtype) / dtype(np.sqrt(max(sizes)))
    V = rng.normal(size=kernel.n_parameters).astype(dtype) / dtype(np.sqrt(max(sizes)))
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    return kernel, params, V, X, rng


def signals(sizes, dtype, n, rng):
    """(what the kernel gets, what the definition gets)"""
    labels = rng.integers(-1, sizes[-1], n).astype(np.int32)
    onehot = np.eye(sizes[-1])[labels] * (labels >= 0)[:, None]
    soft = rng.normal(size=(n, sizes[-1])).astype(dtype)  # free numbers, as learnt labels are
    values = rng.normal(size=(n, sizes[-1])).astype(dtype)
    weights = rng.uniform(0, 2, n).astype(dtype)
    return [
        ({"labels": labels}, {"soft": onehot}),
        ({"soft": soft, "kd_weight": 1.0, "weights": weights}, {"soft": soft, "weights": weights}),
        ({"values": values, "weights": weights}, {"values": values, "weights": weights}),
    ]


def close(got, want, dtype):
    want = np.asarray(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(np.abs(want).max(initial=0))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", SHAPES)
def test_the_kernel_is_its_definition(each_isa, dtype, activation, sizes):
    for n in (1, 17):
        kernel, params, V, X, rng = problem(sizes, activation, dtype, n)
        for given, plain in signals(sizes, dtype, n, rng):
            got = r_operator(kernel, params, V, X, Targets(n, dtype, **given), want_y=True)
            for a, b in zip(got, reference.r_operator(params, sizes, activation, X, V, **plain)):
                close(a, b, dtype)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "identity"])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_the_definition_is_the_derivative(activation, kind):
    sizes = (3, 5, 4, 3)
    _, params, V, X, rng = problem(sizes, activation, np.float64, 6)
    _, plain = signals(sizes, np.float64, 6, rng)[kind]
    _, grad, hv, dX, dY = reference.r_operator(params, sizes, activation, X, V, **plain)

    def at(params, X=X, plain=plain):
        return reference.r_operator(params, sizes, activation, X, V, **plain)

    h = 1e-5
    np.testing.assert_allclose((at(params + h * V)[1] - at(params - h * V)[1]) / (2 * h), hv, rtol=1e-6, atol=1e-8)
    assert (at(params + h * V)[0] - at(params - h * V)[0]) / (2 * h) == pytest.approx(grad @ V, rel=1e-7)
    key = "values" if "values" in plain else "soft"
    for r, c in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[r, c] = h
        slope = V @ (at(params, X + step)[1] - at(params, X - step)[1]) / (2 * h)
        assert dX[r, c] == pytest.approx(slope, rel=1e-6, abs=1e-9)
        up, down = ({**plain, key: plain[key] + s * step} for s in (1, -1))  # as wide as X here
        slope = V @ (at(params, X, up)[1] - at(params, X, down)[1]) / (2 * h)
        assert dY[r, c] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_hessian_is_symmetric(each_isa, activation):
    sizes = (4, 9, 3)
    kernel, params, V, X, rng = problem(sizes, activation, np.float64, 20)
    U = rng.normal(size=V.size)
    targets = Targets(20, np.float64, labels=rng.integers(0, 3, 20).astype(np.int32))
    assert U @ r_operator(kernel, params, V, X, targets)[2] == pytest.approx(
        V @ r_operator(kernel, params, U, X, targets)[2], rel=1e-10
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", ["rowwise", "global", "mse"])
@pytest.mark.parametrize("sizes", SHAPES)
def test_gradient_matching_is_its_definition(each_isa, dtype, distance, sizes):
    starts = np.array([0, 1, 12, 30])
    for activation in ("relu", "gelu"):
        kernel, params, _, X, rng = problem(sizes, activation, dtype, 30, seed=3)
        reals = rng.normal(size=(3, kernel.n_parameters)).astype(dtype)
        for given, plain in signals(sizes, dtype, 30, rng)[1:]:
            got = gradient_match(kernel, params, reals, X, Targets(30, dtype, **given), starts, distance, want_y=True)
            want = reference.gradient_match(params, sizes, activation, X, reals, starts, distance, **plain)
            for a, b in zip(got, want):
                np.testing.assert_allclose(a, b, rtol=0, atol=10 * TOLERANCE[dtype] * max(1, np.abs(b).max()))


def test_groups_larger_than_the_cache_block(each_isa):
    sizes, starts = (3, 10, 2), np.array([0, 300, 310])
    kernel, params, _, X, rng = problem(sizes, "tanh", np.float64, 310)
    reals, soft = rng.normal(size=(2, kernel.n_parameters)), rng.normal(size=(310, 2))
    targets = Targets(310, np.float64, soft=soft, kd_weight=1.0)
    got = gradient_match(kernel, params, reals, X, targets, starts, "rowwise", want_y=True)
    want = reference.gradient_match(params, sizes, "tanh", X, reals, starts, "rowwise", soft=soft)
    for a, b in zip(got, want):
        close(a, b, np.float64)


@pytest.mark.parametrize("distance", ["rowwise", "global", "mse"])
def test_matching_is_the_derivative_of_the_distance(distance):
    sizes, starts = (3, 6, 2), np.array([0, 2, 5])
    kernel, params, _, X, rng = problem(sizes, "gelu", np.float64, 5)
    reals, labels = rng.normal(size=(2, kernel.n_parameters)), np.array([0, 0, 1, 1, 1], np.int32)

    def value(X):
        return gradient_match(kernel, params, reals, X, Targets(5, np.float64, labels=labels), starts, distance)

    dX = value(X)[1]
    for r, c in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[r, c] = 1e-5
        slope = (value(X + step)[0] - value(X - step)[0]) / 2e-5
        assert dX[r, c] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_distance_to_itself_is_zero(each_isa):
    sizes, starts = (4, 12, 3), np.array([0, 10])
    kernel, params, V, X, rng = problem(sizes, "relu", np.float64, 10)
    targets = Targets(10, np.float64, labels=rng.integers(0, 3, 10).astype(np.int32))
    grad = r_operator(kernel, params, V, X, targets)[1]
    for distance in ("rowwise", "global", "mse"):
        value, dX, dY = gradient_match(kernel, params, grad[None], X, targets, starts, distance)
        assert abs(value) < 1e-2  # not 0: the epsilon in the denominator counts for units with a small gradient
        assert np.abs(dX).max() < 1e-2
        assert dY is None


def test_errors():
    kernel, params, V, X, _ = problem((4, 8, 3), "relu", np.float32, 5)
    labels = np.zeros(5, np.int32)
    targets = Targets(5, np.float32, labels=labels)
    with pytest.raises(ValueError, match="v must be a C-contiguous float32"):
        r_operator(kernel, params, V[:-1], X, targets)
    with pytest.raises(ValueError, match="no quantile"):
        r_operator(kernel, params, V, X, Targets(5, np.float32, labels=labels, label_smoothing=0.1))
    with pytest.raises(ValueError, match="not logits"):
        r_operator(kernel, params, V, X, Targets(5, np.float32, teacher_logits=np.zeros((5, 3), np.float32)))
    reals = np.zeros((2, kernel.n_parameters), np.float32)
    for starts in ([0, 5, 5], [0, 2, 4], [1, 2, 5], [5, 0, 5]):
        with pytest.raises(ValueError, match=r"starts|rows"):
            gradient_match(kernel, params, reals, X, targets, np.array(starts), "mse")
    with pytest.raises(ValueError, match="distance must be one of"):
        gradient_match(kernel, params, reals, X, targets, np.array([0, 2, 5]), "cosine")
