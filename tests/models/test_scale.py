"""One rule for the scaler: a model that has one takes raw rows in every method."""

import copy
import pickle

import numpy as np
import pytest

import fastkd
from fastkd.distill import BeYourOwnTeacher, BornAgain, SnapshotDistillation, distill
from fastkd.features import MedianScaler, MinMaxScaler01, Standardizer
from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor, NotFittedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)) * [0.01, 10.0, 1000.0] + [0.0, 500.0, 6e4]
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 505)
SCALERS = {"standard": Standardizer, "minmax": MinMaxScaler01, "robust": MedianScaler}
every_scale = pytest.mark.parametrize("scale", SCALERS)


def classifier(**changes):
    return MLPClassifier(**({"hidden": (6,), "epochs": 5, "learning_rate": 0.01, "random_state": 0} | changes))


def scaled(scale, rows, by=X):
    return SCALERS[scale]().fit(by).transform(rows)


@every_scale
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_is_that_on_scaled_rows(scale, dtype):
    raw = classifier(scale=scale, dtype=dtype).fit(X, Y)
    plain = classifier(dtype=dtype).fit(scaled(scale, X), Y)
    np.testing.assert_array_equal(raw.parameters, plain.parameters)
    np.testing.assert_array_equal(raw.predict_proba(X), plain.predict_proba(scaled(scale, X)))
    np.testing.assert_allclose(raw.predictor()(X.astype(dtype)), plain.predictor()(scaled(scale, X).astype(dtype)),
                               atol=3e-2 if dtype == "float32" else 1e-9)  # fmt: skip


@every_scale
def test_every_other_method_takes_raw_rows_too(scale):
    Z = scaled(scale, X)
    raw, plain = classifier(scale=scale).fit(X, Y), classifier().fit(Z, Y)
    for model, rows in ((raw, X), (plain, Z)):
        model.partial_fit(rows[:50], Y[:50])
    np.testing.assert_array_equal(raw.parameters, plain.parameters)
    assert raw.gradient(X, Y)[0] == plain.gradient(Z, Y)[0]
    assert raw.score(X, Y) == plain.score(Z, Y)


def test_a_given_scaler_counts_in_fit_as_in_predict():
    sc = Standardizer().fit(X[:100])
    model = classifier()
    model.scaler = sc
    model.fit(X, Y)
    plain = classifier().fit(sc.transform(X), Y)
    np.testing.assert_array_equal(model.parameters, plain.parameters)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(sc.transform(X)))
    again = distill(plain.predict_logits(sc.transform(X)), model, X, Y)
    assert again.score(X, Y) > 0.5  # 0.3 when fit ignored it


def test_distill_takes_raw_rows():
    teacher = classifier(scale="standard", hidden=(16,), epochs=20).fit(X, Y)
    raw = distill(teacher, classifier(scale="standard"), X, Y)
    Z = scaled("standard", X)
    plain = distill(teacher, classifier(), Z, Y, teacher_X=X)
    np.testing.assert_array_equal(raw.parameters, plain.parameters)


def test_rows_held_out_and_rows_of_weight_0_tell_the_scaler_nothing():
    wild = X.copy()
    wild[180:] *= 50.0
    model = classifier(scale="standard", early_stopping=True, validation_fraction=0.1).fit(wild, Y)
    np.testing.assert_allclose(model.scaler_.mean_, wild[:180].mean(axis=0))
    weights = np.r_[np.ones(180), np.zeros(20)]
    model = classifier(scale="standard").fit(wild, Y, sample_weight=weights)
    np.testing.assert_allclose(model.scaler_.mean_, wild[:180].mean(axis=0))


def test_partial_fit_fits_it_once():
    model = classifier(scale="standard")
    model.partial_fit(X[:50], Y[:50], classes=[0, 1, 2])
    first = model.scaler_
    model.partial_fit(X[50:], Y[50:])
    assert model.scaler_ is first
    np.testing.assert_allclose(first.mean_, X[:50].mean(axis=0))


def test_weights_without_rows_need_a_scaler_before_use():
    model = classifier(scale="standard").initialize(3, 3)
    for use in (
        model.predict,
        model.predict_proba,
        lambda rows: model.gradient(rows, Y),
        lambda rows: model.predictor(),
    ):
        with pytest.raises(NotFittedError, match="fit_scaler"):
            use(X)
    assert model.fit_scaler(X).predict(X).shape == (200,)


