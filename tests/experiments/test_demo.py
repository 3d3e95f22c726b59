"""The demo's steps at small sizes: nothing looks ahead, both ways of teaching see the same labels, errors are clear."""

from dataclasses import replace

import numpy as np
import pytest

from fastkd.experiments.demo import STEPS, fit_student, fit_teacher, prepare, run_demo, synthetic
from fastkd.experiments.result import Settings
from fastkd.market import Candles, synthetic_market

SMALL = Settings(
    rows=3000,
    teacher_hidden=(64, 32),
    student_hidden=(8,),
    teacher_epochs=4,
    student_epochs=4,
    draws=2,
    generations=3,
    folds=3,
    federation_rounds=5,
    distilling_rounds=2,
    condensed_from=500,
    latency_calls=50,
)


@pytest.fixture(scope="module")
def result():
    return run_demo(settings=SMALL)


def same_figures(first, second):
    for one, other in zip(first.models(), second.models()):
        assert str(one.evaluation) == str(other.evaluation), one.name
        assert (one.agreement, one.parameters, one.labels) == (other.agreement, other.parameters, other.labels)
    assert np.array_equal(first.distillation.accuracy, second.distillation.accuracy)
    for one, other in zip(first.condensed.trials, second.condensed.trials):
        assert np.array_equal(one.scores, other.scores), one.name


def test_result_hangs_together(result):
    market = result.market
    assert market.train_rows + market.test_rows == market.candles - 3  # window, horizon and purge cost one each
    assert [model.labels for model in result.models()] == [market.train_rows] * 3 + [200] * 2
    assert {model.evaluation.n for model in result.models()} == {market.test_rows}
    assert result.teacher.agreement == 1.0
    assert result.teacher.parameters == 4 * 64 + 64 + 64 * 32 + 32 + 32 * 3 + 3
    assert result.full.distilled.bytes == 4 * result.full.distilled.parameters == 4 * (4 * 8 + 8 + 8 * 3 + 3)
    assert result.compression == result.teacher.parameters / result.few.hard.parameters
    assert [point.labels for point in result.curve] == [50, 200, 1000]  # 5000 are more than there are
    assert all(len(point.hard) == len(point.distilled) == 2 for point in result.curve)
    assert result.curve[1].hard[0] == result.few.hard.evaluation.accuracy
    assert result.generations.accuracy.shape == (3, 3)
    assert len(result.walk.folds) == 3
    assert result.walk.overall.evaluation.n <= market.train_rows + market.test_rows
    assert result.federation.accuracy.shape == (len(result.federation.attacks), len(result.federation.rules))
    assert result.distillation.accuracy.shape == (5, SMALL.draws)
    assert {trial.rows for trial in result.condensed.trials if not trial.full} == {21}
    assert [[one.rows for one in pair] for pair in result.latency] == [[1, 1], [32, 32]]


@pytest.mark.parametrize("seed", [0, 1])
def test_lessons_of_the_synthetic_market(seed):
    settings = Settings(
        rows=15_000, seed=seed, teacher_hidden=(128, 64), student_epochs=25, federation_rounds=60, latency_calls=20
    )
    result = run_demo(settings=settings)
    teacher = result.teacher.evaluation
    assert teacher.beats_majority
    assert teacher.accuracy < result.market.bayes_accuracy + 3 * teacher.lead_error
    assert result.kept(result.full.distilled) > 0.95
    # Where labels are few and unlabelled rows many, the teacher pays; the more labels, the less.
    gains = [point.gain for point in result.curve]
    assert gains[0] > 0.05
    assert gains[0] > gains[-1]
    assert result.few.distilled.evaluation.log_loss < result.few.hard.evaluation.log_loss
    assert result.walk.beats_majority
    assert result.walk.has_skill
    # Hostile desks ruin the mean and not the median.
    found = result.federation
    mean, median = (found.accuracy[:, found.rules.index(rule)] for rule in ("mean", "median"))
    assert mean.min() < mean[0] - 0.1
    assert median.min() > mean.min() + 0.1


def test_same_seed_same_figures(result):
    same_figures(result, run_demo(settings=SMALL))
    other = run_demo(settings=replace(SMALL, seed=1))
    assert str(other.teacher.evaluation) != str(result.teacher.evaluation)


def test_steps_are_announced_in_order():
    heard = []
    run_demo(settings=replace(SMALL, rows=600), progress=lambda *step: heard.append(step))
    assert heard == [(title, i, len(STEPS)) for i, title in enumerate(STEPS)]


def test_test_part_touches_nothing_before_it():
    market = synthetic_market(2000, random_state=0)
    _, data = prepare(market, SMALL)
    facts, _ = prepare(market, SMALL)
    first_test_candle = int(np.searchsorted(market.start_ms, facts.test_from_ms))
    columns = [getattr(market, name).copy() for name in ("start_ms", "open", "high", "low", "close", "volume")]
    for column in columns[1:]:
        column[first_test_candle:] *= 1.5  # another future, still possible candles
    changed_market = Candles(*columns)
    vars(changed_market)["bayes_proba"] = market.bayes_proba  # for the same features
    _, changed = prepare(changed_market, SMALL)
    assert np.array_equal(data.X_train, changed.X_train)
    assert np.array_equal(data.y_train, changed.y_train)
    assert not np.array_equal(data.X_test, changed.X_test)


def test_training_part_is_standardized():
    _, data = prepare(synthetic(SMALL), SMALL)
    assert data.X_train.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert data.X_train.std(axis=0) == pytest.approx(np.ones(4), abs=1e-4)


def test_labels_are_used_and_no_others():
    _, data = prepare(synthetic(SMALL), SMALL)
    teacher, _ = fit_teacher(data, SMALL)
    chosen = np.random.default_rng((SMALL.seed, 0)).choice(len(data.y_train), 50, replace=False)
    other = replace(data, y_train=(data.y_train + 1) % 3)
    other.y_train[chosen] = data.y_train[chosen]
    for distilled in (False, True):
        first, _ = fit_student(data, SMALL, teacher, labels=50, distilled=distilled)
        second, _ = fit_student(other, SMALL, teacher, labels=50, distilled=distilled)
        assert np.array_equal(first.parameters, second.parameters)


def test_flat_market_gives_figures_too():
    n = 600
    ones = np.ones(n)
    candles = Candles(np.arange(n) * 60_000, ones, ones, ones, ones, ones, interval="1m")
    result = run_demo(candles, settings=SMALL)
    assert result.teacher.evaluation.majority == 1.0
    assert not result.teacher.evaluation.beats_majority
    assert result.kept(result.full.distilled) is None
    assert result.condensed is None
    assert (result.distillation.accuracy <= 1.0).all()


def test_too_few_candles():
    with pytest.raises(ValueError, match="499 candles are too few"):
        run_demo(synthetic_market(499, random_state=0), settings=SMALL)


def test_real_candles(data_dir):
    candles = Candles.read_csv(data_dir / "bybit_linear_BTCUSDT_1h.csv.gz", symbol="BTCUSDT")[-3000:]
    result = run_demo(candles, settings=SMALL)
    assert result.market.bayes_accuracy is None
    assert result.market.features > 4
    assert result.teacher.evaluation.shares.sum() == pytest.approx(1.0)
    assert np.isfinite(result.full.distilled.evaluation.log_loss)
