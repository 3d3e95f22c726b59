"""distill: what a teacher said and how it is taken; several teachers; values; class weights; the loss without T^2."""

import numpy as np
import pytest

from fastkd.distill import TakenAsProbabilities, TemperatureSchedule, distill
from fastkd.losses import softmax
from fastkd.models import MLPClassifier, MLPRegressor
from fastkd.reference.losses import distillation_rows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = np.digitize(X[:, 0] + 0.5 * X[:, 1], [-0.5, 0.5])
LOGITS = X @ RNG.normal(size=(3, 3))
PROBA = softmax(LOGITS)


def student(**changes):
    settings = {"hidden": (6,), "learning_rate": 0.02, "epochs": 4, "random_state": 0, "dtype": "float64"}
    return MLPClassifier(**(settings | changes))


def learned(teacher, **options):
    return distill(teacher, student(), X, Y, **options).parameters


@pytest.mark.parametrize("teacher", [PROBA, PROBA.astype(np.float32), PROBA.tolist(), lambda rows: PROBA])
def test_rows_that_are_probabilities_are_taken_so_and_it_says_so(teacher):
    with pytest.warns(TakenAsProbabilities, match='outputs="proba"'):
        guessed = learned(teacher)
    np.testing.assert_allclose(guessed, learned(LOGITS), atol=1e-5)
    np.testing.assert_array_equal(learned(teacher, outputs="proba"), guessed)


@pytest.mark.parametrize("teacher", [LOGITS, lambda rows: LOGITS])
def test_logits_stay_logits_without_a_word(teacher, recwarn):
    parameters = learned(teacher)
    assert not recwarn.list
    np.testing.assert_array_equal(parameters, learned(teacher, outputs="logits"))


def test_who_says_logits_means_it(recwarn):
    as_logits = learned(PROBA, outputs="logits")
    assert not recwarn.list
    assert not np.allclose(as_logits, learned(LOGITS), atol=1e-3)


def test_outputs_proba_refuses_what_is_none():
    for teacher in (LOGITS, lambda rows: LOGITS):
        with pytest.raises(ValueError, match=r"not negative|sum to 1"):
            learned(teacher, outputs="proba")
    with pytest.raises(ValueError, match="outputs must be one of"):
        learned(LOGITS, outputs="odds")


def test_a_teacher_with_other_features():
    raw = 100.0 * X + 7.0
    teacher = MLPClassifier((16,), epochs=10, random_state=0, scale="standard").fit(raw, Y)
    np.testing.assert_array_equal(learned(teacher, teacher_X=raw), learned(teacher.predict_logits(raw)))


def test_several_teachers_are_averaged_by_weight():
    other = softmax(RNG.normal(size=(300, 3)))
    mixed = learned([PROBA, other], teacher_weights=[3, 1], outputs="proba")
    np.testing.assert_allclose(mixed, learned(0.75 * PROBA + 0.25 * other, outputs="proba"), atol=1e-9)
    np.testing.assert_allclose(learned([PROBA, other], teacher_weights=[1, 0], outputs="proba"),
                               learned(PROBA, outputs="proba"), atol=1e-9)  # fmt: skip


def test_the_teacher_that_validates_best_is_taken():
    good = MLPClassifier((16,), epochs=30, learning_rate=0.01, random_state=0).fit(X, Y)
    bad = MLPClassifier((4,), epochs=1, random_state=0).fit(X, np.roll(Y, 1))
    held_out = RNG.normal(size=(100, 3))
    eval_set = held_out, np.digitize(held_out[:, 0] + 0.5 * held_out[:, 1], [-0.5, 0.5])
    for order in ([good, bad], [bad, good]):
        chosen = learned(order, teacher_weights="validation", eval_set=eval_set)
        np.testing.assert_array_equal(chosen, learned(good, eval_set=eval_set))
    with pytest.raises(ValueError, match="needs eval_set"):
        learned([good, bad], teacher_weights="validation")
    with pytest.raises(TypeError, match="array"):
        learned([good, LOGITS], teacher_weights="validation", eval_set=eval_set)


@pytest.mark.parametrize("weights", [[1, 2, 3], [-1, 2], [0, 0], [1, np.nan]])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="teacher_weights must be 2 numbers"):
        learned([LOGITS, LOGITS], teacher_weights=weights)


