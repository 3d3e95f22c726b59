"""Predictor: the same answers as the model, for one row or many."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from fastkd.deploy import Predictor
from fastkd.models import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 5)) * [1.0, 10.0, 1e3, 1e-3, 1.0] + [0.0, 5.0, 6e4, 0.0, -1.0]
SCALER = SimpleNamespace(mean_=X.mean(axis=0), scale_=X.std(axis=0))


def classifier(**changes):
    model = MLPClassifier(**({"hidden": (16, 8), "random_state": 0} | changes)).initialize(5, 3)
    model.scaler = SCALER
    return model


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-4), ("float64", 1e-10)])
def test_batch_and_rows_agree_with_the_model(activation, dtype, tolerance):
    model = classifier(activation=activation, dtype=dtype)
    predict = model.predictor()
    rows = X.astype(dtype)
    batch = predict(rows)
    assert batch.shape == (50, 3)
    assert batch.dtype == dtype
    np.testing.assert_allclose(batch, model.predict_proba(X), atol=tolerance)
    np.testing.assert_allclose(np.stack([predict(row) for row in rows]), batch, atol=tolerance)
    np.testing.assert_array_equal(predict.argmax(rows), batch.argmax(axis=1))
    assert int(predict.argmax(rows[0])) == int(batch[0].argmax())


def test_without_a_scaler_the_weights_are_those_of_the_model():
    model = classifier(dtype="float64")
    model.scaler = None
    np.testing.assert_allclose(model.predictor()(SCALER.mean_), model.predict_proba([SCALER.mean_])[0], rtol=1e-12)


def test_a_regressor_gives_values():
    model = MLPRegressor(hidden=(8,), random_state=0, dtype="float64").initialize(5, 2)
    np.testing.assert_allclose(model.predictor()(X), model.predict(X), rtol=1e-12)
    assert not hasattr(model.predictor(), "classes_")


def test_out_is_written_and_returned():
    predict = classifier().predictor()
    row, out = X[0].astype(np.float32), np.empty(3, np.float32)
    assert predict(row, out=out) is out
    np.testing.assert_array_equal(out, predict(row))


def test_the_predictor_keeps_its_weights():
    model = classifier()
    predict = model.predictor()
    before = predict(X[0])
    model.parameters = 0.0 * model.parameters
    np.testing.assert_array_equal(predict(X[0]), before)


def test_nan_stays_in_its_row():
    rows = X.astype(np.float32)
    expected = classifier().predictor()(rows)
    rows[7, 2] = np.nan
    got = classifier().predictor()(rows)
    assert np.isnan(got[7]).all()
    np.testing.assert_array_equal(np.delete(got, 7, axis=0), np.delete(expected, 7, axis=0))
    with pytest.raises(ValueError):
        classifier().predictor(on_nan="raise")(rows)


def test_threads_share_a_predictor():
    predict = classifier().predictor()
    rows = X.astype(np.float32)
    expected = np.stack([predict(row) for row in rows])
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: np.stack([predict(row) for row in rows]), range(8)):
            np.testing.assert_array_equal(got, expected)


def test_classes_and_sizes():
    model = MLPClassifier(epochs=1, random_state=0).fit(X / 1e5, np.array(["down", "flat", "up"])[np.arange(50) % 3])
    predict = Predictor(model)
    assert (predict.n_features, predict.n_outputs, predict.dtype) == (5, 3, np.float32)
    assert predict.classes_[predict.argmax(X[0])] in ("down", "flat", "up")


def test_what_is_no_fitted_model():
    with pytest.raises(TypeError, match="Predictor needs"):
        Predictor(5)
    with pytest.raises(ValueError, match="no weights"):
        Predictor(MLPClassifier())


def test_folding_that_overflows_is_refused():
    model = classifier()
    model.scaler = SimpleNamespace(mean_=np.full(5, 1e30), scale_=np.full(5, 1e-30))
    with pytest.raises(ValueError, match="overflow"):
        model.predictor()


def test_copies_and_other_processes_get_the_same_predictor():
    model = MLPClassifier((5,), random_state=0).initialize(3, 2)
    predict = model.predictor(on_nan="raise")
    row = np.array([0.3, -1.0, 2.0], np.float32)
    for twin in (pickle.loads(pickle.dumps(predict)), copy.deepcopy(predict)):
        assert np.array_equal(twin(row), predict(row))
        assert np.array_equal(twin.classes_, [0, 1])
        with pytest.raises(ValueError, match="NaN"):
            twin(np.full(3, np.nan, np.float32))
