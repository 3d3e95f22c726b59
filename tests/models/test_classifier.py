"""MLPClassifier: what it learns, from labels and from a teacher."""

import numpy as np
import pytest

from fastkd import reference
from fastkd.models import MLPClassifier

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 25, dtype=float)
XOR_LABELS = XOR[:, 0].astype(int) ^ XOR[:, 1].astype(int)


def spirals(n=300):
    turn = np.sqrt(np.linspace(0.05, 1.0, n // 2)) * 2.5 * np.pi
    arm = np.column_stack([turn * np.cos(turn), turn * np.sin(turn)]) / 4.0
    X = np.concatenate([arm, -arm])
    y = np.repeat([0, 1], n // 2)
    order = np.random.default_rng(0).permutation(n)
    return X[order], y[order]


def blobs(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    return 3.0 * np.eye(3)[y][:, :2] + rng.normal(size=(n, 2)), y


def small(**changes):
    settings = {"hidden": (6,), "activation": "tanh", "epochs": 3, "dtype": "float64", "random_state": 0}
    return MLPClassifier(**(settings | changes))


# -- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_learns_xor(activation):
    model = MLPClassifier((16,), activation=activation, learning_rate=0.02, epochs=150, random_state=1)
    assert model.fit(XOR, XOR_LABELS).score(XOR, XOR_LABELS) == 1.0


def test_learns_spirals_that_no_line_divides():
    X, y = spirals()
    line = MLPClassifier((), learning_rate=0.02, epochs=100, random_state=0).fit(X, y)
    model = MLPClassifier((32, 16), activation="tanh", learning_rate=0.02, epochs=200, random_state=0).fit(X, y)
    assert line.score(X, y) < 0.8
    assert model.score(X, y) > 0.98


def test_sgd_with_momentum_learns():
    model = MLPClassifier((16,), optimizer="sgd", learning_rate=0.1, epochs=150, random_state=1)
    assert model.fit(XOR, XOR_LABELS).score(XOR, XOR_LABELS) == 1.0


def test_a_student_of_soft_labels_alone_approaches_its_teacher():
    X, y = blobs(300)
    teacher = MLPClassifier((32,), learning_rate=0.01, random_state=0).fit(X, y)
    student = MLPClassifier((8,), learning_rate=0.02, epochs=200, random_state=1, n_iter_no_change=None)
    student.fit(X, teacher_logits=teacher.predict_logits(X))
    assert student.classes_.tolist() == [0, 1, 2]
    assert np.abs(student.predict_proba(X) - teacher.predict_proba(X)).mean() < 0.02


def test_the_default_model_learns_separable_blobs():
    X, y = blobs(600)
    assert MLPClassifier(random_state=0).fit(X, y).score(X, y) > 0.85


# -- the loss and its gradient ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "teacher", "soft", "both"])
def test_gradient_against_finite_differences(kind):
    rng = np.random.default_rng(5)
    X, y = blobs(9)
    y[2] = -1
    logits, soft = rng.normal(size=(9, 3)), rng.dirichlet(np.ones(3), size=9)
    arguments = {
        "labels": {"y": np.abs(y)},
        "teacher": {"teacher_logits": logits},
        "soft": {"soft_labels": soft},
        "both": {"y": y, "teacher_logits": logits, "sample_weight": rng.uniform(size=9)},
    }[kind]
    model = small(l2=0.05, label_smoothing=0.1, temperature=2.0, kd_weight=0.3).initialize(2, 3)
    start = model.parameters
    loss, grad = model.gradient(X, **arguments)
    numerical = np.empty_like(grad)
    for i in range(len(grad)):
        shift = np.zeros_like(start)
        shift[i] = 1e-6
        losses = []
        for model.parameters in (start + shift, start - shift):
            losses.append(model.gradient(X, **arguments)[0])
        numerical[i] = (losses[0] - losses[1]) / 2e-6
    np.testing.assert_allclose(grad, numerical, rtol=1e-5, atol=1e-8)
    assert loss > 0.0


def test_training_is_the_reference_training():
    X, y = blobs(50)
    model = small(epochs=4, batch_size=16, l2=0.01).fit(X, y)
    twin = small().initialize(2, 3)
    rng = np.random.default_rng(0)
    rng.uniform(size=2 * 6)  # the draws of the two weight matrices
    rng.uniform(size=6 * 3)
    parameters, n = twin.parameters, twin.n_parameters
    state = reference.OptimizerState("adam", np.zeros(n), np.zeros(n))
    losses = [
        reference.mlp_epoch(parameters, state, (2, 6, 3), "tanh", X, rng.permutation(50), 16, 1e-3, 0.01, labels=y)
        for _ in range(4)
    ]
    np.testing.assert_allclose(model.parameters, parameters, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=1e-10)


def test_without_a_teacher_kd_weight_and_temperature_do_not_matter():
    X, y = blobs()
    a = small(kd_weight=0.9, temperature=7.0).fit(X, y)
    b = small(kd_weight=0.0, temperature=1.0).fit(X, y)
    np.testing.assert_array_equal(a.parameters, b.parameters)


def test_without_labels_kd_weight_does_not_matter():
    X, _ = blobs()
    logits = np.random.default_rng(1).normal(size=(len(X), 3))
    a = small(kd_weight=0.1).fit(X, teacher_logits=logits)
    b = small(kd_weight=1.0).fit(X, np.full(len(X), -1), teacher_logits=logits)
    np.testing.assert_array_equal(a.parameters, b.parameters)


def test_soft_labels_at_the_temperature_equal_teacher_logits():
    X, y = blobs()
    logits = np.random.default_rng(1).normal(size=(len(X), 3))
    soft = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum(axis=1, keepdims=True)
    a = small(temperature=2.5).fit(X, y, teacher_logits=logits)
    b = small(temperature=2.5).fit(X, y, soft_labels=soft)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_teacher_logits_of_any_size_and_minus_infinity(dtype):
    X, y = blobs(30)
    huge = np.where(np.eye(3)[y] > 0, 1e300, -1e300)
    closed = np.where(np.eye(3)[y] > 0, 0.0, -np.inf)
    a = small(dtype=dtype).fit(X, teacher_logits=huge)
    b = small(dtype=dtype).fit(X, teacher_logits=closed)
    assert np.isfinite(a.parameters).all()
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-5)


# -- rows without labels ----------------------------------------------------------------------------------------------


def test_unlabelled_rows_learn_from_the_teacher_alone():
    X, y = blobs(8)
    y[:3] = -1
    logits = np.random.default_rng(1).normal(size=(8, 3))
    model = small(kd_weight=0.4, temperature=2.0).initialize(2, 3)
    loss, grad = model.gradient(X, y, teacher_logits=logits)
    expected = reference.mlp_loss_gradient(
        model.parameters, (2, 6, 3), "tanh", X, labels=y, teacher_logits=logits, temperature=2.0, kd_weight=0.4
    )
    assert loss == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-13)


def test_unlabelled_rows_without_a_teacher_are_refused():
    X, y = blobs(20)
    y[4:6] = -1
    with pytest.raises(ValueError, match="2 of 20 rows have y = -1"):
        small().fit(X, y)
    with pytest.raises(ValueError, match="no labelled row"):
        small().fit(X, np.full(20, -1))


def test_minus_one_and_one_are_classes():
    X = XOR
    assert small().fit(X, 2 * XOR_LABELS - 1).classes_.tolist() == [-1, 1]


def test_minus_one_is_a_class_if_classes_says_so():
    X, y = blobs()
    model = small().fit(X, y - 1, classes=[-1, 0, 1])
    assert model.classes_.tolist() == [-1, 0, 1]
    np.testing.assert_array_equal(model.parameters, small().fit(X, y).parameters)


def test_minus_one_beside_one_and_a_teacher_of_two_is_ambiguous():
    logits = np.zeros((len(XOR), 2))
    y = 2 * XOR_LABELS - 1
    with pytest.raises(ValueError, match="may be a class or mark unlabelled"):
        small().fit(XOR, y, teacher_logits=logits)
    assert small().fit(XOR, y, teacher_logits=logits, classes=[-1, 1]).classes_.tolist() == [-1, 1]
    assert small().fit(XOR, y, teacher_logits=logits, classes=[0, 1]).classes_.tolist() == [0, 1]


def test_columns_of_the_teacher_number_the_classes_that_y_does_not_show():
    X, y = blobs(40)
    y[y == 1] = 2
    assert small().fit(X, y, teacher_logits=np.zeros((40, 3))).classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="pass classes="):
        small().fit(X, y + 7, teacher_logits=np.zeros((40, 3)))
    names = np.array(["down", "flat", "up"])
    model = small().fit(X, names[y], teacher_logits=np.zeros((40, 3)), classes=names)
    assert model.predict(X).dtype.kind == "U"
    assert model.predict_proba(X).shape == (40, 3)


def test_score_passes_over_unlabelled_rows():
    X, y = blobs(40)
    model = small().fit(X, y)
    y_holes = y.copy()
    y_holes[::2] = -1
    assert model.score(X, y_holes) == model.score(X[1::2], y[1::2])


# -- weights and seeds ------------------------------------------------------------------------------------------------


def test_rows_of_weight_zero_are_as_good_as_absent():
    X, y = blobs(60)
    weights = np.ones(60)
    weights[::3] = 0.0
    keep = weights > 0
    X_spoiled = np.where(keep[:, None], X, 1e6)
    np.testing.assert_array_equal(
        small().fit(X_spoiled, y, sample_weight=weights).parameters, small().fit(X[keep], y[keep]).parameters
    )


def test_only_ratios_of_weights_count():
    X, y = blobs(60)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=60)
    a = small().fit(X, y, sample_weight=weights)
    b = small().fit(X, y, sample_weight=1e9 * weights)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-9)
    assert not np.allclose(a.parameters, small().fit(X, y).parameters, rtol=1e-6)


