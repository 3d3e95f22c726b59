"""Partitions: every row once, no empty client, the promised mixture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.federated import partition

METHODS = ("iid", "dirichlet", "label", "group", "time")


@given(st.integers(1, 200), st.integers(1, 12), st.sampled_from(METHODS), st.floats(0.01, 100), st.integers(0, 5))
@settings(deadline=None)
def test_every_row_goes_to_exactly_one_client_and_none_is_empty(rows, n_clients, how, alpha, seed):
    y = np.random.default_rng(seed).integers(0, 4, rows)
    groups = np.arange(rows) % 1 if how == "group" else None
    if rows < n_clients:
        with pytest.raises(ValueError, match="every client needs at least one"):
            partition(y, n_clients, how=how, alpha=alpha, groups=groups)
        return
    parts = partition(y, n_clients, how=how, alpha=alpha, groups=groups, shards_per_client=1, random_state=seed)
    assert len(parts) == n_clients
    assert min(len(part) for part in parts) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    again = partition(y, n_clients, how=how, alpha=alpha, groups=groups, shards_per_client=1, random_state=seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again))


def test_another_seed_another_partition():
    y = np.arange(100) % 5
    for how in ("iid", "dirichlet", "label"):
        first, second = (partition(y, 4, how=how, random_state=seed) for seed in (0, 1))
        assert any(not np.array_equal(a, b) for a, b in zip(first, second)), how


def test_iid_parts_are_of_equal_size():
    assert [len(part) for part in partition(np.zeros(11), 4, random_state=0)] == [3, 3, 3, 2]


def largest_share(y, parts):
    return np.mean([np.bincount(y[part]).max() / len(part) for part in parts])


def test_a_small_alpha_concentrates_classes_and_a_large_one_does_not():
    y = np.random.default_rng(0).integers(0, 10, 5000)
    skewed = largest_share(y, partition(y, 10, how="dirichlet", alpha=0.05, random_state=0))
    even = largest_share(y, partition(y, 10, how="dirichlet", alpha=1000.0, random_state=0))
    assert skewed > 0.6
    assert even < 0.2


def test_shards_limit_the_classes_of_a_client():
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))
    for per_client in (1, 2):
        parts = partition(y, 10, how="label", shards_per_client=per_client, random_state=0)
        assert max(len(np.unique(y[part])) for part in parts) <= per_client


def test_groups_are_not_mixed_and_periods_follow_each_other():
    groups = np.array(["BTC", "ETH"] * 30)
    parts = partition(np.zeros(60), 6, how="group", groups=groups)
    assert [set(groups[part]) for part in parts] == [{"BTC"}] * 3 + [{"ETH"}] * 3
    assert parts[0].max() < parts[1].min() < parts[1].max() < parts[2].min()


def test_times_give_the_order():
    times = np.array([5, 1, 4, 0, 3, 2])
    parts = partition(np.zeros(6), 2, how="time", times=times)
    assert [sorted(times[part]) for part in parts] == [[0, 1, 2], [3, 4, 5]]
    grouped = partition(np.zeros(6), 2, how="group", groups=["a"] * 6, times=times)
    assert [sorted(times[part]) for part in grouped] == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("y", "n", "options", "message"),
    [
        ([[0, 1]], 1, {}, "one dimension"),
        ([0, 1], 0, {}, "n_clients must be an integer >= 1"),
        ([0, 1], 1.0, {}, "n_clients must be an integer"),
        ([0, 1], 3, {}, "2 rows cannot go to 3 clients"),
        ([0, 1], 1, {"how": "random"}, "how must be one of"),
        ([0, 1], 1, {"how": "dirichlet", "alpha": 0.0}, "alpha must be a number"),
        ([0, 1], 1, {"how": "dirichlet", "alpha": float("nan")}, "alpha must be a number"),
        ([0, 1], 2, {"how": "label", "shards_per_client": 2}, "do not fill 2 \\* 2 shards"),
        ([0, 1], 2, {"how": "label", "shards_per_client": 0}, "shards_per_client must be an integer"),
        ([0, 1], 1, {"how": "group"}, "needs groups="),
        ([0, 1], 1, {"how": "group", "groups": ["a"]}, "groups must have shape"),
        ([0, 1, 2], 3, {"how": "group", "groups": ["a", "b", "b"]}, "multiple of the 2 groups"),
        ([0, 1, 2, 3], 4, {"how": "group", "groups": ["a", "b", "b", "b"]}, "group a has 1 rows"),
        ([0, 1], 1, {"how": "time", "times": [0]}, "times must have shape"),
        ([0, 1], 1, {"times": [0, 1]}, "times has no meaning"),
        ([0, 1], 1, {"how": "time", "groups": [0, 1]}, "groups has no meaning"),
    ],
)
def test_errors(y, n, options, message):
    with pytest.raises(ValueError, match=message):
        partition(y, n, **options)
