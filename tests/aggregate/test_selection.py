"""Which clients Krum, Multi-Krum and Bulyan choose: the definition's in float64, also where scores nearly tie."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastkd import aggregate, reference
from fastkd._core import _native

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def selected(rule, *arguments):
    return getattr(aggregate, rule)(*arguments, return_info=True)[1].selected


def plain_choice(D, f):
    """Bulyan's first stage, every score summed anew."""
    left, chosen = list(range(len(D))), []
    while len(chosen) < len(D) - 2 * f:
        k = max(len(left) - f - 2, 1)
        scores = [np.sort(D[i, left])[: k + 1].sum() for i in left]
        chosen.append(left.pop(int(np.argmin(scores))))
    return chosen


def lowest(X, f, m):
    scores = reference.krum_scores(X.astype(np.float64), f)
    return np.sort(np.argsort(scores, kind="stable")[:m])


CASES = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(5, 24),
    "d": st.sampled_from([1, 3, 50, 300]),
    "kind": st.sampled_from(["whole", "close", "far", "tiny", "huge"]),
}


def require_choice_of_float64(seed, n, d, kind, dtype):
    rng = np.random.default_rng(seed)
    if kind == "whole":  # exact ties
        X = rng.integers(-1, 2, (n, d)).astype(dtype)
    elif kind == "close":  # scores that float32 sums cannot tell apart
        X = (np.sign(rng.normal(size=(n, d))) * (1 + 1e-6 * rng.normal(size=(n, 1)))).astype(dtype)
    else:
        size = {"far": 1.0, "tiny": 1e-41, "huge": 1e25}[kind]
        X = (size * (rng.normal(size=(n, d)) + 1000.0 * (kind == "far"))).astype(dtype)
    f = int(rng.integers(0, (n - 3) // 2 + 1))
    m = int(rng.integers(1, n - f + 1))
    assert selected("krum", X, f).tolist() == lowest(X, f, 1).tolist()
    assert selected("multi_krum", X, f, m).tolist() == lowest(X, f, m).tolist()


@quick
@given(**CASES)
def test_float32_updates_are_chosen_as_in_float64(each_isa, seed, n, d, kind):
    require_choice_of_float64(seed, n, d, kind, np.float32)


@quick
@given(**CASES)
def test_float64_updates_are_chosen_as_their_definition_says(each_isa, seed, n, d, kind):
    require_choice_of_float64(seed, n, d, kind, np.float64)


def test_many_updates_alike_are_chosen_by_position(each_isa):
    X = np.repeat(np.random.default_rng(0).normal(size=(4, 2000)).astype(np.float32), 10, axis=0)
    assert selected("multi_krum", X, 5, 12).tolist() == lowest(X, 5, 12).tolist()


def test_others_are_told_apart_where_most_updates_are_the_same():
    X = np.array([[0.0], [0.0], [0.0], [0.0], [9.0], [5.0], [2.0]])
    assert selected("multi_krum", X, 0, 5).tolist() == lowest(X, 0, 5).tolist() == [0, 1, 2, 3, 6]
    assert selected("multi_krum", X, 2, 5).tolist() == lowest(X, 2, 5).tolist() == [0, 1, 2, 3, 6]


@pytest.mark.parametrize("size", [1e30, 1e38])
def test_float32_updates_whose_squares_overflow(each_isa, size):
    X = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    X[2] *= np.float32(size)
    assert selected("krum", X, 1).tolist() == lowest(X, 1, 1).tolist()
    assert 2 not in selected("multi_krum", X, 1)


@pytest.mark.parametrize("size", [1e-18, 1e-19, 1e-20])
def test_where_the_processor_takes_small_numbers_for_zero(each_isa, size):
    torch = pytest.importorskip("torch")
    for seed in range(20):
        X = (size * np.random.default_rng(seed).normal(size=(12, 20))).astype(np.float32)
        X[1] *= np.float32(1e19)
        expected = lowest(X, 3, 1).tolist(), lowest(X, 3, 7).tolist()
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor keeps them")
        try:
            got = selected("krum", X, 3).tolist(), selected("multi_krum", X, 3).tolist()
        finally:
            torch.set_flush_denormal(False)
        assert got == expected


@quick
@given(seed=st.integers(0, 2**32), n=st.integers(3, 30), kind=st.sampled_from(["whole", "normal", "far", "inf"]))
def test_bulyan_takes_what_krum_takes_again_and_again(seed, n, kind):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (n, 3)).astype(float) if kind == "whole" else rng.normal(size=(n, 3))
    if kind == "far":  # differences that subtraction loses
        X[: n // 4] *= 1e9
    D = reference.sq_distances(X)
    if kind == "inf":
        D[0, 1:] = D[1:, 0] = np.inf
    f = int(rng.integers(0, (n - 3) // 4 + 1))
    assert _native.bulyan_choice(D, f, 0.0).tolist() == plain_choice(D, f)


def test_a_thousand_clients():
    X = np.random.default_rng(0).normal(size=(1000, 4))
    f = 200
    chosen = _native.bulyan_choice(reference.sq_distances(X), f, 0.0)
    assert len(set(chosen.tolist())) == 600
    assert chosen[:3].tolist() == plain_choice_first(reference.sq_distances(X), f, 3)


def plain_choice_first(D, f, count):
    left, chosen = np.arange(len(D)), []
    for _ in range(count):
        scores = np.sort(D[np.ix_(left, left)], axis=1)[:, : len(left) - f - 1].sum(axis=1)
        chosen.append(int(left[np.argmin(scores)]))
        left = left[left != chosen[-1]]
    return chosen
