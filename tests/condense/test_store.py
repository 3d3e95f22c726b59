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
