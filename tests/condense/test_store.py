"""Regimes with their weights, and versions that know what they have seen."""

import numpy as np
import pytest

from fastkd.condense import CondensedStore, condense_regimes
from fastkd.features import Cusum


def market(n=600, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + y[:, None], y


def feed(store, X, y, step=100, first=0):
    made = []
    for at in range(0, len(X), step):
        time = 60_000 * np.arange(first + at, first + at + len(X[at : at + step]))
        made.append(store.update(X[at : at + step], y[at : at + step], time))
    return made


def test_weights_restore_the_shares_of_regimes_and_classes():
    X, y = market()
    regime = np.where(np.arange(600) % 20 == 0, 1, 0)
    regime[:10] = -1
    small = condense_regimes(X, y, regime, method="kmedoids", per_class=3, random_state=0)
    names = np.array(small.info["regimes"])
    assert names.tolist() == [0] * 6 + [1] * 6
    for r in (0, 1):
        for c in (0, 1):
            share = ((regime == r) & (y == c)).sum() / (regime != -1).sum()
            got = small.sample_weight[(names == r) & (small.y == c)].sum() / small.sample_weight.sum()
            assert got == pytest.approx(share)


def test_a_rare_regime_keeps_the_rows_it_has():
    X, y = market()
    regime = np.array(["calm"] * 595 + ["crash"] * 5)
    y[-5:] = [0, 0, 0, 0, 1]
    small = condense_regimes(X, y, regime, method="centroids", per_class=2, random_state=0)
    assert small.info["regimes"] == ["calm"] * 4 + ["crash"] * 3
    assert small.y[-3:].tolist() == [0, 0, 1]
    assert (X[-1] == small.X[-1]).all()
    with pytest.raises(ValueError, match="as many rows"):
        condense_regimes(X, y, regime[:-1])
    with pytest.raises(ValueError, match="no row has a known regime"):
        condense_regimes(X, y, np.full(600, -1))


def test_periodic_versions_see_the_window(tmp_path):
    store = CondensedStore(tmp_path / "a", every=200, window=300, method="centroids", per_class=2, random_state=0)
    assert feed(store, *market()) == [None, 1, None, 2, None, 3]
    assert store.versions() == [1, 2, 3]
    assert store.seen(3) == (60_000 * 300, 60_000 * 599)
    assert store.load().info["rows_seen"] == 300
    assert store.load(1).info["rows_seen"] == 200
    again = CondensedStore(tmp_path / "a", method="centroids", per_class=2)
    np.testing.assert_array_equal(again.load(2).X, store.load(2).X)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("centroids", {}),
        ("distribution_matching", {"iterations": 100, "class_weights": "prior"}),
        ("kip", {"iterations": 10, "learn_labels": True}),
    ],
)
def test_twenty_rows_of_six_features_cost_under_a_kilobyte(tmp_path, method, options):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 6)), rng.integers(0, 2, 400)
    store = CondensedStore(tmp_path, every=400, method=method, per_class=10, random_state=0, **options)
    store.update(X, y, 1_760_000_000_000 + 300_000 * np.arange(400))
    assert store.load().X.shape == (20, 6)
    assert store.size() == sum(p.stat().st_size for p in tmp_path.iterdir()) < 1000


def test_a_damaged_version_is_named(tmp_path):
    store = CondensedStore(tmp_path, every=200, method="centroids", per_class=2)
    feed(store, *market(200))
    file = tmp_path / "version-000001.fkd"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"version-000001\.fkd is damaged"):
        store.load()


def test_incremental_versions_remember_what_they_no_longer_hold(tmp_path):
    X, y = market()
    X[:200] += 5
    store = CondensedStore(
        tmp_path, policy="incremental", every=200, window=200, method="centroids", per_class=1, random_state=0
    )
    feed(store, X, y)
    assert store.seen(3) == (0, 60_000 * 599)
    assert store.load(3).info["rows_seen"] == 600
    again = CondensedStore(tmp_path, policy="incremental", every=200, method="centroids", per_class=1)
    with pytest.raises(ValueError, match="has seen the candles up to"):
        feed(again, X, y)
    means = np.array([X[y == c].mean(axis=0) for c in (0, 1)])
    np.testing.assert_allclose(store.load(3).X, means, atol=0.25)


