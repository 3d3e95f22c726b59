"""What is published or can be proved about the methods, in quick versions."""

import numpy as np
import pytest

from fastkd.condense import condense, evaluate
from fastkd.condense.kip import KernelRidge, kip_loss, label_solve
from fastkd.condense.kmedoids import k_medoids, medoid_objective
from fastkd.models import MLPClassifier

MODEL = MLPClassifier(hidden=(64,), epochs=200, learning_rate=0.01, n_iter_no_change=None)


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_linear_sketch_has_every_gradient(outputs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 7)) * 10.0 ** rng.integers(-3, 3, 7)
    y = X @ rng.normal(size=(7, outputs)) + rng.normal(size=(5000, outputs))
    y = y[:, 0] if outputs == 1 else y
    small = condense(X, y, method="linear_sketch")
    assert small.X.shape == (7 + outputs, 7)
    for _ in range(10):
        w = rng.normal(size=(7, outputs)) if outputs > 1 else rng.normal(size=7)
        full, sketch = X.T @ (X @ w - y), small.X.T @ (small.X @ w - small.y)
        assert np.linalg.norm(full - sketch) <= 1e-12 * np.linalg.norm(full)
    ols = [np.linalg.lstsq(a, b, rcond=None)[0] for a, b in ((X, y), (small.X, small.y))]
    np.testing.assert_allclose(*ols, rtol=1e-10)


def test_the_linear_sketch_of_a_stream_is_that_of_the_array():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(1000, 3)), rng.normal(size=1000)
    blocks = ((X[i : i + 7], y[i : i + 7]) for i in range(0, 1000, 7))
    stream, whole = condense(blocks, method="linear_sketch"), condense(X, y, method="linear_sketch")
    np.testing.assert_allclose(stream.X.T @ stream.X, whole.X.T @ whole.X, rtol=1e-12, atol=1e-10)
    assert stream.info["rows_seen"] == 1000


def test_gradient_matching_beats_random_rows_and_not_centroids(digits):
    X, y, X_test, y_test = digits
    small = condense(X, y, method="gradient_matching", per_class=1, random_state=0, iterations=300, model=(64,))
    report = evaluate(small, X, y, X_test, y_test, model=MODEL, seeds=3)
    by_name = {t.name: report.accuracy(t) for t in report.trials}
    assert by_name["gradient_matching"] > by_name["random"] + 0.1
    assert by_name["centroids"] > by_name["gradient_matching"] - 0.02
    assert "not worth its cost here" in report.verdict


def test_distribution_matching_is_as_good_as_centroids_at_one_row(digits):
    X, y, X_test, y_test = digits
    small = condense(
        X,
        y,
        method="distribution_matching",
        per_class=1,
        random_state=0,
        iterations=150,
        learning_rate=0.05,
        batch_size=100,
    )
    report = evaluate(small, X, y, X_test, y_test, model=MODEL, seeds=2, baselines=["centroids"])
    by_name = {t.name: report.accuracy(t) for t in report.trials}
    assert abs(by_name["distribution_matching"] - by_name["centroids"]) < 0.05


def test_distribution_matching_through_a_linear_map_gives_the_class_means(blobs):
    X, y = blobs
    small = condense(
        X,
        y,
        method="distribution_matching",
        per_class=1,
        model=MLPClassifier(hidden=(16,), activation="identity"),
        batch_size=1000,
        learning_rate=0.02,
        iterations=600,
        random_state=0,
    )
    means = np.array([X[y == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(small.X, means, atol=0.02)


def test_medoids_are_as_good_as_the_best_of_all_starts(digits):
    X, y, _, _ = digits
    rows = X[y == 3].astype(np.float64)
    value = medoid_objective(rows, k_medoids(rows, 5, np.random.default_rng(0)))
    best = min(medoid_objective(rows, k_medoids(rows, 5, np.random.default_rng(s))) for s in range(10))
    assert value <= 1.01 * best


@pytest.mark.parametrize("kernel", ["rbf", "ntk1", "ntk2"])
def test_kip_gradients_are_derivatives(kernel):
    rng = np.random.default_rng(0)
    S, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    X, target = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    model = KernelRidge(kernel, 1e-2, 0.3)
    _, dS, dy = kip_loss(model, S, y, X, target)
    for array, slope in ((S, dS), (y, dy)):
        for at in np.ndindex(array.shape):
            before = array[at]
            values = []
            for step in (1e-5, -1e-5):
                array[at] = before + step
                values.append(kip_loss(model, S, y, X, target)[0])
            array[at] = before
            assert slope[at] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_label_solve_is_the_minimum():
    rng = np.random.default_rng(1)
    S, X, target = rng.normal(size=(6, 3)), rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    model = KernelRidge("ntk1", 1e-6, 0.0)
    y = label_solve(model, S, X, target)
    loss, _, dy = kip_loss(model, S, y, X, target)
    assert np.abs(dy).max() < 1e-7
    assert kip_loss(model, S, y + 0.01 * rng.normal(size=y.shape), X, target)[0] > loss


def test_kip_loss_falls_with_the_number_of_rows(digits):
    X, y, _, _ = digits
    ends = []
    for per_class in (1, 3, 6):
        small = condense(
            X, y, method="kip", kernel="rbf", per_class=per_class, iterations=15, batch_size=300, random_state=0
        )
        ends.append(np.mean(small.history["loss"][-5:]))
    assert ends[0] > ends[1] > ends[2]


def test_ntk_diagonal_and_symmetry():
    from fastkd.condense.kernels import ntk, ntk_diagonal

    X = np.random.default_rng(2).normal(size=(6, 4))
    for depth in (1, 2, 3):
        K = ntk(X, X, depth)
        np.testing.assert_allclose(K, K.T, rtol=1e-12)
        np.testing.assert_allclose(np.diag(K), ntk_diagonal(X, depth), rtol=1e-6)
        assert np.linalg.eigvalsh(K).min() > 0


def test_the_tangent_kernel_is_the_limit_of_wide_networks():
    from fastkd.condense.kernels import ntk

    rng, width = np.random.default_rng(3), 20_000
    X = rng.normal(size=(3, 4))
    W, b = rng.normal(size=(4, width)), rng.normal(size=width)
    v = rng.normal(size=width)
    z = X @ W * np.sqrt(2 / 4) + 0.1 * b
    h, on = np.maximum(z, 0), (z > 0) * v * np.sqrt(2 / width)
    empirical = 2 / width * h @ h.T + 0.01  # last weights and bias
    empirical += (on @ on.T) * (2 / 4 * X @ X.T + 0.01)  # first weights and biases
    np.testing.assert_allclose(ntk(X, X, 1), empirical, rtol=0.05, atol=0.02)
