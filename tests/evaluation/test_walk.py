"""Walking forward: each fold is fitted on its past alone, and the report holds every test row once."""

from typing import ClassVar

import numpy as np
import pytest

from fastkd.evaluation import evaluate, walk_forward_report
from fastkd.features import (
    FeatureSet,
    MinMaxScaler01,
    Regime,
    Standardizer,
    direction_labels,
    regime_labels,
    walk_forward,
)
from fastkd.market import Candles, synthetic_market
from fastkd.models import MLPClassifier


class Recorder:
    """Forecasts the class shares of what it was fitted on, and keeps what it saw."""

    seen: ClassVar[list] = []

    def fit(self, X, y):
        Recorder.seen.append((X, y))
        self.classes_ = np.unique(y)
        self.shares = np.bincount(y)[self.classes_] / len(y)
        return self

    def predict_proba(self, X):
        return np.tile(self.shares, (len(X), 1))


@pytest.fixture(autouse=True)
def _forget():
    Recorder.seen = []


def test_models_and_scalers_see_the_past_alone():
    X = np.arange(100.0)[:, None]
    y = np.arange(100) % 2
    splits = list(walk_forward(100, 4, purge=3))
    model = Recorder()
    report = walk_forward_report(model, X, y, splits, scaler=MinMaxScaler01(), resamples=10)
    assert not hasattr(model, "shares")  # copies were fitted
    assert len(Recorder.seen) == 4
    for (train, _), (seen, labels) in zip(splits, Recorder.seen):
        assert (labels == y[train]).all()
        assert (seen[:, 0].min(), seen[:, 0].max()) == (0.0, 1.0)  # scaled by these rows and no others
    tests = np.concatenate([test for _, test in splits])
    assert report.overall.evaluation.n == len(tests)
    assert [part.evaluation.n for part in report.folds] == [len(test) for _, test in splits]


def test_rows_without_a_label_are_left_out_and_missing_classes_get_nothing():
    y = np.array([0, 0, -1, 2, 2, 1, -1, 1])
    splits = [(np.arange(5), np.arange(5, 8))]
    report = walk_forward_report(Recorder(), np.zeros((8, 1)), y, splits, resamples=10, regimes=y)
    assert (Recorder.seen[0][1] == [0, 0, 2, 2]).all()
    assert report.overall.evaluation.n == 2
    assert report.overall.evaluation.log_loss == np.inf  # class 1 was never seen
    assert [part.name for part in report.regimes] == ["regime 1"]


def test_progress_is_told():
    done = []
    walk_forward_report(
        Recorder(), np.zeros((40, 2)), np.arange(40) % 2, walk_forward(40, 3), progress=done.append, resamples=10
    )
    assert done == [1, 2, 3]


def test_it_finds_what_the_synthetic_market_hides():
    market = synthetic_market(4000, random_state=0)
    features = FeatureSet("rich")
    X, _ = features.transform(market)
    y = direction_labels(market)[features.n_warmup :]
    model = MLPClassifier((32,), epochs=20, learning_rate=0.01, random_state=0)
    report = walk_forward_report(model, X, y, walk_forward(len(y), 3, purge=1), scaler=Standardizer(), resamples=200)
    assert report.beats_majority
    assert report.has_skill
    tested = np.concatenate([test for _, test in walk_forward(len(y), 3, purge=1)])
    tested = tested[y[tested] >= 0]
    best = evaluate(y[tested], market.bayes_proba[features.n_warmup :][tested])
    assert report.overall.evaluation.log_loss > best.log_loss  # nobody beats the truth


def test_recorded_candles(data_dir):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    candles = Candles.read_csv(data_dir / "bybit_linear_ETHUSDT_1h.csv.gz")[-9000:]
    features = FeatureSet("rich")
    X, _ = features.transform(candles)
    y = direction_labels(candles, "volatility", horizon=4)[features.n_warmup :]
    regimes = regime_labels(candles, "trailing", window=48)[features.n_warmup :]
    report = walk_forward_report(
        LogisticRegression(C=0.01, max_iter=300),
        X,
        y,
        walk_forward(len(y), 4, purge=4, embargo=12),
        scaler=Standardizer(),
        regimes=regimes,
        regime_names=[regime.name for regime in Regime],
        block=48,
    )
    figures = report.overall.evaluation
    assert len(report.folds) == 4
    assert [part.name for part in report.regimes] == ["BULL", "BEAR", "SIDEWAYS"]
    # Directions of real prices are next to unforecastable: whoever finds more has leaked.
    assert abs(figures.lead) < 0.03
    assert abs(figures.mcc) < 0.15
    assert figures.calibration_error < 0.1


@pytest.mark.parametrize(
    ("y", "splits", "says"),
    [
        ([0, 1], [([1], [0])], "trains on row 1, which is not before"),
        ([-1, 1], [([0], [1])], "0 labelled training and 1 test rows"),
        ([0, 1], [], "no folds"),
        ([0, 1, 1], [([0], [1])], "same number of rows"),
    ],
)
def test_bad_folds_are_refused(y, splits, says):
    with pytest.raises(ValueError, match=says):
        walk_forward_report(Recorder(), np.zeros((2, 1)), y, splits)
    with pytest.raises(TypeError, match="integers"):
        walk_forward_report(Recorder(), np.zeros((2, 1)), [0.0, 1.0], splits)
