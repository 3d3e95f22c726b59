"""Matching of features, kernel ridge regression and steps of descent against their definitions and laws."""

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import MLPKernel, descend, feature_match, ridge_slopes, shorten

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-12}
NTK = {"gamma": 0.0, "weight_variance": 2.0, "bias_variance": 0.01}


def close(got, want, tolerance):
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1e-3, float(np.abs(want).max())))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(4, 3), (1, 1, 1), (8, 64, 32, 3), (3, 17, 33, 5), (16, 15, 16, 2)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
def test_feature_matching_is_its_definition(each_isa, activation, sizes, dtype):
    rng = np.random.default_rng(0)
    kernel = MLPKernel(sizes, activation, dtype)
    params = (rng.normal(size=kernel.n_parameters) / np.sqrt(max(sizes))).astype(dtype)
    X, reals = (rng.normal(size=(n, sizes[0])).astype(dtype) for n in (84, 100))
    starts, real_starts = np.array([0, 1, 14, 84]), np.array([0, 5, 6, 100])  # 70 and 94 rows: more than one block
    for all_layers in (False, True):
        got = feature_match(kernel, params, reals, real_starts, X, starts, all_layers)
        want = reference.feature_match(params, sizes, activation, reals, real_starts, X, starts, all_layers)
        for a, b in zip(got, want, strict=True):
            close(a, b, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("activation", ["tanh", "gelu", "identity"])
def test_feature_matching_is_the_derivative(activation):
    rng = np.random.default_rng(1)
    kernel = MLPKernel((3, 5, 4, 2), activation, np.float64)
    params, X, reals = rng.normal(size=kernel.n_parameters), rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    starts, real_starts = np.array([0, 2, 5]), np.array([0, 4, 7])
    for all_layers in (False, True):
        slope = feature_match(kernel, params, reals, real_starts, X, starts, all_layers)[1]
        for at in np.ndindex(X.shape):
            up, down = X.copy(), X.copy()
            up[at] += 1e-6
            down[at] -= 1e-6
            values = [feature_match(kernel, params, reals, real_starts, x, starts, all_layers)[0] for x in (up, down)]
            assert slope[at] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8)


def test_rows_that_are_the_real_ones_match():
    rng = np.random.default_rng(2)
    kernel = MLPKernel((3, 8, 2), "relu", np.float64)
    params, X, starts = rng.normal(size=kernel.n_parameters), rng.normal(size=(6, 3)), np.array([0, 2, 6])
    value, slope = feature_match(kernel, params, X, starts, X, starts)
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("change", ["empty group", "other groups", "open end", "strided"])
def test_feature_matching_refuses(change):
    kernel = MLPKernel((3, 8, 2), "relu", np.float64)
    params, X, starts, real_starts = np.zeros(kernel.n_parameters), np.zeros((6, 3)), [0, 2, 6], [0, 3, 6]
    if change == "empty group":
        starts = [0, 6, 6]
    elif change == "other groups":
        real_starts = [0, 6]
    elif change == "open end":
        starts = [0, 2, 5]
    else:
        X = np.zeros((6, 6))[:, ::2]
    with pytest.raises(ValueError, match=r"starts|X must be"):
        feature_match(kernel, params, np.zeros((6, 3)), np.array(real_starts), X, np.array(starts))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize(("m", "d", "C", "n"), [(1, 1, 1, 1), (5, 8, 3, 64), (17, 3, 1, 65), (30, 20, 17, 130)])
def test_kernel_ridge_is_its_definition(each_isa, m, d, C, n, depth, dtype):
    rng = np.random.default_rng(m)
    S, a, X, T = (rng.normal(size=s).astype(dtype) for s in ((m, d), (m, C), (n, d), (n, C)))
    options = NTK | {"depth": depth, "gamma": 0.7 / d}
    got, want = ridge_slopes(S, a, X, T, **options), reference.ridge_slopes(S, a, X, T, **options)
    for x, y in zip(got, want, strict=True):
        close(x, y, 30 * TOLERANCE[dtype])


def test_a_common_offset_leaves_the_gaussian_kernel_alone(each_isa):
    rng = np.random.default_rng(3)
    S, a, X, T = (rng.integers(-8, 8, s).astype(np.float32) for s in ((6, 2), (6, 1), (70, 2), (70, 1)))
    S[-1] -= S.sum(0)  # their mean is 0
    options, offset = NTK | {"depth": 0, "gamma": 0.01}, np.float32(2**16)
    for x, y in zip(ridge_slopes(S, a, X, T, **options), ridge_slopes(S + offset, a, X + offset, T, **options)):
        np.testing.assert_array_equal(x, y)


def test_support_on_a_target_row_gives_finite_slopes(each_isa):
    rng = np.random.default_rng(4)
    X, a = rng.normal(size=(9, 3)), rng.normal(size=(4, 2))
    for depth in (0, 1, 2):
        loss, da, dS = ridge_slopes(X[:4].copy(), a, X, np.zeros((9, 2)), **(NTK | {"depth": depth, "gamma": 0.3}))
        assert np.isfinite(loss)
        assert np.isfinite(da).all()
        assert np.isfinite(dS).all()


def test_kernel_ridge_refuses():
    S, a, X, T = np.ones((2, 3)), np.ones((2, 1)), np.ones((4, 3)), np.ones((4, 1))
    with pytest.raises(ValueError, match="depth must be"):
        ridge_slopes(S, a, X, T, **(NTK | {"depth": 17}))
    with pytest.raises(ValueError, match="target must be"):
        ridge_slopes(S, a, X, T[:3], **(NTK | {"depth": 1}))
    with pytest.raises(ValueError, match="must not be empty"):
        ridge_slopes(S, a, X[:0], T[:0], **(NTK | {"depth": 1}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_descent_by_hand(dtype):
    x, v, slope = (np.array(a, dtype) for a in ([[1, 2]], [[4, -2]], [[1, 1]]))
    descend(x, v, slope, 0.25, 0.5)
    np.testing.assert_array_equal(v, [[3, 0]])
    np.testing.assert_array_equal(x, [[0.25, 2]])
    with pytest.raises((TypeError, ValueError)):
        descend(x, v[:, :1], slope, 0.25, 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_rows_are_shortened(dtype):
    slope = np.array([[3, 4], [0, 1], [0, 0], [30, 40], [0, -2]], dtype)  # lengths 5, 1, 0, 50, 2: the median is 2
    shorten(slope, 2.0)
    np.testing.assert_allclose(slope, [[2.4, 3.2], [0, 1], [0, 0], [2.4, 3.2], [0, -2]], rtol=1e-6)
    even = np.array([[1], [3], [-100], [2]], dtype)  # the median of 1, 2, 3, 100 is 2.5
    shorten(even, 2.0)
    np.testing.assert_allclose(even, [[1], [3], [-5], [2]], rtol=1e-6)
    shorten(slope[:0], 2.0)
