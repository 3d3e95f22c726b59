"""The demo's condensation: what a run may depend on, small classes, and the sentence."""

from dataclasses import replace

import numpy as np
import pytest

from fastkd.experiments.demo import Data, prepare
from fastkd.experiments.few_rows import few_rows
from fastkd.experiments.findings import CONDENSED_COLUMNS, condensed_rows, findings
from fastkd.experiments.result import Settings
from fastkd.market import synthetic_market

SMALL = Settings(condensed_from=400, draws=2)


@pytest.fixture(scope="module")
def data():
    return prepare(synthetic_market(1500, random_state=0), SMALL)[1]


def test_the_same_number_of_rows_from_each_way(data):
    report = few_rows(data, SMALL)
    assert [trial.name for trial in report.trials] == ["full", "distribution_matching", "centroids", "random"]
    assert [trial.rows for trial in report.trials] == [400, 21, 21, 21]
    assert report.trials[0].scores.shape == (2, len(data.y_test))
    assert report.score(report.trials[0]) > 1.3 / 3
    assert "21 rows" in report.verdict


def test_same_seed_same_figures(data):
    first, again, other = (few_rows(data, replace(SMALL, seed=seed)) for seed in (0, 0, 1))
    for one, two in zip(first.trials, again.trials):
        assert np.array_equal(one.scores, two.scores)
    assert not np.array_equal(first.trials[1].scores, other.trials[1].scores)


def test_rows_are_made_of_the_training_part_alone(data):
    report = few_rows(data, SMALL)
    other = few_rows(replace(data, X_test=-data.X_test, y_test=2 - data.y_test), SMALL)
    assert np.array_equal(report.sets["distribution_matching"].X, other.sets["distribution_matching"].X)


def test_one_class_gives_nothing_and_a_rare_class_gives_fewer_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)).astype(np.float32), np.ones(200, int)
    assert few_rows(Data(X, y, X, y), SMALL) is None
    y[[5, 50, 100]] = 2  # 3 rows of it
    report = few_rows(Data(X, y, X, y), SMALL)
    assert {trial.rows for trial in report.trials if not trial.full} == {6}


def test_the_sentence_is_the_verdict(result):
    (said,) = [sentence for sentence in findings(result) if sentence.startswith("Condensation.")]
    assert "Student, 20 rows: distribution matching wins" in said


def test_the_table_has_every_column(result):
    rows = condensed_rows(result.condensed)
    assert {len(row) for row in rows} == {len(CONDENSED_COLUMNS)}
    assert rows[0] == ("all rows", "1,000", "90.0", "90.0", "-")
    assert rows[2] == ("centroids", "20", "60.0", "60.0", "0.20 s")
