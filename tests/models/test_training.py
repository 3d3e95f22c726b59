"""The course of a fit: early stopping, schedules, several starts, progress, interruption, divergence."""

import numpy as np
import pytest

from fastkd.distill import TemperatureSchedule
from fastkd.models import ConvergenceWarning, MLPClassifier, MLPRegressor


def noisy(n=200, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, (X[:, 0] + rng.normal(size=n) > 0).astype(int)


def model(**changes):
    return MLPClassifier(**({"hidden": (8,), "epochs": 6, "random_state": 0, "n_iter_no_change": None} | changes))


def test_history_has_an_entry_an_epoch():
    X, y = noisy()
    fitted = model().fit(X, y, eval_set=noisy(seed=1))
    assert {key: len(values) for key, values in fitted.history_.items()} == {
        "loss": 6,
        "val_loss": 6,
        "val_score": 6,
        "learning_rate": 6,
    }
    assert fitted.n_iter_ == 6
    assert fitted.best_epoch_ == int(np.argmin(fitted.history_["val_loss"]))
    assert fitted.history_["val_score"][-1] == fitted.score(*noisy(seed=1))
    assert model().fit(X, y).best_epoch_ is None


def test_early_stopping_goes_back_to_the_best_epoch():
    X, y = noisy(100)
    settings = {"hidden": (64,), "learning_rate": 0.03, "patience": 3, "dtype": "float64"}
    stopped = model(epochs=300, early_stopping=True, **settings).fit(X, y, eval_set=noisy(seed=1))
    assert stopped.converged_
    assert stopped.n_iter_ == stopped.best_epoch_ + 1 + 3
    until_best = model(epochs=stopped.best_epoch_ + 1, **settings).fit(X, y)
    np.testing.assert_array_equal(stopped.parameters, until_best.parameters)


def test_the_validation_part_is_the_last_rows():
    X, y = noisy(100)
    held_out = model(early_stopping=True, validation_fraction=0.2).fit(X, y)
    explicit = model(early_stopping=True).fit(X[:80], y[:80], eval_set=(X[80:], y[80:]))
    np.testing.assert_array_equal(held_out.parameters, explicit.parameters)
    assert held_out.history_ == explicit.history_


def test_early_stopping_with_a_teacher_and_no_labels():
    X, _ = noisy(100)
    fitted = model(early_stopping=True).fit(X, teacher_logits=np.column_stack([-X[:, 0], X[:, 0]]))
    assert np.isfinite(fitted.history_["val_loss"]).all()
    assert 0.0 <= fitted.history_["val_score"][-1] <= 1.0


def test_early_stopping_needs_a_row_on_either_side():
    with pytest.raises(ValueError, match="rows to hold out"):
        model(early_stopping=True).fit([[0.0]], [1])


def test_unlabelled_rows_of_the_eval_set_are_passed_over():
    X, y = noisy()
    Xv, yv = noisy(seed=1)
    holes = yv.copy()
    holes[::2] = -1
    a = model().fit(X, y, eval_set=(Xv, holes))
    b = model().fit(X, y, eval_set=(Xv[1::2], yv[1::2]))
    assert a.history_ == b.history_


@pytest.mark.parametrize("bad", [5, (1, 2, 3), (np.zeros((2, 3)), [0, 1]), (np.zeros((2, 4)), [0, 7])])
def test_bad_eval_set(bad):
    with pytest.raises(ValueError):
        model().fit(*noisy(), eval_set=bad)


def test_training_ends_on_a_plateau():
    X = np.zeros((20, 1))
    fitted = model(epochs=1000, learning_rate=0.05, n_iter_no_change=4).fit(X, [0, 1] * 10)
    assert fitted.converged_
    assert fitted.n_iter_ < 300
    assert not model(epochs=5, n_iter_no_change=4).fit(*noisy()).converged_


def test_schedules_of_the_learning_rate():
    X, y = noisy()
    rates = {
        kind: np.array(model(epochs=8, lr_schedule=kind, learning_rate=0.5).fit(X, y).history_["learning_rate"]) / 0.5
        for kind in ("constant", "cosine", "step")
    }
    assert rates["constant"].tolist() == [1.0] * 8
    np.testing.assert_allclose(rates["step"], [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rates["cosine"][0] == 1.0
    assert rates["cosine"][4] == pytest.approx(0.5)
    assert (np.diff(rates["cosine"]) < 0).all()
    own = model(epochs=3, lr_schedule=lambda epoch: 2.0**-epoch, learning_rate=1e-3).fit(X, y)
    np.testing.assert_allclose(own.history_["learning_rate"], [1e-3, 5e-4, 2.5e-4])


def test_a_factor_of_zero_holds_the_weights_still():
    X, y = noisy()
    still = model(lr_schedule=lambda epoch: 0.0).fit(X, y)
    np.testing.assert_array_equal(still.parameters, model().initialize(4, 2).parameters)


def test_a_constant_temperature_schedule_is_the_temperature():
    X, y = noisy()
    logits = np.column_stack([-X[:, 0], X[:, 0]])
    a = model(temperature=2.0).fit(X, y, teacher_logits=logits)
    b = model(temperature=TemperatureSchedule("constant", start=2.0)).fit(X, y, teacher_logits=logits)
    c = model(temperature=TemperatureSchedule("linear", start=2.0, end=1.0, steps=6)).fit(X, y, teacher_logits=logits)
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert not np.array_equal(a.parameters, c.parameters)


def test_a_temperature_schedule_needs_logits():
    with pytest.raises(ValueError, match="needs teacher_logits"):
        model(temperature=TemperatureSchedule()).fit(np.zeros((2, 1)), soft_labels=[[0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_several_starts_give_the_best_and_the_same_for_any_workers(kind):
    X, y = noisy()
    settings = {"hidden": (4,), "epochs": 4, "random_state": 7}
    fits = [kind(n_init=4, workers=workers, **settings).fit(X, y) for workers in (1, 3, -1)]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0].parameters, other.parameters)
        assert fits[0].history_ == other.history_
    seeds = np.random.default_rng(7).integers(2**63, size=4)
    single = [
        kind(**(settings | {"random_state": np.random.default_rng(seed)})).fit(X, y).history_["loss"][-1]
        for seed in seeds
    ]
    assert fits[0].history_["loss"][-1] == min(single)


def test_verbose_prints_a_line_an_epoch(capsys):
    X, y = noisy()
    model(verbose=True).fit(X, y, eval_set=(X, y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("epoch 3/6  loss 0.")
    assert "val_loss" in lines[2]
    model().fit(X, y)
    assert capsys.readouterr().out == ""


class InterruptAt:
    def __init__(self, epoch):
        self.epoch = epoch

    def __call__(self, epoch):
        if epoch == self.epoch:
            raise KeyboardInterrupt
        return 1.0


@pytest.mark.parametrize("options", [{}, {"n_init": 3}, {"n_init": 3, "workers": 3}])
def test_ctrl_c_leaves_a_usable_model(options):
    X, y = noisy()
    fitted = model(lr_schedule=InterruptAt(3), epochs=50, **options)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, y)
    assert 1 <= fitted.n_iter_ <= 3
    assert fitted.predict_proba(X).shape == (200, 2)
    if not options:
        np.testing.assert_array_equal(fitted.parameters, model(epochs=3).fit(X, y).parameters)


def test_divergence_keeps_the_last_finite_weights():
    X, y = noisy()
    wild = MLPRegressor(optimizer="sgd", learning_rate=1e20, epochs=5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Lower learning_rate"):
        wild.fit(X, y.astype(float))
    assert np.isfinite(wild.parameters).all()
    assert np.isfinite(wild.predict(X)).all()
    before = wild.initialize(4, 1).parameters
    with pytest.raises(ValueError, match="not a number"):
        wild.partial_fit(1e30 * X, y)
    np.testing.assert_array_equal(wild.parameters, before)


BAD = {
    "hidden": [(0,), 5, "32", (2.5,), (True,)],
    "activation": ["sigmoid", None],
    "optimizer": ["lbfgs"],
    "learning_rate": [0.0, -1.0, np.nan, np.inf, "1"],
    "batch_size": [0, 1.5],
    "epochs": [0, "5"],
    "l2": [-1e-3, np.nan],
    "temperature": [0.0, -1.0, np.inf, np.nan, None, lambda epoch: 0.0],
    "kd_weight": [-0.1, 1.1, np.nan],
    "label_smoothing": [-0.1, 1.0],
    "validation_fraction": [0.0, 1.0],
    "patience": [0],
    "dtype": ["float16", "int32", "text", None],
    "momentum": [1.0, -0.1],
    "lr_schedule": ["linear", None, lambda epoch: -1.0],
    "n_init": [0],
    "tol": [-1.0],
    "n_iter_no_change": [0],
    "workers": [0, -2],
    "random_state": ["seed"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_hyper_parameters_are_named(name, value):
    X, y = noisy(20)
    with pytest.raises((ValueError, TypeError)) as caught:
        model(**{name: value}).fit(X, y)
    if name != "random_state":
        assert name in str(caught.value)


@pytest.mark.parametrize("changes", [{"loss": "absolute"}, {"quantile": 0.0}, {"quantile": 1.0}])
def test_bad_loss_of_the_regressor(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        MLPRegressor(**changes).fit(*noisy(20))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_loss_that_is_no_number_leaves_the_optimizer_as_it_was(optimizer):
    X, y = noisy(60)
    one, other = (model(optimizer=optimizer, random_state=0).fit(X, y) for _ in range(2))
    with pytest.raises(ValueError, match="not a number"):
        one.partial_fit(np.full_like(X, 3e38), y)
    other._run.rng.permutation(len(X))  # what the lost pass drew
    np.testing.assert_array_equal(one.partial_fit(X, y).parameters, other.partial_fit(X, y).parameters)
