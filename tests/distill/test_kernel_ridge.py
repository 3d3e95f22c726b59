"""Self-distillation where its outcome is known: ridge regression (Mobahi, Farajtabar and Bartlett 2020)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.distill.kernel_ridge import ridge_closed_form, ridge_rounds
from fastkd.models import MLPRegressor


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 25), st.integers(1, 8), st.floats(1e-3, 10.0), st.integers(0, 2**31))
def test_rounds_are_the_closed_form(n, rounds, ridge, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    K = np.exp(-0.5 * ((X[:, None] - X[None]) ** 2).sum(-1))
    want = ridge_closed_form(K, y, ridge, rounds)
    assert want.shape == (rounds, n, 2)
    np.testing.assert_allclose(ridge_rounds(K, y, ridge, rounds), want, rtol=0, atol=1e-8)


def test_each_round_keeps_fewer_directions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1))
    fits = ridge_closed_form(K, np.sin(X[:, 0]) + rng.normal(size=40), 0.1, 6)
    lengths = np.linalg.norm(fits, axis=1)
    assert (np.diff(lengths) < 0).all()
    d, V = np.linalg.eigh(K)
    assert (np.abs(V.T @ fits[5])[d < 0.05] < 0.01 * np.abs(V.T @ fits[0])[d < 0.05] + 1e-12).all()


def test_a_linear_network_trained_on_itself_follows_the_closed_form():
    rng = np.random.default_rng(1)
    n, l2 = 60, 0.3
    X = rng.normal(size=(n, 3))
    X -= X.mean(axis=0)  # then the bias, which l2 leaves alone, has nothing to learn
    y = X @ rng.normal(size=3) + 0.3 * rng.normal(size=n)
    y -= y.mean()
    want = ridge_closed_form(X @ X.T, y, n * l2, 4)
    target = y
    for fitted in want:
        model = MLPRegressor(
            (), optimizer="sgd", learning_rate=0.3, batch_size=n, epochs=500, l2=l2, dtype="float64",
            n_iter_no_change=None, random_state=0,
        )  # fmt: skip
        target = model.fit(X, target).predict(X)
        np.testing.assert_allclose(target, fitted, rtol=0, atol=1e-8)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="symmetric"):
        ridge_rounds([[1.0, 2.0], [0.0, 1.0]], [1.0, 1.0], 1.0, 2)
    with pytest.raises(ValueError, match="ridge"):
        ridge_rounds(np.eye(2), [1.0, 1.0], 0.0, 2)
    with pytest.raises(ValueError, match="rounds"):
        ridge_closed_form(np.eye(2), [1.0, 1.0], 1.0, 0)
    with pytest.raises(ValueError, match="2 rows"):
        ridge_closed_form(np.eye(2), [1.0], 1.0, 1)
