"""SnapshotDistillation: who teaches in which epoch, and what the snapshots are."""

import pickle

import numpy as np
import pytest

from fastkd.distill import CosineCycles, SnapshotDistillation
from fastkd.losses import softmax
from fastkd.models import MLPClassifier


def small(**params):
    return MLPClassifier((8,), **{"learning_rate": 0.01, "epochs": 12, "dtype": "float64", **params})


def seed_of(run):
    return run.snapshots_[0].random_state


def test_the_end_of_a_cycle_teaches_the_next(blobs):
    X, y, *_ = blobs
    run = SnapshotDistillation(small(), snapshots=3, temperature=2.0, kd_weight=0.4, random_state=0).fit(X, y)
    by_hand = small(random_state=seed_of(run), temperature=2.0, kd_weight=0.4, lr_schedule=CosineCycles(4))
    teacher = None
    for snapshot in run.snapshots_:
        for _ in range(4):
            by_hand.partial_fit(X, y, classes=[0, 1, 2], teacher_logits=teacher)
        np.testing.assert_array_equal(snapshot.parameters, by_hand.parameters)
        teacher = by_hand.predict_logits(X)
    assert run.history_["epoch"] == [4, 8, 12]
    assert len(run.history_["loss"]) == 12
    rates = run.snapshots_[-1].history_["learning_rate"]
    np.testing.assert_allclose(rates[:4], 0.01 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2)
    assert rates[4:8] == rates[:4]


def test_the_mean_of_the_snapshots_teaches_the_rest(blobs):
    X, y, *_ = blobs
    run = SnapshotDistillation(small(), way="average", snapshot_epochs=[2, 5], temperature=2.0, random_state=0)
    run.fit(X, y)
    assert run.history_["epoch"] == [2, 5, 12]
    by_hand = small(random_state=seed_of(run), temperature=2.0, kd_weight=0.5)
    outputs = []
    for epoch in range(12):
        soft = np.mean(outputs, axis=0) if epoch >= 5 else None
        by_hand.partial_fit(X, y, classes=[0, 1, 2], soft_labels=soft)
        if epoch + 1 in (2, 5):
            outputs.append(softmax(by_hand.predict_logits(X), 2.0))
    np.testing.assert_allclose(run.snapshots_[-1].parameters, by_hand.parameters, rtol=1e-7, atol=1e-9)


def test_predictions_of_last_best_and_all(blobs):
    X, y, X_val, y_val = blobs
    run = SnapshotDistillation(small(), snapshots=4, random_state=0).fit(X, y, eval_set=(X_val, y_val))
    scores = [s.score(X_val, y_val) for s in run.snapshots_]
    assert run.history_["val_accuracy"] == pytest.approx(scores)
    assert scores[run.best_snapshot_] == max(scores)
    np.testing.assert_array_equal(run.predict_proba(X), run.snapshots_[-1].predict_proba(X))
    run.set_params(predict_with="best")
    assert run.score(X_val, y_val) == max(scores)
    run.set_params(predict_with="ensemble")
    want = np.mean([s.predict_proba(X) for s in run.snapshots_], axis=0)
    np.testing.assert_allclose(run.predict_proba(X), want, rtol=1e-12)
    assert run.uncertainty(X).variance.shape == (len(X),)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(run)).predict_proba(X), run.predict_proba(X))


def test_unlabelled_rows_enter_with_the_first_teacher(blobs):
    X, y, *_ = blobs
    some = np.where(np.arange(len(y)) < 60, y, -1)
    run = SnapshotDistillation(small(), snapshots=2, random_state=0).fit(X, some)
    first = small(random_state=seed_of(run), lr_schedule=CosineCycles(6))
    for _ in range(6):
        first.partial_fit(X[:60], y[:60], classes=[0, 1, 2])
    np.testing.assert_array_equal(run.snapshots_[0].parameters, first.parameters)
    assert (run.snapshots_[1].parameters != first.parameters).any()


def test_a_run_that_breaks_off_keeps_its_snapshots(blobs, monkeypatch):
    X, y, *_ = blobs
    passes = []
    whole = MLPClassifier.partial_fit

    def breaks(self, *args, **kwargs):
        passes.append(1)
        if len(passes) > 7:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(MLPClassifier, "partial_fit", breaks)
    run = SnapshotDistillation(small(), snapshots=4, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        run.fit(X, y)
    assert run.history_["epoch"] == [3, 6]
    assert run.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"way": "both"}, "way must be one of"),
        ({"snapshots": 0}, "snapshots"),
        ({"snapshots": 13}, "at least 13 epochs"),
        ({"snapshots": 12, "way": "average"}, "at least 13 epochs"),
        ({"snapshot_epochs": [3]}, "cycles are of equal length"),
        ({"snapshot_epochs": [3, 3], "way": "average"}, "must ascend"),
        ({"snapshot_epochs": [12], "way": "average"}, "must ascend"),
        ({"snapshot_epochs": [], "way": "average"}, "must ascend"),
        ({"kd_weight": -0.1}, "kd_weight"),
        ({"predict_with": "first"}, "predict_with"),
    ],
)
def test_bad_input_is_named(blobs, arguments, message):
    with pytest.raises(ValueError, match=message):
        SnapshotDistillation(small(), random_state=0, **arguments).fit(*blobs[:2])
