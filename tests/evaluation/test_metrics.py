"""Laws first (constant and perfect answers, renamed classes), then values worked out by hand, then scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd import evaluation as ev


def draw(seed, n=200, classes=3):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(classes), n)
    return rng.integers(0, classes, n), proba, proba.argmax(axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 60))
def test_a_constant_answer_earns_nothing(seed, classes, n):
    y = np.random.default_rng(seed).integers(0, classes, n)
    constant = np.full(n, np.bincount(y).argmax())
    assert ev.mcc(y, constant) == 0.0
    assert ev.balanced_accuracy(y, constant) == pytest.approx(1 / len(np.unique(y)))
    assert ev.accuracy(y, constant) == ev.majority_baseline(y)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 60))
def test_the_truth_earns_everything(seed, classes, n):
    y = np.random.default_rng(seed).integers(0, classes, n)
    y[:2] = 0, 1
    result = ev.evaluate(y, np.eye(classes)[y])
    assert (result.accuracy, result.balanced_accuracy, result.mcc) == (1.0, 1.0, pytest.approx(1.0))
    assert (result.log_loss, result.brier, result.calibration_error) == (0.0, 0.0, 0.0)
    assert np.array_equal(result.confusion, np.diag(np.bincount(y, minlength=classes)))


def test_forecasting_the_shares_has_no_skill():
    y, _, _ = draw(1)
    result = ev.evaluate(y, np.tile(ev.class_shares(y), (len(y), 1)))
    assert result.log_loss == pytest.approx(result.no_skill_log_loss, rel=1e-12)
    assert result.lead == 0.0
    assert result.lead_error == 0.0
    assert not result.beats_majority
    assert result.calibration_error == pytest.approx(0.0, abs=1e-12)


def test_class_names_do_not_matter():
    y, proba, _ = draw(2)
    order = np.array([2, 0, 1])
    renamed = np.argsort(order)[y]
    first, second = ev.evaluate(y, proba), ev.evaluate(renamed, proba[:, order])
    for name in ("accuracy", "balanced_accuracy", "mcc", "log_loss", "brier", "calibration_error", "majority"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), rel=1e-12), name


def test_reliability_accounts_for_every_row():
    y, proba, answer = draw(3)
    bins = ev.reliability(y, proba, 7)
    assert bins.count.sum() == len(y)
    assert bins.count @ bins.frequency == pytest.approx((answer == y).sum())
    assert bins.count @ bins.confidence == pytest.approx(proba.max(axis=1).sum())
    one_class = ev.reliability(y, proba, class_index=1)
    assert one_class.count @ one_class.frequency == pytest.approx((y == 1).sum())


def test_hand_values():
    # 4 rows; answers 0, 1, 1, 2; right in rows 0, 1, 3
    y = [0, 1, 2, 2]
    proba = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.0, 0.75, 0.25], [0.0, 0.0, 1.0]]
    result = ev.evaluate(y, proba)
    assert result.shares.tolist() == [0.25, 0.25, 0.5]
    assert result.majority == 0.5
    assert result.accuracy == 0.75
    assert result.balanced_accuracy == pytest.approx((1 + 1 + 0.5) / 3)
    assert result.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    # truths (1, 1, 2), answers (1, 2, 1), n = 4: (4*3 - 5) / sqrt((16 - 6) * (16 - 6))
    assert result.mcc == pytest.approx(0.7)
    assert result.log_loss == pytest.approx((math.log(2) + math.log(2) + math.log(4) + 0.0) / 4)
    assert result.no_skill_log_loss == pytest.approx(1.5 * math.log(2))
    # squared distances: .25+.0625+.0625 twice; 0+.5625+.5625; 0
    assert result.brier == pytest.approx((0.375 + 0.375 + 1.125) / 4)
    # confidence .5 (2 rows, both right), .75 (1, wrong), 1 (1, right)
    assert result.reliability.count.tolist() == [2, 1, 1]
    assert result.calibration_error == pytest.approx((2 * 0.5 + 0.75 + 0) / 4)
    # difference to always answering 2: 1, 1, -1, 0 -> mean .25, variance 2.75 / 3
    assert result.lead == 0.25
    assert result.lead_error == pytest.approx(math.sqrt(2.75 / 3 / 4))


def test_bins_are_closed_on_the_right():
    bins = ev.reliability([0, 0, 1], [[0.0, 1.0], [0.5, 0.5], [0.25, 0.75]], 2, class_index=0)
    assert bins.count.tolist() == [3]
    assert bins.confidence.tolist() == [0.25]
    assert bins.frequency.tolist() == [pytest.approx(2 / 3)]


def test_a_certainty_that_failed_costs_infinity():
    assert ev.log_loss([1, 0], [[1.0, 0.0], [1.0, 0.0]]) == math.inf


def test_agreement_mixes_classes_and_probabilities():
    assert ev.agreement([0, 1, 1, 0], [0, 1, 0, 0]) == 0.75
    assert ev.agreement([[0.9, 0.1], [0.4, 0.6]], [0, 0]) == 0.5


def test_text_never_shows_accuracy_alone():
    y, proba, _ = draw(4)
    text = str(ev.evaluate(y, proba))
    for word in ("class shares", "majority", "balanced accuracy", "MCC", "log-loss", "no skill", "Brier", "calibr"):
        assert word in text, word
    assert text.index("majority") < text.index("accuracy")


def test_float32_probabilities_are_accepted():
    y, proba, _ = draw(5)
    assert ev.evaluate(y, proba.astype(np.float32)).log_loss == pytest.approx(ev.log_loss(y, proba), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_same_as_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    y, proba, answer = draw(seed, classes=4)
    result = ev.evaluate(y, proba)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(y, answer), rel=1e-12)
    assert result.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(y, answer), rel=1e-12)
    assert result.mcc == pytest.approx(metrics.matthews_corrcoef(y, answer), rel=1e-12)
    assert result.log_loss == pytest.approx(metrics.log_loss(y, proba), rel=1e-12)
    assert np.array_equal(result.confusion, metrics.confusion_matrix(y, answer))
    two = proba[:, :2] / proba[:, :2].sum(axis=1, keepdims=True)
    assert ev.brier(y % 2, two) == pytest.approx(2 * metrics.brier_score_loss(y % 2, two[:, 1]), rel=1e-12)


GOOD = [[0.5, 0.5], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("y", "proba", "says"),
    [
        ([], np.empty((0, 2)), "at least 1 row"),
        ([0, 1], [0.5, 0.5], r"\(rows, classes\)"),
        ([0], GOOD, "y has 1 rows, proba has 2"),
        ([0, 2], GOOD, r"0 \.\. 1; got 2"),
        ([0, -1], GOOD, "1 rows of unknown class"),
        ([0, -2], GOOD, "got -2"),
        ([0, 0.5], GOOD, "whole numbers; got 0.5"),
        ([[0], [1]], GOOD, "1-D"),
        ([0, 1], [[0.5, 0.5], [3.0, -2.0]], "row 1 is"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], "row 0 is"),
        ([0, 1], [[2.0, 1.0], [0.5, 0.5]], "softmax"),
    ],
)
def test_errors_say_what_came(y, proba, says):
    with pytest.raises(ValueError, match=says):
        ev.evaluate(y, proba)


def test_errors_of_the_single_functions():
    with pytest.raises(TypeError, match="dtype"):
        ev.accuracy(["a"], [0])
    with pytest.raises(TypeError, match="real numbers"):
        ev.evaluate([0], [["a", "b"]])
    with pytest.raises(ValueError, match="n_classes=3"):
        ev.evaluate([0, 1], GOOD, n_classes=3)
    with pytest.raises(ValueError, match="same length"):
        ev.accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="same rows"):
        ev.agreement([0, 1], [0])
    with pytest.raises(ValueError, match="bins"):
        ev.reliability([0, 1], GOOD, 0)
    with pytest.raises(ValueError, match=r"0 \.\. 1; got 2"):
        ev.reliability([0, 1], GOOD, class_index=2)
