"""The estimator protocol without scikit-learn: parameters, repr, copies, the scaler."""

import copy
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastkd.models import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 10.0, 100.0] + [5.0, 0.0, -7.0]
y = (X[:, 0] > 5.0).astype(int)
SCALER = SimpleNamespace(mean_=X.mean(axis=0), scale_=X.std(axis=0))
SCALED = (X - SCALER.mean_) / SCALER.scale_


def model(**changes):
    return MLPClassifier(**({"hidden": (4,), "epochs": 2, "random_state": 0, "dtype": "float64"} | changes))


def test_parameters_by_name():
    fresh = MLPClassifier()
    assert fresh.get_params()["kd_weight"] == 0.7
    assert fresh.set_params(epochs=3, hidden=(5,)) is fresh
    assert (fresh.epochs, fresh.hidden) == (3, (5,))
    with pytest.raises(ValueError, match="no parameter 'alpha'"):
        fresh.set_params(alpha=1.0)


def test_defaults_are_the_documented_ones():
    assert MLPClassifier().get_params() == {
        "hidden": (32, 16),
        "activation": "relu",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "batch_size": 64,
        "epochs": 50,
        "l2": 0.0,
        "temperature": 3.0,
        "kd_weight": 0.7,
        "label_smoothing": 0.0,
        "early_stopping": False,
        "validation_fraction": 0.1,
        "patience": 5,
        "dtype": "float32",
        "random_state": None,
        "verbose": False,
        "momentum": 0.9,
        "lr_schedule": "constant",
        "n_init": 1,
        "tol": 1e-4,
        "n_iter_no_change": 10,
        "workers": 1,
        "scale": None,
    }


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(MLPClassifier()) == "MLPClassifier()"
    assert repr(MLPRegressor((8,), l2=0.1)) == "MLPRegressor(hidden=(8,), l2=0.1)"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_train_on_by_themselves(duplicate):
    original = model().fit(SCALED, y)
    twin = duplicate(original)
    before = original.parameters
    twin.partial_fit(SCALED, y)
    np.testing.assert_array_equal(original.parameters, before)
    assert not np.array_equal(twin.parameters, before)
    assert (len(original.history_["loss"]), len(twin.history_["loss"])) == (2, 3)
    np.testing.assert_array_equal(original.partial_fit(SCALED, y).parameters, twin.parameters)


def test_an_unfitted_model_can_be_copied():
    assert repr(pickle.loads(pickle.dumps(model()))) == repr(model())


def test_a_scaler_set_after_training_takes_raw_features():
    fitted = model().fit(SCALED, y)
    expected, score = fitted.predict_proba(SCALED), fitted.score(SCALED, y)
    assert fitted.scaler is None
    fitted.scaler = SCALER
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-12)
    assert fitted.score(X, y) == score
    gradient = fitted.gradient(X, y)[1]
    fitted.scaler = None
    np.testing.assert_allclose(fitted.gradient(SCALED, y)[1], gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(fitted.predict_proba(SCALED), expected)


def test_the_scaler_is_a_copy():
    fitted = model().fit(SCALED, y)
    own = SimpleNamespace(mean_=SCALER.mean_.copy(), scale_=SCALER.scale_.copy())
    fitted.scaler = own
    own.mean_[:] = 99.0
    np.testing.assert_array_equal(fitted.scaler.mean_, SCALER.mean_)


def test_either_half_of_a_scaler_may_be_missing():
    fitted = model().fit(SCALED, y)
    fitted.scaler = SimpleNamespace(mean_=SCALER.mean_, scale_=None)
    np.testing.assert_array_equal(fitted.scaler.scale_, np.ones(3))
    fitted.scaler = SimpleNamespace(mean_=None, scale_=SCALER.scale_)
    np.testing.assert_array_equal(fitted.scaler.mean_, np.zeros(3))


@pytest.mark.parametrize(
    "bad",
    [
        5,
        SimpleNamespace(mean_=np.zeros(2), scale_=np.ones(2)),
        SimpleNamespace(mean_=np.zeros(3), scale_=np.ones(2)),
        SimpleNamespace(mean_=np.zeros(3), scale_=np.zeros(3)),
        SimpleNamespace(mean_=np.full(3, np.nan), scale_=np.ones(3)),
        SimpleNamespace(mean_=None, scale_=None),
    ],
)
def test_bad_scalers(bad):
    fitted = model().fit(SCALED, y)
    with pytest.raises((TypeError, ValueError), match="scaler"):
        fitted.scaler = bad
    assert fitted.scaler is None


def test_models_work_without_scikit_learn():
    code = (
        "import sys\n"
        "for name in ('sklearn', 'pandas', 'torch', 'onnxruntime', 'matplotlib', 'requests', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "from fastkd.models import MLPClassifier, as_model\n"
        "model = MLPClassifier(epochs=1).fit([[0.0], [1.0]], [0, 1])\n"
        "print(as_model(model).predict_proba([[0.0]]).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 2)\n", done.stderr
