"""Rules of byzfl, Flower and krum where their definitions are ours, and where they differ, how."""

import importlib

import numpy as np
import pytest

from fastkd import aggregate

pytestmark = pytest.mark.peers
N, D, F = 17, 200, 3


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((N, D))


@pytest.fixture
def byzfl():
    return pytest.importorskip(
        "byzfl", reason="byzfl (or torchvision, which it imports) is not installed", exc_type=ImportError
    )


@pytest.fixture
def flower():
    return pytest.importorskip("flwr.server.strategy.aggregate", reason="flwr is not installed", exc_type=ImportError)


@pytest.fixture
def krum():
    """The rule of that module and class of the package krum, on an array."""
    torch = pytest.importorskip("torch")
    pytest.importorskip(
        "krum.primitives.aggregators", reason="krum (for Python >= 3.12) is not installed", exc_type=ImportError
    )

    def call(module, name, X, **options):
        rule = getattr(importlib.import_module(f"krum.primitives.aggregators.{module}"), name)
        return rule.aggregate(torch.from_numpy(X), **options).numpy()

    return call


def as_results(X):
    """Updates as Flower passes them: layers and a number of examples."""
    return [([x[:50].reshape(5, 10), x[50:]], 1) for x in X]


def flat(layers):
    return np.concatenate([a.ravel() for a in layers])


def test_byzfl_by_coordinate(byzfl, X):
    np.testing.assert_allclose(aggregate.mean(X), byzfl.Average()(X), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(aggregate.median(X), byzfl.Median()(X), rtol=1e-12)
    np.testing.assert_allclose(aggregate.median(X[1:]), byzfl.Median()(X[1:]), rtol=1e-12)  # even
    np.testing.assert_allclose(aggregate.trimmed_mean(X, F), byzfl.TrMean(F)(X), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(aggregate.meamed(X, F), byzfl.Meamed(F)(X), rtol=1e-12, atol=1e-14)


def test_torch_takes_the_lower_middle_of_an_even_number(X):
    torch = pytest.importorskip("torch")
    even = torch.from_numpy(X[1:])
    lower = torch.median(even, dim=0).values.numpy()
    np.testing.assert_array_equal(lower, np.sort(X[1:], axis=0)[(N - 2) // 2])
    assert (aggregate.median(even) > lower).all()


def test_byzfl_krum_counts_one_more_neighbor(byzfl, X):
    """Theirs averages n - f - 1 distances to others, ours of one client fewer that may lie; Multi-Krum keeps n - f."""
    np.testing.assert_array_equal(aggregate.krum(X, F), byzfl.Krum(F + 1)(X))
    scores = aggregate.krum_scores(X, F - 1)
    np.testing.assert_array_equal(byzfl.Krum(F)(X), X[np.argmin(scores)])
    best = np.argsort(scores)[: N - F]
    np.testing.assert_allclose(byzfl.MultiKrum(F)(X), X[best].mean(axis=0), rtol=1e-12, atol=1e-14)


def test_byzfl_centers(byzfl, X):
    np.testing.assert_allclose(
        aggregate.centered_clipping(X, 5.0, iterations=3),
        byzfl.CenteredClipping(L=3, tau=5.0)(X),
        rtol=1e-10,
        atol=1e-12,
    )
    near = byzfl.GeometricMedian(nu=1e-9, T=300)(X)
    np.testing.assert_allclose(aggregate.geometric_median(X), near, rtol=1e-6, atol=1e-9)
    three = byzfl.GeometricMedian()(X)  # as it comes: three steps from 0

    def cost(y):
        return np.linalg.norm(X - y, axis=1).sum()

    assert cost(aggregate.geometric_median(X)) <= min(cost(near) * (1 + 1e-12), cost(three))


def test_byzfl_mixing(byzfl, X):
    np.testing.assert_allclose(aggregate.nearest_neighbor_mixing(X, F), byzfl.NNM(F)(X), rtol=1e-10, atol=1e-13)


def test_byzfl_lets_a_client_that_is_not_a_number_in(byzfl, X):
    X[5, 7] = np.nan
    assert np.isnan(byzfl.Median()(X)[7])
    assert np.isfinite(aggregate.median(X)).all()
    assert aggregate.krum(X, F, return_info=True)[1].rejected.tolist() == [5]


def test_flower(flower, X):
    results = as_results(X)
    np.testing.assert_allclose(aggregate.mean(X), flat(flower.aggregate(results)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(aggregate.median(X), flat(flower.aggregate_median(results)), rtol=1e-12)
    trimmed = flat(flower.aggregate_trimmed_avg(results, (F + 0.5) / N))  # a share, of which it takes the whole part
    np.testing.assert_allclose(aggregate.trimmed_mean(X, F), trimmed, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(aggregate.krum(X, F), flat(flower.aggregate_krum(results, F, 0)))
    many = flat(flower.aggregate_krum(results, F, N - F - 2))
    np.testing.assert_allclose(aggregate.multi_krum(X, F), many, rtol=1e-12, atol=1e-14)


def test_flower_bulyan(flower, X):
    """Theirs, too, counts neighbors among the clients that are left, one at least."""
    theirs = flat(flower.aggregate_bulyan(as_results(X), F, flower.aggregate_krum, to_keep=0))
    np.testing.assert_allclose(aggregate.bulyan(X, F), theirs, rtol=1e-10, atol=1e-13)


def test_flower_weighs_multi_krum_by_what_clients_claim(flower, X):
    results = as_results(X)
    chosen = aggregate.multi_krum(X, F, return_info=True)[1].selected
    greedy = int(chosen[0])
    results[greedy] = (results[greedy][0], 10**12)
    np.testing.assert_allclose(flat(flower.aggregate_krum(results, F, N - F - 2)), X[greedy], atol=1e-9)


def test_krum_package(krum, X):
    close = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(aggregate.mean(X), krum("average", "Average", X), **close)
    np.testing.assert_allclose(aggregate.median(X), krum("median", "Median", X), **close)
    np.testing.assert_allclose(aggregate.trimmed_mean(X, F), krum("trimmed_mean", "TrimmedMean", X, f=F), **close)
    np.testing.assert_array_equal(aggregate.krum(X, F), krum("krum", "Krum", X, n=N, f=F))
    many = krum("multikrum", "MultiKrum", X, n=N, f=F, m=N - F - 2)
    np.testing.assert_allclose(aggregate.multi_krum(X, F), many, **close)


def test_krum_package_stops_the_geometric_median_at_a_distance(krum, X):
    """Theirs floors distances at 0.1, which changes nothing while all are larger, and stops at steps of 1e-6."""
    theirs = krum("geometric_median", "GeometricMedian", X, n=N, f=F, tol=0.0, max_iter=300)
    np.testing.assert_allclose(aggregate.geometric_median(X), theirs, rtol=1e-6, atol=1e-8)


def test_krum_package_keeps_two_fewer_for_bulyan(krum, X):
    """n - 2f - 2 choices, then a trimmed mean; ours are n - 2f, then the mean around their median."""
    theirs = krum("bulyan", "Bulyan", X, n=N, f=F, m=1)
    assert np.abs(aggregate.bulyan(X, F) - theirs).max() > 1e-3