def test_a_change_of_regime_triggers_a_version(tmp_path):
    X, y = market(800)
    X[500:, 0] += 8
    detector = Cusum(warmup=100)
    store = CondensedStore(
        tmp_path, policy="regime_triggered", detector=detector, window=200, method="centroids", per_class=1
    )
    made = feed(store, X, y)
    assert made[0] == 1  # the first rows
    assert made[5] == 2  # the change
    assert [m for m in made if m] == [1, 2]


def test_ensemble_over_horizons(tmp_path):
    store = CondensedStore(
        tmp_path, policy="ensemble", every=300, horizons={"short": 100, "long": 300}, method="centroids", per_class=2
    )
    feed(store, *market(300))
    small = store.load()
    assert small.info["horizons"] == ["short"] * 4 + ["long"] * 4
    assert store.seen() == (0, 60_000 * 299)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="policy must be one of"):
        CondensedStore(tmp_path, policy="daily")
    with pytest.raises(ValueError, match="needs a detector"):
        CondensedStore(tmp_path, policy="regime_triggered")
    with pytest.raises(ValueError, match="needs horizons"):
        CondensedStore(tmp_path, policy="ensemble")
    store = CondensedStore(tmp_path, every=50, method="centroids", per_class=1)
    with pytest.raises(ValueError, match="holds no version"):
        store.load()
    X, y = market(100)
    store.update(X, y, np.arange(100))
    with pytest.raises(ValueError, match="a candle is seen once"):
        store.update(X, y, np.arange(99, 199))
    assert store.update(X[:0], y[:0], []) is None


def test_incremental_weights_keep_the_shares_of_the_classes(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 3)), (rng.random(3000) < 0.1).astype(int)
    store = CondensedStore(
        tmp_path, policy="incremental", every=500, per_class=5, method="centroids", class_weights="prior"
    )
    feed(store, X, y, step=500)
    for version in store.versions():
        small, share = store.load(version), y[: 500 * version].mean()
        assert small.sample_weight[small.y == 1].sum() / small.sample_weight.sum() == pytest.approx(share)
        assert small.info["class_counts"] == np.bincount(y[: 500 * version]).tolist()


def test_old_rows_of_a_rare_class_do_not_outweigh_new_ones(tmp_path):
    rng = np.random.default_rng(0)
    y = (np.arange(1000) % 10 == 0).astype(int)
    X = rng.normal(size=(1000, 1)) + np.repeat([0.0, 10.0], 500)[:, None]
    store = CondensedStore(tmp_path, policy="incremental", every=500, per_class=1, method="centroids")
    feed(store, X, y, step=500)
    # 450 and 50 old rows: 200 and 22 copies beside 450 and 50 new rows
    np.testing.assert_allclose(store.load().X[:, 0], [4500 / 650, 500 / 72], atol=0.2)


def test_after_a_restart_the_window_is_filled_first(tmp_path):
    X, y = market(800)
    options = {"every": 100, "window": 300, "method": "centroids", "per_class": 2}
    feed(CondensedStore(tmp_path, **options), X[:500], y[:500])
    again = CondensedStore(tmp_path, **options)
    assert feed(again, X[500:700], y[500:700], first=500) == [None, None]
    assert feed(again, X[700:], y[700:], first=700) == [6]
    assert again.load().info["rows_seen"] == 300
    third = CondensedStore(tmp_path, **options)
    assert feed(third, X[500:], y[500:], first=500) == [None, None, None]  # all seen: nothing is new
    assert feed(third, X[:100], y[:100], first=800) == [7]
    assert third.seen() == (60_000 * 600, 60_000 * 899)


def test_an_alarm_waits_until_a_version_can_be_made(tmp_path):
    class Second:
        calls = 0

        def detect(self, values):
            self.calls += 1
            return [1] if self.calls == 2 else []

    X, y = market(400)
    y[100:200] = 0
    store = CondensedStore(
        tmp_path, policy="regime_triggered", detector=Second(), window=100, per_class=5, method="centroids"
    )
    assert feed(store, X, y) == [1, None, 2, None]


