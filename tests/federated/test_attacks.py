"""Attacks: what each sends, by its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastkd.federated import (
    ALittleIsEnough,
    InnerProductManipulation,
    Mimic,
    MinMax,
    MinSum,
    NonFinite,
    RandomNoise,
    SignFlip,
)

BLIND = [SignFlip(), InnerProductManipulation(), ALittleIsEnough(), ALittleIsEnough(z=1.0), Mimic(), RandomNoise()]
BLIND += [attack(direction) for attack in (MinMax, MinSum) for direction in ("unit", "std", "sign")]
values = st.floats(-100, 100, width=32)
updates = arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=values)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("attack", BLIND, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (3, 2), ()])
def test_sends_one_update_of_the_shape_and_dtype_of_the_honest(attack, dtype, shape):
    honest = rng().normal(size=(5, *shape)).astype(dtype)
    before = honest.copy()
    sent = attack(honest, rng())
    assert sent.shape == shape
    assert sent.dtype == dtype
    assert np.isfinite(sent).all()
    np.testing.assert_array_equal(honest, before)


@pytest.mark.parametrize("attack", [a for a in BLIND if not isinstance(a, RandomNoise)], ids=repr)
def test_does_not_depend_on_the_order_of_the_honest(attack):
    honest = rng().normal(size=(6, 5))
    np.testing.assert_allclose(attack(honest[::-1], rng()), attack(honest, rng()), rtol=1e-9)


@pytest.mark.parametrize("attack", BLIND, ids=repr)
def test_needs_an_honest_update(attack):
    with pytest.raises(ValueError, match="at least one honest update"):
        attack(np.empty((0, 3)), rng())


def test_noise_is_reproducible_and_has_the_given_scale():
    honest = np.zeros((2, 20_000))
    first = RandomNoise(scale=3.0)(honest, rng())
    np.testing.assert_array_equal(first, RandomNoise(scale=3.0)(honest, rng()))
    assert abs(first.std() - 3.0) < 0.1
    assert abs(first.mean()) < 0.1


@given(updates)
def test_sign_flip_and_inner_product_manipulation_are_multiples_of_the_mean(honest):
    np.testing.assert_allclose(SignFlip(4.0)(honest, rng()), -4.0 * honest.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(InnerProductManipulation(0.1)(honest, rng()), -0.1 * honest.mean(axis=0), atol=1e-9)


@given(updates, st.floats(0, 4))
def test_a_little_is_enough_shifts_by_z_deviations(honest, z):
    sent = ALittleIsEnough(z=z)(honest, rng())
    np.testing.assert_allclose(honest.mean(axis=0) - sent, z * honest.std(axis=0), atol=1e-9)


def test_z_of_a_little_is_enough_by_hand():
    # n = 11, f = 3: 6 - 3 = 3 supporters are needed among 8 honest; Phi(z) = 5 / 8
    assert ALittleIsEnough(n_clients=11, n_byzantine=3).used_z(8) == pytest.approx(0.318639, abs=1e-6)
    # n = 20, f = 6: 11 - 6 = 5 of 14; Phi(z) = 9 / 14
    assert ALittleIsEnough(n_clients=20, n_byzantine=6).used_z(14) == pytest.approx(0.366106, abs=1e-6)
    assert ALittleIsEnough(n_clients=10, n_byzantine=1).used_z(9) == 0.0  # too few to move anything unseen
    for n_clients, n_byzantine in ((11, 6), (3, 3), (1, 1)):  # a majority, or all: nobody else need support it
        assert ALittleIsEnough(n_clients=n_clients, n_byzantine=n_byzantine).used_z(1) == 4.0
    with pytest.raises(ValueError, match="n_byzantine >= 1"):
        ALittleIsEnough(n_clients=3, n_byzantine=0).used_z(3)


def spread(honest):
    return ((honest[:, None] - honest[None]) ** 2).sum(axis=2)


@given(updates, st.sampled_from(["unit", "std", "sign"]))
def test_min_max_stays_as_near_as_the_honest_are_to_each_other(honest, direction):
    sent = MinMax(direction)(honest, rng())
    distance = np.sqrt(((honest - sent) ** 2).sum(axis=1).max())
    assert distance <= np.sqrt(spread(honest).max()) * (1 + 1e-6) + 1e-4


@given(updates, st.sampled_from(["unit", "std", "sign"]))
def test_min_sum_is_no_farther_in_sum_than_the_worst_honest_one(honest, direction):
    sent = MinSum(direction)(honest, rng())
    total = np.sqrt(((honest - sent) ** 2).sum())
    assert total <= np.sqrt(spread(honest).sum(axis=1).max()) * (1 + 1e-6) + 1e-4


@pytest.mark.parametrize("attack", [MinMax, MinSum])
def test_min_max_and_min_sum_go_as_far_as_they_may(attack):
    honest = rng().normal(size=(7, 9)) + 1.0
    mean, sent = honest.mean(axis=0), attack("std")(honest, rng())
    farther = mean + 1.001 * (sent - mean)
    if attack is MinMax:
        assert ((honest - farther) ** 2).sum(axis=1).max() > spread(honest).max()
    else:
        assert ((honest - farther) ** 2).sum() > spread(honest).sum(axis=1).max()


@pytest.mark.parametrize("attack", [MinMax, MinSum])
def test_min_max_and_min_sum_bear_huge_updates(attack):
    honest = 1e300 * rng().normal(size=(5, 4))
    assert np.isfinite(attack()(honest, rng())).all()


@pytest.mark.parametrize("attack", [MinMax, MinSum])
def test_unknown_direction(attack):
    with pytest.raises(ValueError, match="direction must be one of"):
        attack("down")(np.ones((2, 2)), rng())


@given(updates)
def test_mimic_sends_an_honest_update(honest):
    sent = Mimic()(honest, rng())
    assert (honest == sent).all(axis=1).any()
    np.testing.assert_array_equal(Mimic(target=1)(honest, rng()), honest[1 % len(honest)])


def test_mimic_takes_the_one_that_stands_out():
    honest = np.zeros((5, 3))
    honest[3, 1] = 7.0
    np.testing.assert_array_equal(Mimic()(honest, rng()), honest[3])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite(value):
    honest = np.ones((3, 100))
    np.testing.assert_array_equal(NonFinite(value)(honest, rng()), np.full(100, value))
    some = NonFinite(value, share=0.03)(honest, rng())
    assert (~np.isfinite(some)).sum() == 3
    assert (some[np.isfinite(some)] == 1.0).all()
    assert (~np.isfinite(NonFinite(value, share=0.001)(honest, rng()))).sum() == 1
