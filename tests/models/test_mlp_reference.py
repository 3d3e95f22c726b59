"""The float64 definition of the MLP: its gradient against finite differences, its steps against hand values."""

import numpy as np
import pytest

from fastkd import reference

SIZES = (3, 5, 4, 3)
N_PARAMETERS = 4 * 5 + 6 * 4 + 5 * 3


def numerical_gradient(loss, parameters, step=1e-6):
    grad = np.empty_like(parameters)
    for i in range(len(parameters)):
        shift = np.zeros_like(parameters)
        shift[i] = step
        grad[i] = (loss(parameters + shift) - loss(parameters - shift)) / (2 * step)
    return grad


def signals(rng):
    labels = np.array([0, 1, 2, -1, 1, 0, 2])
    logits = rng.normal(size=(7, 3))
    soft = rng.dirichlet([1.0, 1.0, 1.0], size=7)
    values = rng.normal(size=(7, 3))
    weights = rng.uniform(size=7)
    return {
        "labels": {"labels": labels, "label_smoothing": 0.1},
        "teacher": {"teacher_logits": logits, "temperature": 4.0, "kd_weight": 1.0},
        "soft": {"soft": soft, "temperature": 2.0, "kd_weight": 1.0, "weights": weights},
        "both": {"labels": labels, "teacher_logits": logits, "temperature": 2.5, "kd_weight": 0.6, "weights": weights},
        "squared": {"values": values, "l2": 0.1},
        "quantile": {"values": values, "quantile": 0.2, "weights": weights},
    }


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.parametrize("kind", ["labels", "teacher", "soft", "both", "squared", "quantile"])
def test_gradient_is_the_derivative_of_the_loss(activation, kind):
    rng = np.random.default_rng(3)
    X, parameters = rng.normal(size=(7, 3)), 0.6 * rng.normal(size=N_PARAMETERS)
    signal = signals(rng)[kind]

    def loss(p):
        return reference.mlp_loss_gradient(p, SIZES, activation, X, **signal)[0]

    _, grad = reference.mlp_loss_gradient(parameters, SIZES, activation, X, **signal)
    np.testing.assert_allclose(grad, numerical_gradient(loss, parameters), rtol=1e-6, atol=1e-8)


def test_forward_by_hand():
    # One hidden relu unit: h = max(0, 2 * 3 - 1) = 5, then 5 * 4 + 7 = 27; the negated row gives h = 0.
    parameters = np.array([2.0, -1.0, 4.0, 7.0])
    outputs = reference.mlp_forward(parameters, (1, 1, 1), "relu", np.array([[3.0], [-3.0]]))
    assert outputs.tolist() == [[27.0], [7.0]]


def test_loss_of_zero_logits_by_hand():
    # Uniform student, teacher (1/2 log 3 : 0) at T = 0.5, that is probabilities (3/4, 1/4).
    loss, _ = reference.mlp_loss_gradient(
        np.zeros(4),
        (1, 2),
        "relu",
        np.ones((1, 1)),
        labels=np.array([0]),
        teacher_logits=np.array([[0.5 * np.log(3.0), 0.0]]),
        temperature=0.5,
        kd_weight=0.25,
    )
    kl = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert loss == pytest.approx(0.25 * 0.5**2 * kl + 0.75 * np.log(2.0), rel=1e-14)


def test_an_unlabelled_row_has_its_soft_term_only():
    rng = np.random.default_rng(0)
    X, parameters, logits = rng.normal(size=(1, 3)), rng.normal(size=N_PARAMETERS), rng.normal(size=(1, 3))
    soft = {"teacher_logits": logits, "temperature": 2.0, "kd_weight": 0.4}
    without = reference.mlp_loss_gradient(parameters, SIZES, "tanh", X, **soft)
    unlabelled = reference.mlp_loss_gradient(parameters, SIZES, "tanh", X, labels=np.array([-1]), **soft)
    assert without[0] == unlabelled[0]
    np.testing.assert_array_equal(without[1], unlabelled[1])


def test_the_first_adam_step_is_the_learning_rate_in_every_direction():
    state = reference.OptimizerState("adam", np.zeros(3), np.zeros(3))
    parameters = np.zeros(3)
    reference.adam_step(parameters, np.array([1e-3, -5.0, 100.0]), state, 0.1)
    np.testing.assert_allclose(parameters, [-0.1, 0.1, -0.1], rtol=1e-4)


def test_momentum_by_hand():
    state = reference.OptimizerState("sgd", np.zeros(1), np.zeros(1), momentum=0.5)
    parameters = np.array([1.0])
    reference.sgd_step(parameters, np.array([2.0]), state, 0.1)  # v = 2
    reference.sgd_step(parameters, np.array([2.0]), state, 0.1)  # v = 3
    assert parameters[0] == pytest.approx(1.0 - 0.2 - 0.3)


def test_an_epoch_is_its_batches_in_order():
    rng = np.random.default_rng(1)
    X, labels = rng.normal(size=(5, 3)), np.array([0, 1, 2, 0, 1])
    order = np.array([4, 2, 0, 1, 3])
    start = rng.normal(size=N_PARAMETERS)
    by_epoch = start.copy()
    state = reference.OptimizerState("adam", np.zeros(N_PARAMETERS), np.zeros(N_PARAMETERS))
    mean = reference.mlp_epoch(by_epoch, state, SIZES, "gelu", X, order, 2, 0.01, 0.1, labels=labels)

    by_hand, total = start.copy(), 0.0
    other = reference.OptimizerState("adam", np.zeros(N_PARAMETERS), np.zeros(N_PARAMETERS))
    for rows in ([4, 2], [0, 1], [3]):
        total += len(rows) * reference.mlp_loss_gradient(by_hand, SIZES, "gelu", X[rows], labels=labels[rows])[0]
        _, grad = reference.mlp_loss_gradient(by_hand, SIZES, "gelu", X[rows], labels=labels[rows], l2=0.1)
        reference.adam_step(by_hand, grad, other, 0.01)
    np.testing.assert_array_equal(by_epoch, by_hand)
    assert mean == pytest.approx(total / 5, rel=1e-14)
    assert state.step == 3
