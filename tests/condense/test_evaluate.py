"""The report: who wins, and whether the interval says so."""

import json

import numpy as np
import pytest

from fastkd.condense import Condensed, CondenseReport, condense, evaluate, evaluate_walk_forward
from fastkd.condense.report import Trial
from fastkd.models import MLPClassifier

QUICK = MLPClassifier(hidden=(16,), epochs=60, learning_rate=0.02)


def trial(name, scores, learnt):
    return Trial(name, "mlp", 10, 100, np.asarray(scores, float), 0.1, 2.0 if learnt else 0.01, False, learnt)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.9, ["gradient matching wins: +"]),
        (0.3, ["centroids win; gradient matching is not worth its cost here: -"]),
        (0.6, ["no difference can be seen", "gradient matching is not worth its cost here"]),
    ],
)
def test_the_verdict_follows_the_interval(share, words):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    learnt = trial("gradient_matching", rng.random((3, 400)) < share, True)
    rival = trial("centroids", rng.random((3, 400)) < 0.6, False)
    worse = trial("random", rng.random((3, 400)) < 0.2, False)
    report = CondenseReport((learnt, rival, worse), y, False)
    for word in words:
        assert word in report.verdict
    gap, (low, high) = report.difference(learnt, rival)
    assert low < gap < high
    assert gap == pytest.approx(report.score(learnt) - report.score(rival))


def test_the_interval_covers_the_truth():
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.repeat([0, 1], 150)
        a, b = (trial(n, rng.random((4, 300)) < p, n == "a") for n, p in (("a", 0.7), ("b", 0.6)))
        low, high = CondenseReport((a, b), y, False).difference(a, b)[1]
        covered += low <= 0.1 <= high
    assert covered >= 50


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    y = np.array([0, 0, 0, 1])
    t = trial("a", [[1, 1, 0, 1]], True)
    assert CondenseReport((t,), y, False).score(t) == pytest.approx((2 / 3 + 1) / 2)


def test_the_report_has_everything(blobs, tmp_path):
    pytest.importorskip("matplotlib")
    X, y = blobs
    sets = [condense(X[:400], y[:400], method=m, per_class=3, random_state=0) for m in ("herding", "kcenter")]
    report = evaluate(
        sets,
        X[:400],
        y[:400],
        X[400:],
        y[400:],
        model={"mlp": QUICK, "linear": MLPClassifier(hidden=(), epochs=60, learning_rate=0.05)},
        seeds=2,
    )
    names = {t.name for t in report.trials}
    assert names == {"full", "herding", "kcenter", "random", "centroids", "kmedoids"}
    out = json.loads(json.dumps(report.to_dict()))
    assert len(out["trials"]) == 12
    assert all(t["rows"] == 9 for t in out["trials"] if t["name"] != "full")
    assert all(0 <= t["balanced_accuracy"] <= 1 for t in out["trials"])
    text = str(report)
    assert "majority baseline" in text
    assert "no price path" in text
    assert report.verdict.startswith("no verdict")  # nothing learnt among them
    report.plot(tmp_path / "scores.png")
    report.plot_rows(tmp_path / "rows.png")
    assert (tmp_path / "rows.png").stat().st_size > 1000


def test_sets_of_several_sizes_are_named_by_them_and_drawn_as_one_line(blobs):
    pytest.importorskip("matplotlib")
    X, y = blobs
    sets = [condense(X, y, method="herding", per_class=k, random_state=0) for k in (2, 1, 1)]
    report = evaluate(sets, X, y, X, y, model={"mlp": QUICK}, seeds=1, baselines=["centroids"])
    assert [t.name for t in report.trials] == [
        "full",
        "herding 2",
        "herding 1",
        "herding 1'",
        "centroids 1",
        "centroids 2",
    ]
    axes = report.plot().axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["all 600 rows", "herding", "herding 1'", "centroids"]
    lines = {line.get_label(): line for line in axes.containers}
    assert list(lines["centroids"].lines[0].get_xdata()) == [3, 6]


def test_soft_labels_and_weights_are_used(blobs):
    X, y = blobs
    small = condense(X, y, method="centroids", per_class=2, class_weights="prior", random_state=0)
    turned = Condensed(small.X, small.y, soft_labels=np.roll(np.eye(3)[small.y], 1, axis=1).astype(small.X.dtype))
    report = evaluate({"turned": turned}, X, y, X, y, model=QUICK, seeds=1, baselines=["centroids"])
    by_name = {t.name: report.accuracy(t) for t in report.trials}
    assert by_name["turned"] < 0.3 < by_name["centroids"]


