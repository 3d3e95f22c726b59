"""From updates to one in a round: what it costs, and the gap to the mean."""

import tracemalloc

import numpy as np
import pytest

from fastkd import aggregate
from fastkd.federated import RobustFL
from fastkd.federated.rules import Aggregation

NNM = "nearest_neighbor_mixing"


def outcome(updates, rule="median", f=1, pre=None, workers=1):
    return Aggregation(rule, f, pre, workers)(updates, 0, None, np.random.default_rng(0))


@pytest.fixture
def updates():
    return list(np.random.default_rng(1).normal(size=(9, 40)))


RULES = ["mean", "krum", "trimmed_mean", lambda a: np.median(a, axis=0), ("centered_clipping", {"radius": 2.0})]


@pytest.mark.parametrize("pre", [None, NNM, ("bucketing", {"size": 1}), lambda a: a[:7]])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "__name__", str(rule)))
def test_the_gap_is_the_distance_to_the_mean_of_what_arrived(updates, rule, pre):
    found = outcome(updates, rule, pre=pre)
    gap = np.linalg.norm(found.vector - np.mean(updates, axis=0))
    assert found.gap_to_mean == pytest.approx(gap, rel=1e-12, abs=1e-15)
    stacked = outcome(np.array(updates), rule, pre=pre)
    np.testing.assert_array_equal(stacked.vector, found.vector)


@pytest.mark.parametrize("pre", [None, "bucketing"])
def test_the_gap_is_finite_where_sums_are_not(updates, pre):
    huge = [np.full(40, 1e308), np.full(40, 1e308), *updates]
    found = outcome(huge, lambda a: np.median(a, axis=0), pre=pre)
    assert found.gap_to_mean == pytest.approx(1e308 * (np.sqrt(40) * 2 / 11))
    assert outcome(huge, pre=pre).gap_to_mean == pytest.approx(found.gap_to_mean)


@pytest.mark.parametrize("rule", ["mean", "median", "trimmed_mean"])
def test_updates_are_read_in_place(rule):
    updates = [np.full(200_000, float(k), np.float32) for k in range(20)]
    tracemalloc.start()
    try:
        outcome(updates, rule)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * updates[0].nbytes  # of the 20 that a copy would take


def test_a_round_hands_the_updates_over_as_they_are(bowl, bowl_clients, monkeypatch):
    seen = []
    plain = Aggregation.__call__

    def spy(self, updates, *others):
        seen.append(type(updates))
        return plain(self, updates, *others)

    federation = RobustFL(bowl(), bowl_clients([1, 2, 3]), rounds=1)
    monkeypatch.setattr(Aggregation, "__call__", spy)
    federation.run()
    assert seen == [list]


def test_shaped_updates(updates):
    shaped = [u.reshape(8, 5) for u in updates]
    for pre in (None, NNM):
        found, flat = outcome(shaped, "krum", pre=pre), outcome(updates, "krum", pre=pre)
        np.testing.assert_array_equal(found.vector.ravel(), flat.vector)
        assert found.gap_to_mean == flat.gap_to_mean


@pytest.mark.parametrize("pre", [NNM, "bucketing"])
def test_what_goes_before_the_rule_gets_the_workers(updates, monkeypatch, pre):
    seen = []
    plain = getattr(aggregate, pre)

    def spy(*args, **options):
        seen.append(options["workers"])
        return plain(*args, **options)

    monkeypatch.setattr(aggregate, pre, spy)
    outcome(updates, pre=pre, workers=3)
    assert seen == [3]
