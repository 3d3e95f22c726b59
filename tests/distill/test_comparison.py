"""compare_generations: what is compared is what it says, and the verdict follows from it."""

import json

import numpy as np
import pytest

from fastkd.distill import BornAgain, GenerationReport, compare_generations
from fastkd.distill.comparison import mean_over_seeds
from fastkd.models import MLPClassifier


def test_the_figures_are_those_of_the_networks(blobs):
    X, y, X_test, y_test = blobs
    model = MLPClassifier((6,), learning_rate=0.02, epochs=4)
    done = []
    ban = BornAgain(model, 3, validation_fraction=0.2)
    report = compare_generations(ban, X, y, X_test, y_test, seeds=(4, 7), progress=done.append)
    assert done == [1, 2]
    for row, seed in enumerate((4, 7)):
        by_hand = BornAgain(model, 3, validation_fraction=0.2, random_state=seed).fit(X, y)
        want = [g.score(X_test, y_test) for g in by_hand.generations_]
        np.testing.assert_allclose(report.accuracy[row], want)
        assert report.picked[row] == pytest.approx(by_hand.score(X_test, y_test))
        assert report.best_generation[row] == by_hand.best_generation_
        by_hand.set_params(predict_with="ensemble")
        assert report.born_again_ensemble[row] == pytest.approx(by_hand.score(X_test, y_test))
        others = [by_hand.generations_[0]]
        for k in (1, 2):
            state = np.random.default_rng([seed, k])
            single = BornAgain(model, 1, validation_fraction=0.0, random_state=state)
            others.append(single.fit(X[:480], y[:480]))
        mean = np.mean([other.predict_proba(X_test) for other in others], axis=0)
        assert report.ensemble[row] == pytest.approx((mean.argmax(axis=1) == y_test).mean())
    assert report.majority == np.bincount(y_test).max() / len(y_test)
    assert [m.value for m in report.by_generation] == pytest.approx(report.accuracy.mean(axis=0).tolist())
    assert ban.random_state is None
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == report.verdict()
    lines = str(report).splitlines()
    assert len(lines) == 8
    assert "majority baseline" in lines[0]
    assert "MCC" in lines[1]


def report_of(generations, ensemble, majority=0.3):
    accuracy = np.array(generations, float)
    return GenerationReport(
        accuracy=accuracy,
        balanced_accuracy=accuracy,
        mcc=accuracy,
        log_loss=accuracy,
        best_generation=np.full(len(accuracy), accuracy.shape[1] - 1),
        picked=accuracy[:, -1],
        born_again_ensemble=accuracy[:, -1],
        ensemble=np.array(ensemble, float),
        class_shares=np.array([majority, 1 - majority - 0.3, 0.3]),
    )


@pytest.mark.parametrize(
    ("generations", "ensemble", "said"),
    [
        ([[0.60, 0.70], [0.61, 0.71], [0.62, 0.72]], [0.70, 0.71, 0.72], "beats one training; it does not differ"),
        ([[0.60, 0.70], [0.61, 0.71], [0.62, 0.72]], [0.80, 0.81, 0.82], "beats one training; an ensemble"),
        ([[0.60, 0.70], [0.61, 0.71], [0.62, 0.72]], [0.65, 0.66, 0.67], "beats one training and beats an ensemble"),
        ([[0.60, 0.70], [0.71, 0.61], [0.62, 0.65]], [0.7, 0.7, 0.7], "no measurable gain"),
        ([[0.60, 0.55], [0.61, 0.56], [0.62, 0.57]], [0.7, 0.7, 0.7], "worse than one training"),
        ([[0.42, 0.43], [0.38, 0.39], [0.40, 0.41]], [0.41, 0.41, 0.40], "majority baseline"),
    ],
)
def test_the_verdict(generations, ensemble, said):
    assert said in report_of(generations, ensemble, majority=0.41).verdict()


def test_intervals_are_students():
    mean = mean_over_seeds([1.0, 2.0, 3.0])
    assert mean.value == 2.0
    assert mean.half == pytest.approx(4.303 / np.sqrt(3))
    stats = pytest.importorskip("scipy.stats")
    for n in (2, 5, 11, 12, 20, 50):
        x = np.random.default_rng(n).normal(size=n)
        want = stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / np.sqrt(n)
        assert mean_over_seeds(x).half == pytest.approx(want, rel=5e-3)
    with pytest.raises(ValueError, match="two seeds"):
        mean_over_seeds([1.0])


def test_one_seed_is_no_comparison(blobs):
    with pytest.raises(ValueError, match="two seeds"):
        compare_generations(BornAgain(MLPClassifier()), *blobs, seeds=[1])


def test_a_plot_shows_every_generation(tmp_path):
    pytest.importorskip("matplotlib")
    report = report_of([[0.60, 0.70, 0.71], [0.61, 0.71, 0.72]], [0.70, 0.72])
    figure = report.plot(tmp_path / "generations.png")
    assert (tmp_path / "generations.png").stat().st_size > 1000
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [0.605, 0.705, 0.715])