class LeastSquares:
    """No intercept, as the sketch has none."""

    def fit(self, X, y):
        self.w = np.linalg.lstsq(X, y, rcond=None)[0]
        return self

    def predict(self, X):
        return X @ self.w


def test_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=300)
    sketch = condense(X, y, method="linear_sketch")
    model = LeastSquares()
    report = evaluate(sketch, X, y, X, y, model=model, seeds=2, baselines=["random"])
    by_name = {t.name: report.score(t) for t in report.trials}
    assert report.metric == "R2"
    assert by_name["linear_sketch"] == pytest.approx(by_name["full"], rel=1e-9)
    assert by_name["linear_sketch"] > by_name["random"]


def test_walk_forward_trains_before_it_tests(blobs):
    X, y = blobs
    report = evaluate_walk_forward(["herding"], X, y, folds=2, purge=5, per_class=2, model=QUICK, seeds=2)
    assert len(report.y_test) == 400
    np.testing.assert_array_equal(report.y_test, y[200:])
    assert {t.scores.shape for t in report.trials} == {(2, 400)}


def test_errors(blobs):
    X, y = blobs
    small = condense(X, y, method="random", per_class=2, random_state=0)
    with pytest.raises(TypeError, match="Condensed objects"):
        evaluate([X], X, y, X, y)
    with pytest.raises(ValueError, match="has 4 features"):
        evaluate(small, X[:, :2], y, X[:, :2], y)
    with pytest.raises(ValueError, match="baselines must be among"):
        evaluate(small, X, y, X, y, baselines=["best"])
    with pytest.raises(ValueError, match="at least one seed"):
        evaluate(small, X, y, X, y, seeds=[])


@pytest.mark.parametrize("each", [True, False])
def test_random_rows_under_another_name_are_seldom_called_better(each):
    """With a draw a seed the intervals hold; with one draw for all they cannot, and the verdict says so."""
    rng = np.random.default_rng(1)
    told, trials = 0, 24
    for k in range(trials):
        y = rng.integers(0, 2, 900)
        X = rng.normal(size=(900, 5)) + 0.6 * y[:, None]
        drawn = [condense(X[:300], y[:300], method="random", per_class=5, random_state=100 * k + j) for j in range(6)]
        for small in drawn:
            small.info["method"] = "learnt"
        model = {"m": MLPClassifier((), epochs=40, learning_rate=0.05)}
        sets = {"learnt": drawn if each else drawn[0]}
        verdict = evaluate(
            sets, X[:300], y[:300], X[300:], y[300:], seeds=6, model=model, baselines=("random",)
        ).verdict
        assert ("of one set" in verdict) != each
        told += "no difference" not in verdict
    assert told <= trials // 4 if each else told > 0


def test_every_size_has_its_rival_and_an_uneven_set_the_nearest():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 12])
    X = rng.normal(size=(312, 3)) + y[:, None]
    few = condense(X, y, method="centroids", per_class=2, random_state=0)
    many = condense(X, y, method="distribution_matching", per_class=6, iterations=5, random_state=0)
    report = evaluate({"few": few, "many": many}, X, y, X, y, seeds=2, baselines=("centroids",))
    assert {t.name for t in report.trials} == {"full", "few", "many", "centroids 6"}
    assert "12 rows: " in report.verdict
    keep = np.arange(len(many)) < 10  # as where a regime has too few rows of a class
    uneven = Condensed(many.X[keep], many.y[keep], info=dict(many.info))
    report = evaluate({"uneven": uneven}, X, y, X, y, seeds=2, baselines=("random",))
    assert "10 rows against 12: " in report.verdict


def test_a_list_is_one_set_a_seed_and_labels_must_be_of_one_kind():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    small = condense(X, y, method="random", per_class=3, random_state=0)
    with pytest.raises(ValueError, match="one a seed; got 2 for 3"):
        evaluate({"two": [small, small]}, X, y, X, y, seeds=3)
    with pytest.raises(ValueError, match="no label of y_test"):
        evaluate(small, X, y, X, y.astype(str), seeds=1)
