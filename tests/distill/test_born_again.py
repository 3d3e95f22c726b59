"""BornAgain: what each generation learns from, how one is picked, and what stays usable when a run breaks off."""

import copy
import pickle

import numpy as np
import pytest

from fastkd.distill import BornAgain, PeriodicLabels, TemperatureSchedule
from fastkd.distill.generations import VARIANTS, soft_targets
from fastkd.losses import softmax
from fastkd.models import MLPClassifier

RNG = np.random.default_rng


def small(**params):
    return MLPClassifier((8,), **{"learning_rate": 0.01, "epochs": 5, "dtype": "float64", **params})


def test_generation_zero_learns_from_the_labels_and_the_next_from_its_outputs(blobs):
    X, y, *_ = blobs
    ban = BornAgain(small(), 2, temperature=2.0, kd_weight=0.6, validation_fraction=0.0, random_state=1).fit(X, y)
    first, second = ban.generations_
    by_hand = small(random_state=first.random_state).fit(X, y)
    np.testing.assert_array_equal(first.parameters, by_hand.parameters)
    born = small(random_state=second.random_state, temperature=2.0, kd_weight=0.6)
    born.fit(X, y, teacher_logits=by_hand.predict_logits(X))
    np.testing.assert_array_equal(second.parameters, born.parameters)
    assert ban.history_["temperature"] == [None, 2.0]
    assert ban.history_["kd_weight"] == [None, 0.6]
    assert first.random_state != second.random_state


def test_ban_without_labels_does_not_see_them(blobs):
    X, y, *_ = blobs
    ban = BornAgain(small(), 2, variant="ban", temperature=1.0, validation_fraction=0.0, random_state=1).fit(X, y)
    first, second = ban.generations_
    born = small(random_state=second.random_state, temperature=1.0).fit(X, teacher_logits=first.predict_logits(X))
    np.testing.assert_array_equal(second.parameters, born.parameters)


def test_cwtm_weights_rows_by_the_teachers_confidence(blobs):
    X, y, *_ = blobs
    ban = BornAgain(small(), 2, variant="cwtm", validation_fraction=0.0, random_state=1).fit(X, y)
    first, second = ban.generations_
    confidence = first.predict_proba(X).max(axis=1)
    born = small(random_state=second.random_state).fit(X, y, sample_weight=confidence)
    np.testing.assert_array_equal(second.parameters, born.parameters)
    assert ban.history_["temperature"] == [None, None]


def test_label_smoothing_is_the_baseline_without_a_teacher(blobs):
    X, y, *_ = blobs
    ban = BornAgain(
        small(), 2, variant="label_smoothing", label_smoothing=0.2, validation_fraction=0.0, random_state=1
    ).fit(X, y)
    second = ban.generations_[1]
    by_hand = small(random_state=second.random_state, label_smoothing=0.2).fit(X, y)
    np.testing.assert_array_equal(second.parameters, by_hand.parameters)


