"""Every method: shapes, labels, seeds, and that its rows train a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.condense import METHODS, condense
from fastkd.models import MLPClassifier, MLPRegressor

LEARNT = ("gradient_matching", "distribution_matching", "trajectory_matching", "kip", "unrolled", "feature_alignment")
QUICK = {
    "gradient_matching": {"iterations": 40, "outer": 2, "inner": 5},
    "distribution_matching": {"iterations": 100},
    "trajectory_matching": {"iterations": 40, "experts": 2, "epochs": 6},
    "kip": {"iterations": 30, "batch_size": 300},
    "unrolled": {"iterations": 40, "steps": 10},
    "feature_alignment": {"iterations": 40, "learning_rate": 0.1},
}


def score(small, X, y, seeds=2):
    """Accuracy of perceptrons trained on a condensed set."""
    options = {"hidden": (32,), "epochs": 200, "learning_rate": 0.01, "n_iter_no_change": None}
    return np.mean([small.fit(MLPClassifier(random_state=s, **options)).score(X, y) for s in range(seeds)])


@pytest.mark.parametrize("method", [m for m in METHODS if m != "linear_sketch"])
def test_rows_of_each_class_that_train_a_model(blobs, method):
    X, y = blobs
    names = np.array(["down", "flat", "up"])
    small = condense(X, names[y], method=method, per_class=4, random_state=0, **QUICK.get(method, {}))
    assert small.X.shape == (12, 4)
    assert small.y.tolist() == ["down"] * 4 + ["flat"] * 4 + ["up"] * 4
    assert np.isfinite(small.X).all()
    assert small.info["method"] == method
    assert score(small, X, names[y]) > (0.6 if method == "random" else 0.75)  # four random rows may be unlucky
    again = condense(X, names[y], method=method, per_class=4, random_state=0, **QUICK.get(method, {}))
    np.testing.assert_array_equal(small.X, again.X)


@pytest.mark.parametrize("method", ["random", "kmedoids", "herding", "kcenter"])
def test_coresets_are_rows_of_their_class(blobs, method):
    X, y = blobs
    small = condense(X, y, method=method, per_class=5, random_state=1)
    for row, label in zip(small.X, small.y):
        assert y[np.flatnonzero((row == X).all(axis=1))[0]] == label
    assert len(np.unique(small.X, axis=0)) == 15


@pytest.mark.parametrize("method", LEARNT)
def test_the_loss_falls(blobs, method):
    X, y = blobs
    options = QUICK[method] | {"iterations": 60, "learning_rate": 0.02}
    small = condense(X, y, method=method, per_class=4, random_state=0, **options)
    loss = small.history["loss"]
    assert np.mean(loss[-15:]) < np.mean(loss[:5])


@pytest.mark.parametrize(
    "model", ["softmax", "linear", "ridge", "mlp", (16, 8), MLPClassifier(hidden=(8,), activation="gelu")]
)
@pytest.mark.parametrize("method", ["gradient_matching", "unrolled", "distribution_matching", "trajectory_matching"])
def test_models_of_any_depth(blobs, method, model):
    X, y = blobs
    options = QUICK[method] | {"iterations": 5, "learning_rate": 0.01}
    small = condense(X, y, method=method, per_class=2, model=model, random_state=0, **options)
    assert np.isfinite(small.X).all()
    assert len(small.history["loss"]) == 5


@pytest.mark.parametrize("method", ["gradient_matching", "unrolled", "kip"])
def test_learnt_labels_are_distributions(blobs, method):
    X, y = blobs
    options = QUICK[method] | {"learning_rate": 0.02}
    small = condense(X, y, method=method, per_class=3, learn_labels=True, random_state=0, **options)
    np.testing.assert_allclose(small.soft_labels.sum(axis=1), 1, rtol=1e-6)
    assert (small.soft_labels > 0).all()
    assert (small.soft_labels.argmax(axis=1) == small.y).mean() > 0.7
    assert score(small, X, y) > 0.75


@pytest.mark.parametrize("distance", ["rowwise", "global", "mse"])
@pytest.mark.parametrize("init", ["real", "noise", "centroids"])
def test_distances_and_starts_of_gradient_matching(blobs, distance, init):
    X, y = blobs
    options = {"distance": distance, "init": init, "iterations": 20, "learning_rate": 0.01, "outer": 1}
    assert np.isfinite(condense(X, y, per_class=2, random_state=0, **options).X).all()


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m not in ("linear_sketch", "distribution_matching", "feature_alignment")]
)
def test_regression(method):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=300)
    options = QUICK.get(method, {}) | ({"learning_rate": 0.02} if method in LEARNT else {})
    if method == "trajectory_matching":
        options |= {"iterations": 200, "epochs": 60, "steps": 40}  # to the end of the training
    small = condense(
        X, y, method=method, per_class=30, model="linear" if method in LEARNT else None, random_state=0, **options
    )
    assert small.X.shape == (30, 3)
    assert small.y.shape == (30,)
    model = small.fit(MLPRegressor(hidden=(), epochs=500, learning_rate=0.02, random_state=0))
    assert model.score(X, y) > 0.8


def test_a_teacher_labels_the_condensed_rows(blobs):
    X, y = blobs
    teacher = MLPClassifier(hidden=(16,), epochs=50, random_state=0).fit(X, y)
    small = condense(X, y, method="centroids", per_class=3, teacher=teacher, random_state=0)
    np.testing.assert_allclose(small.soft_labels, teacher.predict_proba(small.X), rtol=1e-6)
    assert score(small, X, y) > 0.75


def test_prior_weights_restore_the_class_shares(blobs):
    X, y = blobs
    keep = (y != 2) | (np.arange(600) % 5 == 0)
    small = condense(X[keep], y[keep], method="herding", per_class=4, class_weights="prior")
    share = np.bincount(y[keep]) / keep.sum()
    np.testing.assert_allclose([small.sample_weight[small.y == c].sum() / 12 for c in range(3)], share)


@given(st.integers(1, 12), st.integers(0, 2**31), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_centroids_are_means_of_their_rows(k, seed, d):
    from fastkd.condense.centroids import k_means, squared_distances

    X = np.random.default_rng(seed).normal(size=(60, d)) + 1e6  # a common offset must not cancel
    C = k_means(X, k, np.random.default_rng(seed))
    label = squared_distances(X, C).argmin(axis=1)
    for j in np.unique(label):
        np.testing.assert_allclose(C[j], X[label == j].mean(axis=0), rtol=1e-12)


@given(st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_no_single_swap_makes_medoids_better(k, seed):
    from fastkd.condense.kmedoids import k_medoids, medoid_objective

    X = np.random.default_rng(seed).normal(size=(30, 2))
    medoids = k_medoids(X, k, np.random.default_rng(seed))
    assert len(set(medoids.tolist())) == k
    value = medoid_objective(X, medoids)
    for j in range(k):
        for other in set(range(30)) - set(medoids.tolist()):
            swapped = medoids.copy()
            swapped[j] = other
            assert medoid_objective(X, swapped) >= value - 1e-9


def test_herding_and_k_center_by_hand():
    from fastkd.condense.coresets import herding, k_center

    X = np.array([[0.0], [1.0], [2.0], [10.0]])  # mean 3.25
    assert k_center(X, 3).tolist() == [2, 3, 0]
    assert herding(X, 2).tolist() == [
        2,
        1,
    ]  # 2, then the row nearest to 2 * 3.25 - 2 = 4.5 that is left: 1 (10 is 5.5 away)
    assert sorted(herding(X, 4).tolist()) == [0, 1, 2, 3]


def test_features_of_a_regression_cannot_be_matched(blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match="class by class"):
        condense(X, X[:, 0], method="distribution_matching", learning_rate=0.1)


def test_identical_rows():
    X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 10, axis=0)
    y = np.repeat([0, 1], 10)
    for method in ("centroids", "kmedoids", "kcenter", "herding", "random"):
        assert condense(X, y, method=method, per_class=3, random_state=0).X.shape == (6, 2)


def test_experts_are_trained_once_for_all_learning_rates(blobs, monkeypatch):
    X, y = blobs
    made = []
    make = np.lib.format.open_memmap
    monkeypatch.setattr(np.lib.format, "open_memmap", lambda *a, **k: made.append(k) or make(*a, **k))
    options = {"experts": 2, "epochs": 3, "iterations": 5}
    small = condense(X, y, method="trajectory_matching", per_class=1, random_state=0, workers=2, **options)
    assert [k["mode"] for k in made].count("w+") == 1
    assert len(small.history["search"]) == 3
    assert "trajectories" not in small.info["options"]