def test_a_weight_of_two_is_a_row_given_twice():
    X, y = blobs(20)
    weights = np.where(np.arange(20) < 5, 2.0, 1.0)
    model = small().initialize(2, 3)
    weighted = model.gradient(X, y, sample_weight=weights)
    repeated = model.gradient(np.concatenate([X, X[:5]]), np.concatenate([y, y[:5]]))
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-12)
    np.testing.assert_allclose(weighted[1], repeated[1], rtol=1e-9, atol=1e-14)


def test_same_seed_same_model():
    X, y = blobs()
    fit = small(dtype="float32", epochs=5).fit
    first = fit(X, y).parameters
    np.testing.assert_array_equal(first, fit(X, y).parameters)
    np.testing.assert_array_equal(
        first, small(dtype="float32", epochs=5, random_state=np.random.default_rng(0)).fit(X, y).parameters
    )
    assert not np.array_equal(first, small(dtype="float32", epochs=5, random_state=1).fit(X, y).parameters)


# -- one pass at a time, parameters -----------------------------------------------------------------------------------


def test_partial_fit_goes_on_where_fit_stopped():
    X, y = blobs()
    whole = small(epochs=5, n_iter_no_change=None).fit(X, y)
    pieces = small(epochs=3, n_iter_no_change=None).fit(X, y)
    pieces.partial_fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(whole.parameters, pieces.parameters)
    assert pieces.n_iter_ == 5
    assert len(pieces.history_["loss"]) == 5


