"""Spread over generations, the head that predicts it, and calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.distill import BornAgain, UncertaintyStudent, spread
from fastkd.evaluation import calibration_error, log_loss, selective_curve
from fastkd.models import MLPClassifier


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(2, 5), st.integers(0, 2**31))
def test_laws_of_the_spread(models, rows, classes, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(classes), size=(models, rows))
    u = spread(p)
    assert all(part.shape == (rows,) for part in u)
    assert (u.variance >= 0).all()
    assert (u.variance <= 1).all()
    classes_of_mean, votes = p.mean(axis=0).argmax(axis=1), p.argmax(axis=2)
    np.testing.assert_allclose(u.disagreement, (votes != classes_of_mean).mean(axis=0))
    assert (u.mutual_information <= u.entropy + 1e-12).all()
    np.testing.assert_allclose(u.variance, p.var(axis=0).sum(axis=1), atol=1e-12)
    same = spread(np.broadcast_to(p[:1], p.shape))
    assert not same.disagreement.any()
    np.testing.assert_allclose(same.variance, 0, atol=1e-15)
    np.testing.assert_allclose(same.mutual_information, 0, atol=1e-12)


def test_hand_values():
    u = spread([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    assert u.variance[0] == pytest.approx(4 / 9)
    assert u.disagreement[0] == pytest.approx(1 / 3)
    assert u.mutual_information[0] == pytest.approx(u.entropy[0]) == pytest.approx(np.log(3) - 2 / 3 * np.log(2))
    with pytest.raises(ValueError, match="models, rows, classes"):
        spread(np.ones((2, 3)))


@pytest.fixture(scope="module")
def grown(blobs):
    X, y, *_ = blobs
    model = MLPClassifier((16,), learning_rate=0.02, epochs=60, dtype="float64")
    return BornAgain(model, 4, uncertainty_head=True, random_state=0).fit(X, y)


def test_uncertainty_is_the_spread_of_the_generations_on_new_rows(grown, blobs):
    *_, X, y = blobs
    u = grown.uncertainty(X)
    want = spread([g.predict_proba(X) for g in grown.generations_])
    for got, expected in zip(u, want, strict=True):
        np.testing.assert_array_equal(got, expected)
    curve = selective_curve(y, grown.predict_proba(X), u.variance)
    assert curve.gain > 0.02  # the uncertain rows are wrong more often


def test_the_head_leaves_the_classes_alone_and_predicts_the_variance(grown, blobs):
    _, _, X_new, _ = blobs
    proba, variance = grown.student_.predict_both(X_new)
    np.testing.assert_allclose(proba, grown.best_model_.predict_proba(X_new), rtol=1e-12)
    np.testing.assert_array_equal(grown.student_.predict(X_new), grown.best_model_.predict(X_new))
    assert (variance > 0).all()
    true = np.log(grown.uncertainty(X_new).variance)
    assert np.corrcoef(np.log(variance), true)[0, 1] > 0.4
    assert grown.student_.correlation_ > 0.4
    assert grown.student_.predict_variance(X_new).shape == (len(X_new),)


def test_a_head_learns_what_its_features_can_say(blobs):
    X, y, X_new, _ = blobs
    linear = MLPClassifier((), epochs=3, dtype="float64", random_state=0).fit(X, y)

    class Shifted:
        """Probabilities whose spread over two members is exp of a linear function of the first feature."""

        def __init__(self, sign):
            self.sign = sign

        def predict_proba(self, X):
            shift = self.sign * np.exp(-3.0 + 0.2 * X[:, 0])
            return np.column_stack([0.5 + shift, 0.5 - shift])

    head = UncertaintyStudent.of(linear, X, spread_of=[Shifted(1), Shifted(-1)], ridge=1e-12)
    want = spread([Shifted(1).predict_proba(X_new), Shifted(-1).predict_proba(X_new)]).variance
    np.testing.assert_allclose(head.predict_variance(X_new), want, rtol=1e-6)
    with pytest.raises(TypeError, match="MLPClassifier"):
        UncertaintyStudent.of(Shifted(1), X, spread_of=[linear])


def test_calibration_changes_no_answer_and_makes_probabilities_honest(blobs):
    X, y, X_new, y_new = blobs
    sure = MLPClassifier((64,), learning_rate=0.02, epochs=300, dtype="float64", n_iter_no_change=None)
    ban = BornAgain(sure, 1, validation_fraction=0.0, random_state=0).fit(X[:300], y[:300])
    before = ban.predict_proba(X_new)
    ban.calibrate(X[300:], y[300:])
    after = ban.predict_proba(X_new)
    assert ban.calibration_temperature_ > 1.5
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert log_loss(y_new, after) < log_loss(y_new, before)
    assert calibration_error(y_new, after) < 0.6 * calibration_error(y_new, before)
    assert ban.fit(X[:300], y[:300]).calibration_temperature_ == 1.0
    with pytest.raises(ValueError, match="labelled rows"):
        ban.calibrate(X_new, np.full(len(X_new), -1))