def test_weights_without_a_list_and_a_list_without_teachers():
    with pytest.raises(ValueError, match="list of teachers"):
        learned(LOGITS, teacher_weights=[1.0])
    with pytest.raises(ValueError, match="empty"):
        learned([])
    with pytest.raises(ValueError, match="same classes"):
        learned([LOGITS, LOGITS[:, :2]])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_the_loss_without_T2_by_its_definition(optimizer, l2):
    """One step on all rows: its direction is the numerical gradient of w KL + (1 - w) CE + l2."""
    T, w, rate = 4.0, 0.6, 1e-3
    model = student(epochs=1, batch_size=300, optimizer=optimizer, momentum=0.0, learning_rate=rate, l2=l2)
    start = model.initialize(3, 3).parameters

    def loss(parameters):
        model.parameters = parameters
        z = model.predict_logits(X)
        soft, hard = (
            distillation_rows(z, LOGITS, Y, temperature=T, kd_weight=kd)[0].mean() / (T**2 if kd else 1.0)
            for kd in (1.0, 0.0)
        )
        biases = np.zeros(len(parameters), bool)
        biases[18:24] = biases[42:] = True
        return w * soft + (1 - w) * hard + 0.5 * l2 * (parameters[~biases] ** 2).sum()

    eye = 1e-6 * np.eye(len(start))
    slope = np.array([(loss(start + e) - loss(start - e)) / 2e-6 for e in eye])
    first = loss(start)
    fitted = distill(LOGITS, student(**model.get_params()), X, Y, temperature=T, kd_weight=w, scale_t2=False)
    step = start - fitted.parameters
    if optimizer == "sgd":
        np.testing.assert_allclose(step, rate * slope, rtol=1e-4, atol=1e-9)
    else:  # Adam's first step is the sign
        np.testing.assert_allclose(step, rate * np.sign(slope), rtol=1e-3)
    if not l2:
        assert fitted.history_["loss"][0] == pytest.approx(first, rel=1e-6)
    assert fitted.history_["learning_rate"] == pytest.approx([rate])
    assert (fitted.kd_weight, fitted.temperature, fitted.l2, fitted.learning_rate) == (w, T, l2, rate)


def test_without_T2_a_schedule_is_refused():
    with pytest.raises(ValueError, match="fixed temperature"):
        learned(LOGITS, scale_t2=False, temperature=TemperatureSchedule("linear", 4.0, 1.0, steps=3))


def test_class_weights_are_sample_weights():
    counts = np.bincount(Y)
    balanced = (len(Y) / (3 * counts))[Y]
    np.testing.assert_array_equal(learned(LOGITS, class_weight="balanced"), learned(LOGITS, sample_weight=balanced))
    own = np.linspace(0.5, 1.0, 300)
    chosen = np.where(Y == 2, 5.0, 1.0)
    np.testing.assert_array_equal(
        learned(LOGITS, class_weight={2: 5.0}, sample_weight=own), learned(LOGITS, sample_weight=own * chosen)
    )
    half = np.where(np.arange(300) % 2, Y, -1)
    seen = np.bincount(half[half >= 0])
    weights = np.where(half < 0, 1.0, (seen.sum() / (3 * seen))[half])
    np.testing.assert_array_equal(
        distill(LOGITS, student(), X, half, class_weight="balanced").parameters,
        distill(LOGITS, student(), X, half, sample_weight=weights).parameters,
    )


def test_class_weights_that_are_none():
    with pytest.raises(ValueError, match="does not show"):
        learned(LOGITS, class_weight={7: 1.0})
    with pytest.raises(ValueError, match="'balanced'"):
        learned(LOGITS, class_weight="even")
    with pytest.raises(ValueError, match="needs labels"):
        distill(LOGITS, student(), X, class_weight="balanced")


# -- values -----------------------------------------------------------------------------------------------------------

VALUES = X @ np.array([1.0, -2.0, 0.5])
NOISY = VALUES + RNG.normal(size=300)


def regressor(**changes):
    settings = {"hidden": (), "learning_rate": 0.02, "epochs": 300, "random_state": 0, "dtype": "float64", "tol": 1e-9}
    return MLPRegressor(**(settings | changes))


@pytest.mark.parametrize("teacher", [VALUES, lambda rows: VALUES, [VALUES + 1.0, VALUES - 1.0]])
def test_a_regressor_learns_the_mixture_of_teacher_and_labels(teacher):
    mixed = distill(teacher, regressor(), X, NOISY, kd_weight=0.7)
    A = np.column_stack([X, np.ones(300)])
    want = np.linalg.lstsq(A, 0.7 * VALUES + 0.3 * NOISY, rcond=None)[0]  # the minimum of the mixed squared loss
    np.testing.assert_allclose(mixed.parameters, want, atol=0.02)


def test_values_without_labels_and_labels_that_are_missing():
    np.testing.assert_array_equal(
        distill(VALUES, regressor(epochs=3), X).parameters, regressor(epochs=3).fit(X, VALUES).parameters
    )
    some = np.where(np.arange(300) % 3, NOISY, np.nan)
    known = ~np.isnan(some)
    model = distill(VALUES, regressor(batch_size=600), X, some, kd_weight=0.5)
    A = np.column_stack([X, np.ones(300)])
    rows, values = np.vstack([A, A[known]]), np.concatenate([VALUES, some[known]])
    np.testing.assert_allclose(model.parameters, np.linalg.lstsq(rows, values, rcond=None)[0], atol=0.03)


def test_quantiles_mix_their_losses_and_not_their_targets():
    """Of a constant: the median of teacher 0 with weight 0.7 and labels 10 with 0.3 is 0, not 3."""
    ones = np.ones((200, 1))
    model = distill(
        np.zeros(200), regressor(loss="quantile", quantile=0.5, epochs=400), ones, np.full(200, 10.0), kd_weight=0.7
    )
    assert abs(model.predict(ones[:1])[0]) < 0.2


@pytest.mark.parametrize(
    "option", [{"temperature": 2.0}, {"scale_t2": False}, {"class_weight": "balanced"}, {"outputs": "proba"}]
)
def test_options_of_classifiers_are_refused(option):
    with pytest.raises(ValueError, match="for classifiers"):
        distill(VALUES, regressor(), X, NOISY, **option)