def test_several_passes_are_several_calls():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
    teacher = {"teacher_logits": rng.normal(size=(90, 3))}
    one, many = (MLPClassifier((6,), kd_weight=0.5, random_state=0).initialize(4, 3) for _ in range(2))
    for _ in range(3):
        one.partial_fit(X, y, **teacher)
    many.partial_fit(X, y, passes=3, **teacher)
    np.testing.assert_array_equal(many.parameters, one.parameters)
    assert many.n_iter_ == one.n_iter_ == 3
    assert many.history_ == one.history_
    for wrong in (0, -1, 1.5):
        with pytest.raises((TypeError, ValueError), match="passes"):
            many.partial_fit(X, y, passes=wrong)


def test_partial_fit_starts_with_all_classes():
    X, y = blobs()
    model = small().partial_fit(X[y == 1], y[y == 1], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (len(X), 3)
    with pytest.raises(ValueError, match="classes must stay"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X, y + 1)


def test_initialize_gives_weights_without_data():
    model = small().initialize(4, 3)
    assert model.n_parameters == len(model.parameters) == 5 * 6 + 7 * 3
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(np.zeros((2, 4))).shape == (2, 3)
    np.testing.assert_array_equal(model.parameters, small().initialize(4, 3).parameters)


def test_parameters_are_settable_and_private():
    model, other = small().initialize(4, 3), small(random_state=1).initialize(4, 3)
    X = np.random.default_rng(0).normal(size=(5, 4))
    model.parameters = other.parameters
    np.testing.assert_array_equal(model.predict_logits(X), other.predict_logits(X))
    model.parameters[:] = 0.0  # a copy
    np.testing.assert_array_equal(model.parameters, other.parameters)


@pytest.mark.parametrize("bad", [np.zeros(3), np.full(51, np.nan), np.zeros((51, 1)), np.full(51, 1j)])
def test_bad_parameters(bad):
    with pytest.raises((ValueError, TypeError)):
        small().initialize(4, 3).parameters = bad


def test_one_descent_step_along_the_gradient_lowers_the_loss():
    X, y = blobs()
    model = small().initialize(2, 3)
    loss, grad = model.gradient(X, y)
    model.parameters = model.parameters - 0.01 * grad
    assert model.gradient(X, y)[0] < loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_have_the_dtype_of_the_model(dtype):
    X, y = blobs()
    model = small(dtype=dtype).fit(X, y)
    assert model.predict_logits(X).dtype == model.predict_proba(X).dtype == model.parameters.dtype == dtype
    assert model.gradient(X, y)[1].dtype == dtype
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X).argmax(axis=1))
