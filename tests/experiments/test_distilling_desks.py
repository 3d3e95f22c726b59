"""Desks that share forecasts: the lessons, what a run may depend on, and sentences for every outcome."""

from dataclasses import replace

import numpy as np
import pytest

from fastkd.experiments.demo import prepare
from fastkd.experiments.distilling_desks import distilling_desks
from fastkd.experiments.findings import distillation_rows, findings
from fastkd.experiments.result import Settings
from fastkd.market import synthetic_market

SMALL = Settings(few_labels=40, draws=1, distilling_rounds=2)


@pytest.fixture(scope="module")
def data():
    return prepare(synthetic_market(2000, random_state=0), SMALL)[1]


def test_where_labels_are_few_sharing_helps_and_one_liar_ruins_the_mean_only():
    settings = Settings(few_labels=100, draws=3, distilling_rounds=5)
    found = distilling_desks(prepare(synthetic_market(12_000, random_state=1), settings)[1], settings)
    alone, shared, pooled, mean, median = found.accuracy.mean(axis=1)
    assert found.ways[3:] == ("FedMD, one liar, mean", "FedMD, one liar, median")
    assert alone < shared < pooled
    assert mean < alone - 0.03
    assert median > alone


def test_same_seed_same_figures(data):
    first, again = (distilling_desks(data, SMALL) for _ in range(2))
    assert np.array_equal(first.accuracy, again.accuracy)
    other = distilling_desks(data, replace(SMALL, seed=1))
    assert not np.array_equal(first.accuracy, other.accuracy)


def test_labels_of_the_public_period_are_not_used(data):
    found = distilling_desks(data, SMALL)
    y = data.y_train.copy()
    rows = len(y) + len(data.y_test)
    y[int(0.6 * rows) : int(0.7 * rows)] = 0  # the public period goes from a half to three quarters
    hidden = distilling_desks(replace(data, y_train=y), SMALL)
    assert np.array_equal(found.accuracy, hidden.accuracy)


def test_the_test_part_teaches_nothing(data):
    """Answers do not depend on the labels of the test part: accuracies with each label in turn sum to 1."""
    sums = 0.0
    for shift in range(3):
        found = distilling_desks(replace(data, y_test=(data.y_test + shift) % 3), SMALL)
        sums = sums + found.accuracy
    assert sums == pytest.approx(np.ones_like(sums))


def test_too_few_rows_for_three_desks(data):
    assert distilling_desks(replace(data, X_train=data.X_train[-100:], y_train=data.y_train[-100:],
                                    X_test=data.X_test[:300], y_test=data.y_test[:300]), SMALL) is None  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "words"), [(0.05, "helps: +5.0"), (0.0, "changes nothing that could be told"), (-0.05, "harms: -5.0")]
)
def test_the_sentence_says_what_came_out(result, gain, words):
    accuracy = result.distillation.accuracy.copy()
    accuracy[1] = accuracy[0] + gain
    changed = replace(result, distillation=replace(result.distillation, accuracy=accuracy))
    (said,) = [sentence for sentence in findings(changed) if "FedMD" in sentence]
    assert words in said
    assert "one liar among the 5 desks it is -20.0 by the mean" in said


def test_a_difference_knows_its_error(result):
    found = replace(result.distillation, accuracy=np.array([[0.5], [0.6], [0.7], [0.3], [0.5]]))
    assert found.difference("FedMD", "local only") == pytest.approx((0.1, (2 * 0.25 / 8000) ** 0.5))
    apart = replace(found, accuracy=found.accuracy + np.array([[0.0, 0.1]] + 4 * [[0.1, 0.0]]))
    gain, error = apart.difference("FedMD", "local only")
    assert (gain, error) == pytest.approx((0.1, 0.1))  # gaps of 0.2 and 0 between two draws


def test_the_table_has_a_row_for_each_way_and_the_majority(result):
    rows = distillation_rows(result.distillation)
    assert rows[0] == ("local only", "50.0", "49.0", "51.0")
    assert rows[-1] == ("majority baseline", "45.0", "", "")
