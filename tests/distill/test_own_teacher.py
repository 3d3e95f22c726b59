"""BeYourOwnTeacher: exits are networks of their own, and learn from the right teacher."""

import pickle

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import ExitsKernel
from fastkd.distill import BeYourOwnTeacher, TemperatureSchedule
from fastkd.losses import softmax
from fastkd.models import MLPClassifier


def small(hidden=(9, 7, 8), **params):
    return MLPClassifier(hidden, **{"learning_rate": 0.01, "epochs": 5, "dtype": "float64", **params})


@pytest.mark.parametrize("direction", ["deepest", "shallow"])
@pytest.mark.parametrize("feature_weight", [0.0, 0.1])
def test_training_is_that_of_the_definition(blobs, direction, feature_weight):
    X, y, *_ = blobs
    net = BeYourOwnTeacher(
        small(epochs=1, batch_size=len(X), optimizer="sgd", l2=0.01),
        direction=direction,
        feature_weight=feature_weight,
        exit_weights=(0.5, 1.5, 1.0),
        random_state=0,
    )
    sizes = (5, 9, 7, 8, 3)
    start = net._start(net._kernel(sizes, "float64"), np.random.default_rng(0)).parameters
    hint = feature_weight if direction == "deepest" else 0.0
    _, grad = reference.exits_loss_gradient(
        start,
        sizes,
        "relu",
        X,
        labels=y,
        exit_weights=(0.5, 1.5, 1.0),
        feature_weight=hint,
        shallow_teaches=direction == "shallow",
        temperature=3.0,
        kd_weight=0.3,
        l2=0.01,
    )
    after = start - 0.01 * grad
    net.fit(X, y)
    trunk, heads, _ = reference.exits_heads(after, sizes, hint > 0)
    np.testing.assert_allclose(net.exits_[-1].parameters, trunk, rtol=0, atol=1e-12)
    layers = reference.mlp_layers(trunk, sizes)
    for depth, (W, b) in enumerate(heads, start=1):
        parts = [*(p.ravel() for pair in layers[:depth] for p in pair), W.ravel(), b]
        np.testing.assert_allclose(net.exits_[depth - 1].parameters, np.concatenate(parts), rtol=0, atol=1e-12)


def test_predictions_of_any_exit_and_of_all(blobs):
    X, y, *_ = blobs
    names = np.array(["down", "flat", "up"])
    net = BeYourOwnTeacher(small(epochs=20), random_state=0).fit(X, names[y])
    assert [len(e.hidden) for e in net.exits_] == [1, 2, 3]
    assert all(e.score(X, names[y]) > 0.6 for e in net.exits_)
    np.testing.assert_array_equal(net.predict_proba(X), net.exits_[2].predict_proba(X))
    for number in range(3):
        net.set_params(predict_with=number)
        np.testing.assert_array_equal(net.predict(X), net.exits_[number].predict(X))
    net.set_params(predict_with="ensemble")
    logits = np.mean([e.predict_logits(X) for e in net.exits_], axis=0)
    np.testing.assert_allclose(net.predict_proba(X), softmax(logits), rtol=1e-12)
    np.testing.assert_array_equal(net.exits_[0].predictor()(X[0]), net.exits_[0].predict_proba(X[:1])[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), net.predict_proba(X))
    net.set_params(predict_with=3)
    with pytest.raises(ValueError, match=r"an exit 0 \.\. 2"):
        net.predict(X)


def test_sure_rows_leave_early(blobs):
    X, y, *_ = blobs
    net = BeYourOwnTeacher(small(epochs=20), random_state=0).fit(X, y)
    labels, taken = net.predict_early(X, 0.8)
    assert set(taken) == {0, 1, 2}
    for number, exit in enumerate(net.exits_):
        np.testing.assert_array_equal(labels[taken == number], exit.predict(X[taken == number]))
        if number < 2:
            assert (exit.predict_proba(X[taken == number]).max(axis=1) >= 0.8).all()
            assert (exit.predict_proba(X[taken > number]).max(axis=1) < 0.8).all()
    np.testing.assert_array_equal(net.predict_early(X, 0.0)[1], 0)


