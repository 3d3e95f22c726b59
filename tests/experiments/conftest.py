"""A result of the demo made up from random numbers: the report can be tested without training anything."""

import numpy as np
import pytest

from fastkd.condense import CondenseReport
from fastkd.condense.report import Trial
from fastkd.distill import GenerationReport
from fastkd.evaluation import class_shares, evaluation_report
from fastkd.experiments.latency import Latency
from fastkd.experiments.result import (
    Comparison,
    CurvePoint,
    DemoResult,
    Distillation,
    Federation,
    Market,
    Settings,
    Trained,
)


def walk(y, skill):
    """Forecasts as good as `skill`, in two folds and three regimes."""
    proba = np.full((len(y), 3), 0.2) + skill * np.eye(3)[y]
    options = {"folds": np.arange(len(y)) % 2, "regimes": np.arange(len(y)) % 3, "resamples": 50}
    names = {"class_names": ("DOWN", "FLAT", "UP"), "regime_names": ("BULL", "BEAR", "SIDEWAYS")}
    return evaluation_report(y, proba / proba.sum(axis=1, keepdims=True), **options, **names)


WAYS = ("local only", "FedMD", "pooled", "FedMD, one liar, mean", "FedMD, one liar, median")


def shared_forecasts(gain):
    """Desks that gain so much by FedMD, half of it with a liar and the median."""
    accuracy = 0.5 + np.array([0.0, gain, 2 * gain, -0.2, gain / 2])[:, None] + [-0.01, 0.01]
    return Distillation(5, 200, WAYS, accuracy, 0.45, 8000, 540_000)


def few_rows(gain):
    """Learnt rows whose balanced accuracy is so much above that of centroids."""
    y = np.arange(1000) % 2
    trials = []
    for name, share in (("full", 0.9), ("distribution_matching", 0.6 + gain), ("centroids", 0.6), ("random", 0.5)):
        scores = np.tile((np.arange(1000) // 2 % 500 < 500 * share).astype(float), (2, 1))
        sizes = (1000, 4000) if name == "full" else (20, 80)
        trials.append(Trial(name, "student", *sizes, scores, 0.1, 0.2, name == "full", name == "distribution_matching"))
    return CondenseReport(tuple(trials), y, False)


def make_result(skill=2.0, source="synthetic market"):
    """`skill` is how far the teacher sees; 0 gives models without any lead over the majority."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, 600, p=[0.2, 0.6, 0.2])

    def model(name, labels, skill, parameters):
        logits = rng.normal(size=(600, 3)) * 0.3 + np.log([0.2, 0.6, 0.2]) + skill * np.eye(3)[y]
        proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        if skill == 0:
            proba = np.tile([0.2, 0.6, 0.2], (600, 1))
        return Trained(name, labels, evaluation_report(y, proba, resamples=20), 0.875, parameters, 4 * parameters, 1.5)

    market = Market(
        source=source,
        interval="15m",
        candles=3000,
        gaps=1,
        first_ms=1_600_000_000_000,
        last_ms=1_602_700_000_000,
        features=4,
        train_rows=2300,
        test_rows=600,
        train_shares=class_shares(y),
        test_shares=class_shares(y),
        test_from_ms=1_602_000_000_000,
        bayes_accuracy=0.99 if skill > 0 else None,
        close_ms=np.arange(1_600_000_000_000, 1_602_700_000_000, 9_000_000),
        close=np.linspace(90.0, 110.0, 300),
    )
    hard, distilled = "student, labels only", "student, distilled"
    return DemoResult(
        settings=Settings(threshold=0.001),
        version="1.2.3",
        isa="baseline",
        market=market,
        teacher=model("teacher", 2300, skill, 34_563),
        full=Comparison(model(hard, 2300, skill / 2, 323), model(distilled, 2300, skill * 0.9, 323)),
        few=Comparison(model(hard, 200, skill / 4, 323), model(distilled, 200, skill * 0.8, 323)),
        curve=(CurvePoint(50, (0.55, 0.5), (0.7, 0.72)), CurvePoint(1000, (0.7, 0.7), (0.71, 0.73))),
        generations=GenerationReport(
            *[np.full((2, 3), 0.6)] * 4, np.array([0, 1]), *[np.full(2, 0.6)] * 3, np.array([0.2, 0.6, 0.2])
        ),
        walk=walk(y, skill),
        federation=Federation(10, 3, ("nobody", "sign flip"), ("mean", "krum"), np.array([[0.7, 0.66], [0.4, 0.65]])),
        distillation=shared_forecasts(skill / 50),
        condensed=few_rows(skill / 20),
        latency=tuple(
            (Latency("fastkd", n, 500, 1.25, 2.5, 9.0), Latency("NumPy", n, 500, 10.0, 20.0, 50.0)) for n in (1, 32)
        ),
        seconds=12.3,
    )


@pytest.fixture(scope="session")
def result():
    return make_result()


@pytest.fixture(scope="session")
def hopeless():
    """No model beats the majority; the name of the file tries to be markup."""
    return make_result(skill=0.0, source="<b>BTC & co</b>.csv")
