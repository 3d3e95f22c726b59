"""distill: a student comes to resemble its teacher."""

import numpy as np
import pytest

from fastkd.distill import TemperatureSchedule, distill
from fastkd.models import MLPClassifier, MLPRegressor, as_model


def market(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.digitize(X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=n), [-0.5, 0.5])


def student(**changes):
    settings = {"hidden": (8,), "learning_rate": 0.02, "epochs": 60, "random_state": 0, "n_iter_no_change": None}
    return MLPClassifier(**(settings | changes))


@pytest.fixture(scope="module")
def teacher():
    return MLPClassifier(hidden=(32,), learning_rate=0.01, random_state=1).fit(*market())


def test_the_student_approaches_the_teacher(teacher):
    X, _ = market()
    untrained = student().initialize(3, 3)
    pupil = distill(teacher, student(), X)

    def distance(model):
        return np.abs(model.predict_proba(X) - teacher.predict_proba(X)).mean()

    assert distance(pupil) < 0.05 < distance(untrained)


def test_it_returns_the_student_with_the_settings_it_learned_by(teacher):
    X, y = market()
    pupil = student(epochs=1)
    assert distill(teacher, pupil, X, y, temperature=2.0, kd_weight=0.3) is pupil
    assert (pupil.temperature, pupil.kd_weight) == (2.0, 0.3)


def test_it_is_fit_with_the_teachers_logits(teacher):
    X, y = market()
    y = np.where(np.arange(len(y)) % 4, y, -1)
    weights = np.random.default_rng(0).uniform(size=len(y))
    a = distill(teacher, student(epochs=3), X, y, temperature=2.0, kd_weight=0.3, sample_weight=weights)
    b = student(epochs=3, temperature=2.0, kd_weight=0.3)
    b.fit(X, y, teacher_logits=teacher.predict_logits(X), sample_weight=weights)
    np.testing.assert_array_equal(a.parameters, b.parameters)


def test_every_kind_of_teacher_gives_the_same_student(teacher):
    X, y = market()
    kinds = [teacher, as_model(teacher), teacher.predict_logits, teacher.predict_logits(X)]
    students = [distill(kind, student(epochs=2), X, y).parameters for kind in kinds]
    for other in students[1:]:
        np.testing.assert_array_equal(students[0], other)


def test_a_weight_of_zero_is_training_on_labels(teacher):
    X, y = market()
    pupil = distill(teacher, student(epochs=3), X, y, kd_weight=0.0)
    np.testing.assert_array_equal(pupil.parameters, student(epochs=3).fit(X, y).parameters)


def test_unlabelled_rows_help_where_labels_are_few(teacher):
    X, y = market(600)
    few = np.full(len(y), -1)
    few[:12] = y[:12]
    X_test, y_test = market(2000, seed=9)
    alone = student().fit(X[:12], y[:12]).score(X_test, y_test)
    assert distill(teacher, student(), X, few).score(X_test, y_test) > alone + 0.03


def test_the_classes_of_the_teacher_become_those_of_the_student():
    X, y = market()
    names = np.array(["down", "flat", "up"])
    teacher = MLPClassifier(hidden=(8,), epochs=2, random_state=0).fit(X, names[y])
    assert distill(teacher, student(epochs=1), X).classes_.tolist() == names.tolist()
    some = names[y[y != 1]]
    assert distill(teacher, student(epochs=1), X[y != 1], some).classes_.tolist() == names.tolist()
    signs = MLPClassifier(hidden=(8,), epochs=2, random_state=0).fit(X, 2 * (y > 0) - 1)
    assert distill(signs, student(epochs=1), X, 2 * (y > 0) - 1).classes_.tolist() == [-1, 1]


def test_scikit_learn_as_teacher():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = market()
    foreign = linear_model.LogisticRegression().fit(X, y)
    pupil = distill(foreign, student(), X, y)
    assert np.mean(pupil.predict(X) == foreign.predict(X)) > 0.9


def test_a_schedule_of_temperatures(teacher):
    X, y = market()
    asked = []

    def schedule(epoch):
        asked.append(epoch)
        return 4.0 / (epoch + 1)

    distill(teacher, student(epochs=4), X, y, temperature=schedule)
    assert sorted(set(asked)) == [0, 1, 2, 3]
    pupil = distill(teacher, student(epochs=4), X, y, temperature=TemperatureSchedule("cosine", start=6.0, steps=4))
    assert pupil.n_iter_ == 4


def test_the_eval_set_is_passed_on(teacher):
    X, y = market()
    pupil = distill(teacher, student(epochs=4, early_stopping=True), X, eval_set=(X, y))
    assert len(pupil.history_["val_loss"]) == 4


@pytest.mark.parametrize("bad", [5, MLPRegressor(), object()])
def test_students_that_cannot_learn_from_a_teacher(teacher, bad):
    with pytest.raises(TypeError, match="student"):
        distill(teacher, bad, *market())


@pytest.mark.parametrize(
    ("bad", "error"), [(5, TypeError), (np.zeros((3, 3)), ValueError), (np.zeros((400, 2)), ValueError)]
)
def test_teachers_that_do_not_fit(bad, error):
    with pytest.raises(error):
        distill(bad, student(), *market())


@pytest.mark.parametrize("arguments", [{"temperature": 0.0}, {"temperature": -1.0}, {"kd_weight": 1.5}])
def test_bad_settings(teacher, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        distill(teacher, student(), *market(), **arguments)


@pytest.mark.parametrize("loss", [{"loss": "quantile", "quantile": 0.2}, {}])
def test_a_student_of_values_knows_the_names_of_its_columns(loss):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pandas.DataFrame(rng.standard_normal((80, 2)), columns=["a", "b"])
    y = X.to_numpy()[:, 0].copy()
    if not loss:
        y[::7] = np.nan
    pupil = distill(lambda rows: np.asarray(rows)[:, 0], MLPRegressor((4,), epochs=2, random_state=0, **loss), X, y)
    assert list(pupil.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        pupil.predict(X[["b", "a"]])