@pytest.mark.parametrize("direction", ["deepest", "shallow"])
def test_pupils_learn_without_labels(blobs, direction):
    X, y, X_new, y_new = blobs
    weights = (0.1, 0.1, 1.0) if direction == "deepest" else (1.0, 1.0, 0.1)
    net = BeYourOwnTeacher(
        small(epochs=40), direction=direction, kd_weight=1.0, feature_weight=0.0, exit_weights=weights, random_state=0
    )
    net.fit(X, y)
    best = MLPClassifier((9, 7, 8), learning_rate=0.01, epochs=40, random_state=0).fit(X, y).score(X_new, y_new)
    pupils = net.exits_[:-1] if direction == "deepest" else net.exits_[-1:]
    assert min(pupil.score(X_new, y_new) for pupil in pupils) > best - 0.05


def test_hints_draw_the_layers_together(blobs):
    X, y, *_ = blobs
    sizes = (5, 9, 7, 8, 3)

    def left_over(feature_weight):
        net = BeYourOwnTeacher(small(epochs=30), feature_weight=feature_weight, random_state=0).fit(X, y)
        layers, hidden = reference.mlp_layers(net.exits_[-1].parameters, sizes), [X]
        for W, b in layers[:-1]:
            hidden.append(np.maximum(hidden[-1] @ W + b, 0.0))
        design = np.column_stack([hidden[1], np.ones(len(X))])
        best = design @ np.linalg.lstsq(design, hidden[-1], rcond=None)[0]
        return ((hidden[-1] - best) ** 2).sum() / ((hidden[-1] - hidden[-1].mean(axis=0)) ** 2).sum()

    assert left_over(3.0) < 0.9 * left_over(0.0)


def test_validation_starts_and_schedules(blobs):
    X, y, X_val, y_val = blobs
    schedule = TemperatureSchedule("linear", start=5.0, end=1.0, steps=5)
    model = small(n_init=2)
    runs = [
        BeYourOwnTeacher(model.set_params(workers=workers), temperature=schedule, random_state=0).fit(
            X, y, eval_set=(X_val, y_val)
        )
        for workers in (1, 2)
    ]
    np.testing.assert_array_equal(runs[0].predict_logits(X), runs[1].predict_logits(X))
    assert runs[0].history_["val_score"][-1] == pytest.approx(runs[0].exits_[-1].score(X_val, y_val))
    assert runs[0].exit_scores_ == [e.score(X_val, y_val) for e in runs[0].exits_]
    early = BeYourOwnTeacher(small(early_stopping=True, epochs=300, patience=3, learning_rate=0.05), random_state=0)
    assert early.fit(X, y).n_iter_ < 300


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": small((8,))}, ValueError, "two hidden layers"),
        ({"model": small(epochs=0)}, ValueError, "epochs"),
        ({"model": "mlp"}, TypeError, "unfitted classifier"),
        ({"direction": "up"}, ValueError, "direction"),
        ({"exit_weights": (1.0,)}, ValueError, "3 numbers"),
        ({"exit_weights": (1.0, -1.0, 1.0)}, ValueError, "each of exit_weights"),
        ({"feature_weight": -1.0}, ValueError, "feature_weight"),
        ({"predict_with": "best"}, ValueError, "predict_with"),
        ({"predict_with": True}, ValueError, "predict_with"),
    ],
)
def test_bad_input_is_named(blobs, arguments, error, message):
    with pytest.raises(error, match=message):
        BeYourOwnTeacher(**{"model": small(), **arguments}).fit(*blobs[:2])


def test_only_training_has_adapters():
    net = BeYourOwnTeacher(small((4, 6)), feature_weight=0.5)
    with_adapters = net._kernel((2, 4, 6, 3), "float32").n_parameters
    assert with_adapters == ExitsKernel((2, 4, 6, 3), "relu", "float32", (1, 1)).n_parameters + 5 * 6