def test_clone_keeps_the_choice_and_a_given_scaler():
    base = pytest.importorskip("sklearn.base")
    assert base.clone(classifier(scale="robust").fit(X, Y)).get_params()["scale"] == "robust"
    assert base.clone(classifier(scale="robust").fit(X, Y)).scaler is None
    model = classifier()
    model.scaler = Standardizer().fit(X)
    np.testing.assert_array_equal(base.clone(model).scaler.mean_, model.scaler.mean_)
    nested = base.clone(BornAgain(classifier(scale="minmax"), 2))
    assert nested.model.scale == "minmax"


def test_a_scaler_of_other_features_is_an_error_that_names_both():
    model = classifier()
    model.scaler = Standardizer().fit(X[:, :2])
    with pytest.raises(ValueError, match="2 features; X has 3"):
        model.fit(X, Y)


def test_a_refit_without_scale_forgets_the_fitted_one():
    model = classifier(scale="standard").fit(X, Y).set_params(scale=None)
    assert model.fit(scaled("standard", X), Y).scaler is None


def test_scalers_of_scikit_learn():
    pre = pytest.importorskip("sklearn.preprocessing")
    model = classifier().fit(X, Y)
    for scaler in (pre.StandardScaler(), pre.MinMaxScaler((-1, 2)), pre.RobustScaler()):
        model.scaler = scaler.fit(X)
        np.testing.assert_allclose(model.scaler.transform(X), scaler.transform(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        MedianScaler().fit(X).transform(X), pre.RobustScaler().fit(X).transform(X), rtol=1e-12, atol=1e-12
    )


def test_a_scale_that_is_none_of_them():
    with pytest.raises(ValueError, match=r"standard.*minmax.*robust"):
        classifier(scale="z").fit(X, Y)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), None])
def test_copies_and_files_keep_it(again, tmp_path):
    model = classifier(scale="robust").fit(X, Y)
    if again is None:
        model.save(tmp_path / "m")
        back = fastkd.load(tmp_path / "m")
    else:
        back = again(model)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    assert back.get_params() == model.get_params()
    back.fit(X[:100], Y[:100])  # refits the scaler: it was not given
    np.testing.assert_allclose(back.scaler_.mean_, np.median(X[:100], axis=0))


def test_regressors_and_networks_of_windows():
    target = X[:, 0] * 100 + X[:, 1] / 10
    raw = MLPRegressor((6,), epochs=5, random_state=0, scale="standard").fit(X, target)
    plain = MLPRegressor((6,), epochs=5, random_state=0).fit(scaled("standard", X), target)
    np.testing.assert_array_equal(raw.parameters, plain.parameters)
    windows = np.stack([X[i : i + 6] for i in range(100)])
    for kind in (LSTMClassifier(units=4, epochs=2, random_state=0), CNNClassifier(epochs=2, random_state=0)):
        plain = copy.deepcopy(kind).fit(scaled("standard", windows, by=windows), Y[:100])
        raw = kind.set_params(scale="standard").fit(windows, Y[:100])
        np.testing.assert_array_equal(raw.parameters, plain.parameters)
        np.testing.assert_allclose(raw.predictor()(windows.astype(np.float32)), raw.predict_proba(windows), atol=1e-2)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: BornAgain(model, 2, random_state=0),
        lambda model: BornAgain(model, 2, random_state=0, uncertainty_head=True),
        lambda model: SnapshotDistillation(model, snapshots=2, random_state=0),
        lambda model: BeYourOwnTeacher(model, random_state=0),
    ],
)
def test_self_distillation_scales_once_for_all_members(make):
    Z = scaled("standard", X[:150], by=X[:150])
    hidden = {"hidden": (6, 6), "epochs": 4}
    raw = make(classifier(scale="standard", **hidden)).fit(X[:150], Y[:150], eval_set=(X[150:], Y[150:]))
    plain = make(classifier(**hidden)).fit(Z, Y[:150], eval_set=(scaled("standard", X[150:], by=X[:150]), Y[150:]))
    np.testing.assert_allclose(raw.predict_proba(X[:150]), plain.predict_proba(Z), atol=1e-6)
    np.testing.assert_allclose(raw.member_probas(X[:150]), plain.member_probas(Z), atol=1e-6)