def test_bad_rows_leave_the_store_as_it_was(tmp_path):
    X, y = market(200)
    store = CondensedStore(tmp_path, every=200, method="centroids", per_class=2)
    store.update(X[:100], y[:100], np.arange(100))
    time = np.arange(100, 200)
    for bad, labels, message in [
        (X[100:] * np.nan, y[100:], "NaN"),
        (X[100:, :2], y[100:], "expected"),
        (X[100:, 0], y[100:], "expected"),
        (X[100:], np.where(time == 100, -1, y[100:]), "unknown"),
        (X[100:], y[100:].astype(str), "labels are"),
        (X[100:], y[100:] + 0.5, "whole"),
    ]:
        with pytest.raises(ValueError, match=message):
            store.update(bad, labels, time)
    assert store.update(X[100:], y[100:], time) == 1
    with pytest.raises(ValueError, match="has 2 features"):
        CondensedStore(tmp_path, per_class=2).update(X[:, :2], y, np.arange(200, 400))


def test_incremental_waits_for_rows_of_a_new_class(tmp_path):
    X, y = market(600)
    y[200], y[500:503] = 2, 2
    store = CondensedStore(tmp_path, policy="incremental", every=200, per_class=2, method="centroids")
    assert feed(store, X, y, step=200) == [1, None, 2]
    assert store.load().info["class_counts"] == np.bincount(y).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_clas": 2}, "no option 'per_clas'"),
        ({"method": "linear_sketch"}, "method"),
        ({"checkpoint": "a"}, "no ch"),
    ],
)
def test_options_are_checked_at_once(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        CondensedStore(tmp_path, **options)


def test_an_interrupted_condensation_is_not_published(tmp_path):
    def stop(done, total, loss):
        if calls.append(done) is None and len(calls) == 3:
            raise KeyboardInterrupt

    calls = []
    X, y = market(300)
    store = CondensedStore(
        tmp_path, every=200, method="distribution_matching", per_class=2, iterations=5, learning_rate=0.1, progress=stop
    )
    with pytest.raises(KeyboardInterrupt):
        store.update(X[:200], y[:200], np.arange(200))
    assert store.versions() == []
    assert store.update(X[200:], y[200:], np.arange(200, 300)) == 1
    assert store.load().info["rows_seen"] == 300


def test_regimes_with_checkpoint_teacher_and_interrupt(tmp_path):
    class Teacher:
        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    X, y = market()
    regime = np.arange(600) % 2
    options = {"method": "distribution_matching", "iterations": 10, "learning_rate": 0.1, "random_state": 0}
    small = condense_regimes(X, y, regime, checkpoint=tmp_path / "c.npz", **options)
    again = condense_regimes(X, y, regime, checkpoint=tmp_path / "c.npz", **options)
    np.testing.assert_array_equal(small.X, again.X)
    assert len(list(tmp_path.iterdir())) == 2
    assert small.info["interrupted"] is False

    def stop(done, total, loss):
        if done == 3:
            raise KeyboardInterrupt

    short = condense_regimes(X, y, regime, progress=stop, **options)
    assert short.info["interrupted"] is True
    assert short.info["regimes"] == [0] * 4
    assert short.info["rows_seen"] == 300

    rare = np.where(np.arange(600) < 1, 1.0, np.where(np.arange(600) < 11, np.nan, 0.0))
    small = condense_regimes(X, y, rare, teacher=Teacher(), **options)
    assert small.soft_labels.shape == (5, 2)
    assert small.info["rows_seen"] == 590
    for bad, message in [
        ({"method": "linear_sketch"}, "linear_sketch"),
        ({"learn_labels": True}, "learn_labels needs"),
    ]:
        with pytest.raises(ValueError, match=message):
            condense_regimes(X, y, rare, **(options | bad))
    with pytest.raises(ValueError, match="must be labels"):
        condense_regimes(X, y + 0.5, regime, **options)
