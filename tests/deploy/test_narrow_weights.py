"""predictor(weights="bfloat16"): the change is measured and told, copies keep it, what cannot be is refused."""

import copy
import pickle

import numpy as np
import pytest

from fastkd.deploy import SequencePredictor
from fastkd.models import CNNClassifier, LSTMClassifier


def lstm(**options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6, 3)) * [1, 10, 100] + [0, 5, 1000]
    model = LSTMClassifier(units=20, epochs=2, random_state=0, **options)
    return model.fit(X, (X[:, -1, 1] > 5).astype(int)), X


def test_the_change_is_measured_and_told():
    model, X = lstm(scale="standard")
    full, narrow = model.predictor(), model.predictor(weights="bfloat16", calibration=X)
    gap = np.abs(narrow(X).astype(float) - full(X))
    change = narrow.change
    assert change.largest == gap.max() > 0
    assert change.mean == pytest.approx(gap.mean())
    assert (change.windows, change.drawn) == (200, False)
    assert change.classes == (narrow.argmax(X) != full.argmax(X)).sum()
    assert full.change is None
    assert (full.weights, narrow.weights) == ("float32", "bfloat16")
    assert f"largest={change.largest}" in repr(narrow)
    drawn = model.predictor(weights="bfloat16").change
    assert drawn.drawn
    assert drawn.windows == 256
    assert drawn == model.predictor(weights="bfloat16").change
    assert 0 < drawn.largest < 0.05


def test_copies_and_streams_keep_the_weights():
    model, X = lstm(scale="standard")
    narrow = model.predictor(weights="bfloat16", calibration=X)
    for other in (copy.copy(narrow), pickle.loads(pickle.dumps(narrow))):
        assert other.weights == "bfloat16"
        assert other.change == narrow.change
        np.testing.assert_array_equal(other(X), narrow(X))
    stream = copy.deepcopy(narrow.stream())
    for row in X[0]:
        last = stream.push(row)
    np.testing.assert_allclose(last, narrow(X[0]), atol=1e-6)
    assert np.abs(last - model.predictor()(X[0])).max() > 1e-7


def test_what_is_refused():
    model, X = lstm()
    with pytest.raises(ValueError, match="'bfloat16'; got 'int8'"):
        model.predictor(weights="int8")
    with pytest.raises(ValueError, match="give both or neither"):
        model.predictor(calibration=X)
    with pytest.raises(ValueError, match="calibration must be windows"):
        model.predictor(weights="bfloat16", calibration=X[0])
    with pytest.raises(ValueError, match="calibration must be windows"):
        model.predictor(weights="bfloat16", calibration=X[:0])
    with pytest.raises(ValueError, match="leave such windows out"):
        model.predictor(weights="bfloat16", calibration=np.full((2, 6, 3), np.nan))
    with pytest.raises(ValueError, match="float32; got lstm of float64"):
        LSTMClassifier(units=4, dtype="float64").initialize((3, 2), 2).predictor(weights="bfloat16")
    with pytest.raises(ValueError, match="got cnn of float32"):
        SequencePredictor(CNNClassifier((4,)).initialize((3, 2), 2), weights="bfloat16")
