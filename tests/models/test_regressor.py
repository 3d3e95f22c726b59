"""MLPRegressor: values, quantiles, several outputs, targets of any scale."""

import numpy as np
import pytest

from fastkd.models import MLPRegressor


def curve(n=300):
    X = np.random.default_rng(0).uniform(-2.0, 2.0, size=(n, 1))
    return X, np.sin(2.0 * X[:, 0])


def model(**changes):
    settings = {"hidden": (32,), "activation": "tanh", "learning_rate": 0.02, "epochs": 150, "random_state": 0}
    return MLPRegressor(**(settings | changes))


def test_learns_a_curve():
    X, y = curve()
    assert model().fit(X, y).score(X, y) > 0.98


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, 0.0), (10.0, 6e4)])
def test_targets_of_any_scale_train_alike(scale, offset):
    X, y = curve()
    plain = model(dtype="float64", epochs=20).fit(X, y)
    scaled = model(dtype="float64", epochs=20).fit(X, offset + scale * y)
    np.testing.assert_allclose((scaled.predict(X) - offset) / scale, plain.predict(X), atol=1e-6)
    np.testing.assert_allclose(scaled.history_["loss"], np.array(plain.history_["loss"]) * scale**2, rtol=1e-6)


def test_losses_are_in_units_of_the_targets():
    X, y = curve()
    y = 100.0 * y
    fitted = model(epochs=5).fit(X, y, eval_set=(X, y))
    expected = 0.5 * np.mean((fitted.predict(X) - y) ** 2)
    assert fitted.history_["val_loss"][-1] == pytest.approx(expected, rel=1e-4)
    assert fitted.gradient(X, y)[0] == pytest.approx(expected, rel=1e-4)
    assert fitted.history_["val_score"][-1] == pytest.approx(fitted.score(X, y), rel=1e-4)
    fitted = model(epochs=5, loss="quantile", quantile=0.3).fit(X, y, eval_set=(X, y))
    error = y - fitted.predict(X)
    expected = np.mean(np.maximum(0.3 * error, -0.7 * error))
    assert fitted.history_["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_a_share_of_quantile_lies_below_the_quantile(quantile):
    rng = np.random.default_rng(1)
    X = rng.uniform(-1.0, 1.0, size=(2000, 1))
    y = X[:, 0] + rng.exponential(size=2000)
    fitted = model(hidden=(8,), loss="quantile", quantile=quantile, epochs=60).fit(X, y)
    assert np.mean(y < fitted.predict(X)) == pytest.approx(quantile, abs=0.05)


def test_several_outputs():
    X, y = curve()
    Y = np.column_stack([y, 3.0 * X[:, 0] + 100.0])
    fitted = model().fit(X, Y)
    assert fitted.predict(X).shape == Y.shape
    assert fitted.score(X, Y) > 0.97
    assert model(epochs=1).fit(X, y).predict(X).shape == (300,)
    assert model(epochs=1).fit(X, y[:, None]).predict(X).shape == (300, 1)


def test_a_constant_target_is_learned_at_once():
    X, _ = curve(50)
    fitted = model(epochs=300, dtype="float64").fit(X, np.full(50, 7.0))
    np.testing.assert_allclose(fitted.predict(X), 7.0, atol=0.05)


def test_score_is_the_coefficient_of_determination():
    X, y = curve(50)
    fitted = model(epochs=2).fit(X, y)
    predicted = fitted.predict(X)
    expected = 1.0 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)
    assert fitted.score(X, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["squared", "quantile"])
def test_gradient_against_finite_differences(loss):
    rng = np.random.default_rng(5)
    X, Y, weights = rng.normal(size=(7, 2)), rng.normal(size=(7, 2)), rng.uniform(0.1, 1.0, size=7)
    fitted = model(hidden=(5,), loss=loss, quantile=0.3, l2=0.1, dtype="float64").initialize(2, 2)
    start = fitted.parameters
    _, grad = fitted.gradient(X, Y, sample_weight=weights)
    for i in range(len(grad)):
        shift = np.zeros_like(start)
        shift[i] = 1e-6
        losses = []
        for fitted.parameters in (start + shift, start - shift):
            losses.append(fitted.gradient(X, Y, sample_weight=weights)[0])
        assert grad[i] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_weights_of_zero_ratios_and_partial_fit():
    X, y = curve(60)
    weights = np.where(np.arange(60) % 3, 1.0, 0.0)
    quick = model(epochs=3, dtype="float64")
    kept = quick.fit(X[weights > 0], y[weights > 0]).parameters
    weighted = quick.fit(X, y, sample_weight=5.0 * weights).parameters
    np.testing.assert_allclose(weighted, kept, rtol=1e-9, atol=1e-12)
    before = quick.gradient(X, y)[0]
    for _ in range(30):
        quick.partial_fit(X, y)
    assert quick.gradient(X, y)[0] < before
    assert quick.n_iter_ == 33
    started = model().partial_fit(X, np.column_stack([y, y]))
    assert started.predict(X).shape == (60, 2)
    with pytest.raises(ValueError, match="2"):
        started.partial_fit(X, y)


@pytest.mark.parametrize(
    "y", [None, np.zeros(49), np.zeros((50, 2, 2)), np.full(50, np.nan), np.full(50, np.inf), ["a"] * 50]
)
def test_bad_targets(y):
    with pytest.raises((ValueError, TypeError)):
        model().fit(np.zeros((50, 1)), y)


def test_bad_eval_set():
    X, y = curve(50)
    for bad in (5, (X, np.zeros((50, 2))), (np.zeros((50, 2)), y)):
        with pytest.raises(ValueError):
            model().fit(X, y, eval_set=bad)


@pytest.mark.parametrize(("size", "dtype"), [(1e300, "float64"), (1e60, "float32")])
def test_targets_too_large_leave_no_infinite_weights(size, dtype):
    X = np.random.default_rng(0).normal(size=(20, 2))
    model = MLPRegressor((3,), epochs=1, dtype=dtype, random_state=0)
    with pytest.raises(ValueError, match="too large"):
        model.fit(X, size * X[:, 0])
    assert not hasattr(model, "n_features_in_")


def test_batch_size_beyond_any_table():
    X = np.random.default_rng(0).normal(size=(20, 2))
    models = [MLPRegressor((3,), epochs=2, batch_size=size, random_state=0).fit(X, X[:, 0]) for size in (20, 2**70)]
    assert np.array_equal(models[0].parameters, models[1].parameters)