def test_dkpp_keeps_the_largest_and_permutes_the_rest():
    logits = RNG(0).normal(size=(200, 5))
    mixed = soft_targets([logits], "dkpp", 3.0, 0.0, RNG(1))
    np.testing.assert_array_equal(mixed.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_array_equal(np.sort(mixed, axis=1), np.sort(logits, axis=1))
    assert (mixed != logits).any(axis=1).mean() > 0.8


def test_averaged_targets_soften_to_the_mean_of_the_softened():
    teachers = [RNG(i).normal(size=(50, 4)) for i in range(3)]
    target = soft_targets(teachers, "ban", 2.5, 0.0, RNG(0))
    want = np.mean([softmax(z, 2.5) for z in teachers], axis=0)
    np.testing.assert_allclose(softmax(target, 2.5), want, rtol=1e-12)


def test_noise_has_the_size_asked_for_and_none_changes_nothing():
    logits = RNG(0).normal(size=(2000, 5))
    noise = soft_targets([logits], "ban+l", 3.0, 0.7, RNG(1)) - logits
    assert noise.std() == pytest.approx(0.7, rel=0.03)
    np.testing.assert_array_equal(soft_targets([logits], "ban+l", 3.0, 0.0, RNG(1)), logits)


def test_schedules_go_by_generation(blobs):
    X, y, *_ = blobs
    ban = BornAgain(
        small(epochs=1),
        5,
        temperature=TemperatureSchedule("exponential", start=4.0, end=1.5, decay=0.5),
        kd_weight=PeriodicLabels(every=2, kd_weight=1.0, with_labels=0.2),
        learning_rate=[0.01, 0.02, 0.03, 0.04, 0.05],
        random_state=0,
    ).fit(X, y)
    assert ban.history_["temperature"] == [None, 4.0, 2.0, 1.5, 1.5]
    assert ban.history_["kd_weight"] == [None, 1.0, 0.2, 1.0, 0.2]
    assert (
        ban.history_["learning_rate"] == [g.learning_rate for g in ban.generations_] == [0.01, 0.02, 0.03, 0.04, 0.05]
    )


def test_validation_picks_the_generation_that_predicts(blobs):
    X, y, X_val, y_val = blobs
    ban = BornAgain(small(), 4, random_state=3).fit(X, y, eval_set=(X_val, y_val))
    scores = [g.score(X_val, y_val) for g in ban.generations_]
    assert ban.history_["val_accuracy"] == pytest.approx(scores)
    best = ban.best_generation_
    assert scores[best] == max(scores)
    np.testing.assert_array_equal(ban.predict_proba(X), ban.generations_[best].predict_proba(X))
    ban.set_params(predict_with="last")
    np.testing.assert_array_equal(ban.predict_proba(X), ban.generations_[-1].predict_proba(X))
    ban.set_params(predict_with="ensemble")
    np.testing.assert_allclose(
        ban.predict_proba(X), np.mean([g.predict_proba(X) for g in ban.generations_], axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(softmax(ban.predict_logits(X)), ban.predict_proba(X), rtol=1e-9)


def test_the_last_rows_are_held_out_and_never_trained_on(blobs):
    X, y, *_ = blobs
    held = BornAgain(small(), 2, validation_fraction=0.25, random_state=0).fit(X, y)
    given = BornAgain(small(), 2, random_state=0).fit(X[:450], y[:450], eval_set=(X[450:], y[450:]))
    np.testing.assert_array_equal(held.predict_logits(X), given.predict_logits(X))
    assert held.history_ == given.history_


def test_patience_ends_a_run_that_no_longer_gains(blobs):
    X, y, *_ = blobs
    right = small(epochs=100).fit(X, y)

    def rate(generation):
        return 0.01 if generation == 0 else 1e-12  # later generations learn nothing

    ban = BornAgain(small(epochs=30), 9, learning_rate=rate, patience=2, random_state=0)
    ban.fit(X, y, eval_set=(X, right.predict(X)))
    assert ban.best_generation_ == 0
    assert len(ban.generations_) == 3


def test_unlabelled_rows_are_learned_from_the_teacher(blobs):
    X, y, *_ = blobs
    some = np.where(np.arange(len(y)) < 100, y, -1)
    ban = BornAgain(small(), 2, validation_fraction=0.0, random_state=0).fit(X, some)
    first, second = ban.generations_
    by_hand = small(random_state=first.random_state).fit(X[:100], y[:100])
    np.testing.assert_array_equal(first.parameters, by_hand.parameters)
    born = small(random_state=second.random_state, temperature=3.0, kd_weight=0.7)
    born.fit(X, some, teacher_logits=first.predict_logits(X))
    np.testing.assert_array_equal(second.parameters, born.parameters)
    for variant in VARIANTS:
        BornAgain(small(epochs=1), 2, variant=variant, random_state=0).fit(X[:200], some[:200], eval_set=(X, y))


def test_starts_in_threads_give_the_same_and_the_best_is_kept(blobs):
    X, y, X_val, y_val = blobs
    fitted = [
        BornAgain(small(), 2, n_init=3, workers=workers, random_state=0).fit(X, y, eval_set=(X_val, y_val))
        for workers in (1, 3)
    ]
    assert fitted[0].history_ == fitted[1].history_
    np.testing.assert_array_equal(fitted[0].predict_logits(X), fitted[1].predict_logits(X))
    single = BornAgain(small(), 2, random_state=0).fit(X, y, eval_set=(X_val, y_val))
    assert max(fitted[0].history_["val_accuracy"]) >= max(single.history_["val_accuracy"])
    with pytest.raises(ValueError, match="validation part"):
        BornAgain(small(), 2, n_init=2, validation_fraction=0.0).fit(X, y)


def test_a_callback_that_raises_leaves_what_was_trained(blobs):
    X, y, *_ = blobs
    seen = []

    def callback(generation, model, history):
        seen.append((generation, model.score(X, y), len(history["accuracy"])))
        if generation == 1:
            raise RuntimeError("enough")

    ban = BornAgain(small(), 5, callback=callback, random_state=0)
    with pytest.raises(RuntimeError, match="enough") as error:
        ban.fit(X, y)
    assert "2 generation(s)" in error.value.__notes__[0]
    assert [k for k, *_ in seen] == [0, 1]
    assert len(ban.generations_) == len(ban.history_["accuracy"]) == 2
    assert ban.predict(X).shape == y.shape
    with pytest.raises(RuntimeError, match="enough"):
        BornAgain(small(), 3, callback=callback, n_init=2, workers=2, random_state=0).fit(X, y)


def test_a_fit_that_fails_at_once_leaves_the_old_one(blobs):
    X, y, *_ = blobs
    ban = BornAgain(small(), 2, uncertainty_head=True, random_state=0).fit(X, y)
    before = ban.predict(X)
    with pytest.raises(ValueError, match="learning_rate of generation 0"):
        ban.set_params(learning_rate=lambda k: -1.0).fit(X, y + 5)
    np.testing.assert_array_equal(ban.predict(X), before)
    ban.set_params(learning_rate=None, uncertainty_head=False).fit(X, y + 5)
    assert not hasattr(ban, "student_")
    assert set(ban.predict(X)) <= {5, 6, 7}


def test_ctrl_c_leaves_what_was_trained(blobs):
    X, y, *_ = blobs

    def interrupt(generation, model, history):
        raise KeyboardInterrupt

    ban = BornAgain(small(), 5, callback=interrupt, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        ban.fit(X, y)
    assert ban.score(X, y) > 0.3


@pytest.mark.parametrize(
    ("arguments", "data", "error", "message"),
    [
        ({"generations": 0}, {}, ValueError, "generations must be an integer >= 1"),
        ({"variant": "best"}, {}, ValueError, "variant must be one of"),
        ({"kd_weight": 1.5}, {}, ValueError, "kd_weight"),
        ({"kd_weight": lambda k: 7.0}, {}, ValueError, "kd_weight of generation 1"),
        ({"temperature": 0.0}, {}, ValueError, "temperature"),
        ({"learning_rate": [0.1]}, {}, ValueError, "one for each of 3 generations"),
        ({"noise": -1.0}, {}, ValueError, "noise"),
        ({"patience": 0}, {}, ValueError, "patience"),
        ({"callback": 3}, {}, TypeError, "callback"),
        ({"predict_with": "worst"}, {}, ValueError, "predict_with"),
        ({"model": MLPClassifier}, {}, TypeError, "unfitted classifier"),
        ({"model": "mlp"}, {}, TypeError, "unfitted classifier"),
        ({}, {"y": np.zeros(60, int)}, ValueError, "at least two classes"),
        ({}, {"y": np.full(60, -1)}, ValueError, "no class"),
        ({}, {"y": None}, ValueError, "requires y"),
        ({}, {"eval_set": (np.zeros((0, 5)), np.zeros(0, int))}, ValueError, "validation part is empty"),
        ({}, {"eval_set": (np.zeros((3, 5)), np.full(3, -1))}, ValueError, "validation part has no labelled row"),
        ({}, {"eval_set": (np.zeros((3, 4)), np.zeros(3, int))}, ValueError, "eval_set must have rows of shape"),
        ({}, {"X": np.zeros(60)}, ValueError, "2D array"),
        ({}, {"X": np.full((60, 5), np.nan)}, ValueError, "NaN"),
    ],
)
def test_bad_input_is_named(blobs, arguments, data, error, message):
    arguments = {"model": small(epochs=1), "generations": 3, "random_state": 0, **arguments}
    given = {"X": blobs[0][:60], "y": blobs[1][:60], **data}
    with pytest.raises(error, match=message):
        BornAgain(**arguments).fit(given.pop("X"), given.pop("y"), **given)


def test_parameters_of_the_model_are_reached_and_clones_are_fresh(blobs):
    X, y, *_ = blobs
    ban = BornAgain(small(), 2, random_state=0)
    assert ban.get_params()["model__hidden"] == (8,)
    assert "model__hidden" not in ban.get_params(deep=False)
    ban.set_params(model__epochs=2, generations=3)
    assert ban.model.epochs == 2
    assert ban.generations == 3
    ban.fit(X, y)
    assert not ban.model.__sklearn_is_fitted__()
    again = pickle.loads(pickle.dumps(ban))
    np.testing.assert_array_equal(again.predict_proba(X), ban.predict_proba(X))
    np.testing.assert_array_equal(copy.deepcopy(ban).predict(X), ban.predict(X))
    with pytest.raises(ValueError, match="no parameter"):
        ban.set_params(generation=3)


def test_labels_of_any_kind_come_back(blobs):
    X, y, X_val, y_val = blobs
    names = np.array(["down", "flat", "up"])
    ban = BornAgain(small(), 2, random_state=0).fit(X, names[y], eval_set=(X_val, names[y_val]))
    same = BornAgain(small(), 2, random_state=0).fit(X, y, eval_set=(X_val, y_val))
    np.testing.assert_array_equal(ban.predict(X), names[same.predict(X)])
    assert ban.score(X_val, names[y_val]) == same.score(X_val, y_val)


def test_early_stopping_of_the_model_uses_the_same_validation_part(blobs):
    X, y, X_val, y_val = blobs
    model = small(epochs=200, early_stopping=True, patience=3, learning_rate=0.05)
    ban = BornAgain(model, 2, random_state=0).fit(X, y, eval_set=(X_val, y_val))
    assert all(g.n_iter_ < 200 and len(g.history_["val_loss"]) == g.n_iter_ for g in ban.generations_)


def test_a_scaler_is_applied_once(blobs):
    from fastkd.features import Standardizer

    X, y, *_ = blobs
    raw = 100.0 + 10.0 * X
    scaler = Standardizer().fit(raw)
    ban = BornAgain(small(), 2, random_state=0).fit(scaler.transform(raw), y)
    want = ban.predict_proba(scaler.transform(raw))
    ban.scaler = scaler
    np.testing.assert_allclose(ban.predict_proba(raw), want, rtol=1e-9, atol=1e-12)
    assert ban.score(raw, y) > 0.5
    with pytest.raises(ValueError, match="5 features"):
        ban.predict(raw[:, :3])


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.4])
def test_no_generation_is_much_worse_than_the_first_on_digits(noise):
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    scores = []
    for seed in range(5):
        rng = RNG(seed)
        order = rng.permutation(len(X))
        X_all, y_all = X[order] / 16.0, y[order]
        labels = np.where(rng.random(1000) < noise, rng.integers(10, size=1000), y_all[:1000])
        ban = BornAgain(MLPClassifier((32,), learning_rate=3e-3, epochs=30), 5, random_state=seed)
        ban.fit(X_all[:1000], labels)
        scores.append([g.score(X_all[1000:], y_all[1000:]) for g in ban.generations_])
    mean = np.mean(scores, axis=0)
    assert mean.min() >= mean[0] - 0.02
