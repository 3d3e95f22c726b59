"""The report: its figures are those of the metrics, its intervals cover, and accuracy never stands alone."""

import json
import re

import numpy as np
import pytest

from fastkd import evaluation as ev
from fastkd.evaluation.bootstrap import METRICS, block_bootstrap, default_block


def draw(seed, n=400, skill=1.0):
    """Classes 0 .. 2 and forecasts that know something of them."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, 3))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(3, p=p) for p in proba])
    return (y if skill else rng.permutation(y)), proba


def test_its_figures_are_those_of_evaluate():
    y, proba = draw(0)
    folds = np.repeat([0, 1, -1, 2], 100)
    regimes = np.arange(400) % 2
    report = ev.evaluation_report(y, proba, folds=folds, regimes=regimes, regime_names=("BULL", "BEAR"), resamples=50)
    for part, rows in [
        (report.overall, slice(None)),
        (report.folds[0], folds == 0),
        (report.folds[2], folds == 2),
        (report.regimes[1], regimes == 1),
    ]:
        expected = ev.evaluate(y[rows], proba[rows])
        assert str(part.evaluation) == str(expected)
        assert part.skill == expected.no_skill_log_loss - expected.log_loss
        assert set(part.intervals) == set(METRICS)
    assert [part.name for part in report.folds] == ["fold 1", "fold 2", "fold 3"]
    assert [part.name for part in report.regimes] == ["BULL", "BEAR"]


def test_each_resample_is_judged_by_the_metrics():
    y, proba = draw(1, 60)
    block, seed = 7, 5
    got = block_bootstrap(y, proba, resamples=2, block=block, confidence=0.999, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(2):
        rows = np.concatenate([(start + np.arange(block)) % 60 for start in rng.integers(0, 60, 9)])
        figures = ev.evaluate(y[rows], proba[rows])
        shares = ev.class_shares(y, 3)
        drawn.append(
            {
                **{name: getattr(figures, name) for name in METRICS if name not in ("lead", "skill")},
                "lead": figures.accuracy - (y[rows] == shares.argmax()).mean(),
                "skill": -np.log(shares)[y[rows]].mean() - figures.log_loss,
            }
        )
    for name in METRICS:
        assert got[name] == pytest.approx(sorted(one[name] for one in drawn), rel=1e-9, abs=1e-12), name


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    inside = 0
    for seed in range(60):
        y, proba = draw(seed, 300)
        # The forecasts are the true probabilities, so the expected Brier score is known row by row.
        truth = (1 - (proba**2).sum(axis=1)).mean()
        low, high = ev.evaluation_report(y, proba, resamples=200, block=1, confidence=0.8).overall.intervals["brier"]
        inside += low <= truth <= high
    assert 36 <= inside <= 58  # of 60, at 80 %


def test_blocks_make_intervals_of_dependent_rows_wider():
    y, proba = draw(2, 200)
    y, proba = np.repeat(y, 10), np.repeat(proba, 10, axis=0)  # labels that overlap
    widths = []
    for block in (1, 40):
        low, high = ev.evaluation_report(y, proba, block=block).overall.intervals["accuracy"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_verdicts():
    y, proba = draw(3, 2000)
    good = ev.evaluation_report(y, proba, resamples=200)
    assert good.beats_majority
    assert good.has_skill
    assert "beats the majority baseline;\nby log-loss it knows more" in str(good)
    shuffled, _ = draw(3, 2000, skill=0)
    bad = ev.evaluation_report(shuffled, proba, resamples=200)
    assert not bad.beats_majority
    assert not bad.has_skill
    assert "does not measurably beat the majority baseline;\nby log-loss it does not know more" in str(bad)
    wrong = ev.evaluation_report((y + 1) % 3, proba, resamples=200)  # a lead of -10 points is no "does not beat"
    assert "is measurably worse than the majority baseline" in str(wrong)
    constant = ev.evaluation_report(y, np.tile(ev.class_shares(y), (2000, 1)), resamples=200)
    assert not constant.beats_majority
    assert constant.overall.intervals["lead"] == (0.0, 0.0)
    assert "does not measurably beat" in str(constant)
    assert constant.overall.intervals["mcc"] == (0.0, 0.0)


def test_accuracy_never_stands_alone():
    y, proba = draw(4)
    text = str(ev.evaluation_report(y, proba, folds=np.arange(400) // 200, resamples=20))
    for word in (
        "DOWN",
        "majority",
        "balanced accuracy",
        "MCC",
        "log-loss",
        "no skill",
        "Brier",
        "calibration",
        "fold 2",
    ):
        assert word in text, word
    assert text.index("majority") < text.index("accuracy")
    for line in text.splitlines():  # a line that gives accuracies names the majority too
        if re.search(r"fold +rows", line):
            assert "majority" in line
            assert "balanced" in line
            assert "MCC" in line
    part = ev.evaluation_report(y, proba, resamples=20).to_dict()["overall"]
    assert {"shares", "majority", "accuracy", "balanced_accuracy", "mcc", "log_loss", "no_skill_log_loss"} <= set(part)


def test_as_dict_it_survives_json():
    y, proba = draw(5)
    report = ev.evaluation_report(y, proba, regimes=np.zeros(400, dtype=int), resamples=20, block=5)
    found = json.loads(json.dumps(report.to_dict()))
    assert found == report.to_dict()
    assert found["block"] == 5
    assert found["overall"]["accuracy"]["value"] == report.overall.evaluation.accuracy
    assert found["regimes"][0]["mcc"]["low"] == report.regimes[0].intervals["mcc"].low


def test_a_certainty_that_failed_is_infinite_in_the_intervals_too():
    proba = np.tile([0.5, 0.5], (50, 1))
    proba[10] = [0.0, 1.0]
    part = ev.evaluation_report(np.zeros(50, dtype=int), proba, resamples=50).overall
    assert part.evaluation.log_loss == np.inf
    assert part.intervals["log_loss"].high == np.inf
    assert part.intervals["log_loss"].low == pytest.approx(np.log(2))
    assert part.intervals["skill"].low == -np.inf


def test_the_seed_decides():
    y, proba = draw(6)
    one, two, other = (ev.evaluation_report(y, proba, resamples=30, random_state=seed) for seed in (1, 1, 2))
    assert one.to_dict() == two.to_dict()
    assert one.overall.intervals != other.overall.intervals


def test_tiny_parts_do_not_break_it():
    report = ev.evaluation_report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], folds=[0, 1, 1], resamples=5)
    assert [part.evaluation.n for part in report.folds] == [1, 2]
    assert "fold 1" in str(report)
    assert report.class_names == ("0", "1")
    assert default_block(1) == 1


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    y, proba = draw(7)
    report = ev.evaluation_report(y, proba, folds=np.arange(400) // 200, resamples=20)
    figure = report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    calibration, confusion, parts = figure.axes
    assert "balanced accuracy" in confusion.get_title()
    assert [tick.get_text() for tick in parts.get_yticklabels()] == ["all rows", "fold 1", "fold 2"]
    line = calibration.lines[1]
    assert line.get_ydata() == pytest.approx(report.overall.evaluation.reliability.frequency)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": [0]}, r"folds must be one integer a row, shape \(4,\); got"),
        ({"regimes": [0.0] * 4}, "regimes must be one integer"),
        ({"block": 0}, "block must be"),
        ({"resamples": 1}, "resamples must be"),
        ({"confidence": 1.0}, "confidence must lie"),
        ({"class_names": ("a",)}, "must name the 2 classes"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ev.evaluation_report([0, 1, 1, 0], [[0.5, 0.5]] * 4, **options)
    with pytest.raises(ValueError, match="unknown class"):
        ev.evaluation_report([0, -1], [[0.5, 0.5]] * 2)


def test_a_block_as_long_as_the_rows_does_not_shrink_the_interval_to_a_point():
    rng = np.random.default_rng(0)
    y, proba = rng.integers(0, 3, 45), rng.dirichlet(np.ones(3), 45)
    report = ev.evaluation_report(y, proba, block=48)
    low, high = report.overall.intervals["lead"]
    assert high - low > 0.05
    assert report.block == 45 // 4
