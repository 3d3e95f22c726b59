"""Hostile predictions: what they do to a mean, and which rules stand up to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastkd.federated import (
    ClassPrior,
    Client,
    ConstantClass,
    ExpGuard,
    FederationError,
    FedMD,
    GaussianMechanism,
    LabelFlip,
    LossMaximization,
    NonFinite,
    RandomPredictions,
    ScaledPredictions,
)
from fastkd.federated.predictions import checked_predictions, encode, fill_unknown, quieten, settle, sharpen
from fastkd.losses import softmax
from fastkd.models import MLPClassifier

HIDDEN = [(16,), (24,), (32,), (24, 12), (), (16, 16), (48,), (12,), (20,), (32, 16)]
RUN = {"rounds": 4, "revisit_epochs": 3, "digest_epochs": 3, "initial_epochs": 40, "random_state": 0}
HOSTILE = ("c0", "c1", "c2")


@pytest.fixture(scope="module")
def federation(digits):
    """Ten clients with two labels a class; run(attack, **options) gives the mean accuracy of the seven honest ones."""
    X, y, X_test, y_test = digits
    rng = np.random.default_rng(1)
    mine = [rng.permutation(800 + np.flatnonzero(y[800:1437] == c)) for c in range(10)]
    clients = []
    for k in range(10):
        rows = np.concatenate([own[2 * k : 2 * k + 2] for own in mine])
        model = MLPClassifier(hidden=HIDDEN[k], learning_rate=0.004, batch_size=10, random_state=k)
        clients.append(Client(f"c{k}", model, X[rows], y[rows]))

    def run(attack=None, **options):
        attacks = {} if attack is None else dict.fromkeys(HOSTILE, attack)
        result = FedMD(clients, X[:400], eval_set=(X_test, y_test), **{**RUN, "attacks": attacks, **options}).run()
        last = result.history[-1]
        honest = [last.accuracies[c.name] for c in clients if c.name not in HOSTILE]
        return float(np.mean(honest)), result

    return run


@pytest.fixture(scope="module")
def local_only(federation):
    return federation(digest_epochs=0)[0]


ATTACKS = {
    "scaled logits": ScaledPredictions(-100.0),
    "LMA": LossMaximization(),
    "CPA": ClassPrior(),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_mean_of_unclipped_logits_collapses(federation, local_only, name):
    assert federation(ATTACKS[name], space="logit", clip_logits=None)[0] <= local_only - 0.15


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("defense", [
    {"aggregator": "median"},
    {"aggregator": "median", "space": "logit", "clip_logits": None},
    {"aggregator": "trimmed_mean", "f": 3},
    {"aggregator": "multi_krum", "f": 3},
    {"aggregator": ExpGuard()},
], ids=["median", "median of logits", "trimmed mean", "Multi-Krum", "ExpGuard"])  # fmt: skip
def test_robust_rules_keep_what_a_client_has_by_itself(federation, local_only, name, defense):
    accuracy, result = federation(ATTACKS[name], **defense)
    assert accuracy >= local_only - 0.02
    np.testing.assert_allclose(result.consensus.sum(axis=1), 1.0, atol=1e-6)
    assert (result.consensus >= 0).all()


@pytest.mark.parametrize("clip", ["median", 3.0])
def test_a_clip_takes_the_loudness_away(federation, local_only, clip):
    """One who shouts opposite logits drowns nine; no louder than the others, it is outvoted. (Three would not be.)"""
    one = {"attacks": {"c0": ScaledPredictions(-100.0)}, "space": "logit"}
    assert federation(clip_logits=None, **one)[0] <= local_only - 0.15
    assert federation(clip_logits=clip, **one)[0] >= local_only - 0.02


def test_colluders_who_all_name_one_class_are_seen_by_rules_that_look_at_whole_clients(federation, local_only):
    for defense in ({"aggregator": "multi_krum", "f": 3}, {"aggregator": ExpGuard()}):
        accuracy, result = federation(ConstantClass(1), **defense)
        assert accuracy >= local_only - 0.02
    assert result.history[-1].weights["c0"] < 0.01 < result.history[-1].weights["c5"]


def test_without_attackers_the_guard_leaves_the_mean(federation):
    weights = federation(aggregator=ExpGuard(tolerance=2.0))[1].history[-1].weights
    assert len(weights) == 10
    assert min(weights.values()) > 0.05


def test_multi_krum_names_whom_it_put_aside(federation):
    last = federation(LossMaximization(), aggregator="multi_krum", f=3, rounds=1)[1].history[-1]
    assert set(HOSTILE) <= set(last.excluded)
    assert set(last.selected) | set(last.excluded) == set(last.participants)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_predictions_are_left_out_and_named(federation, value):
    result = federation(NonFinite(value, share=0.01), rounds=1)[1]
    assert set(result.history[0].rejected) == set(HOSTILE)
    assert np.isfinite(result.consensus).all()
    with pytest.raises(FederationError, match=r"f=2 allows 2 .*c0.*not finite"):
        federation(NonFinite(value), rounds=1, aggregator="trimmed_mean", f=2)


def test_what_is_no_probability_is_left_out_and_named(federation):
    result = federation(lambda honest, rng: 5.0 * honest[0], rounds=1)[1]
    assert "no probabilities" in result.history[0].rejected["c0"]
    result = federation(lambda honest, rng: honest[0, :10], rounds=1)[1]
    assert "shape (10, 10) instead of (400, 10)" in result.history[0].rejected["c0"]


@pytest.mark.parametrize("more", [
    {"space": "logit", "clip_logits": None, "aggregator": "median"},
    {"space": "logit", "clip_logits": None, "aggregator": ExpGuard()},
    {"space": "logit"},
    {"privacy": GaussianMechanism(1e4, clip=9.0)},
], ids=["median", "ExpGuard", "clipped", "noisy"])  # fmt: skip
def test_huge_predictions_neither_win_nor_make_a_nan(federation, more):
    def huge(honest, rng):
        return np.where(np.arange(10) == 3, 1e37, -1e37) * np.ones_like(honest[0])

    result = federation(huge, rounds=1, **more)[1]
    np.testing.assert_allclose(result.consensus.sum(axis=1), 1.0)
    if "privacy" not in more:
        assert (result.consensus.argmax(axis=1) == 3).mean() < 0.5


def test_flipped_labels_are_followed_by_the_protocol(federation):
    """An attacker with falsified rows trains and answers as the others do."""
    last = federation(LabelFlip(), rounds=1, digest_epochs=0)[1].history[-1]
    assert last.accuracies["c0"] < 0.3 < last.accuracies["c5"]
    assert not last.rejected


# -- attacks by hand --------------------------------------------------------------------------------------------------

HONEST = np.array([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [[0.5, 0.2, 0.3], [0.3, 0.6, 0.1]]])


def test_attacks_by_hand():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(LossMaximization(space="probability")(HONEST, rng), [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(ConstantClass(2, space="probability")(HONEST, rng), [[0, 0, 1]] * 2)
    drawn = RandomPredictions(space="probability")(np.repeat(HONEST, 50, axis=1), rng)
    assert (drawn.sum(axis=1) == 1).all()
    assert len(np.unique(drawn.argmax(axis=1))) == 3
    flipped = ScaledPredictions(-1.0, space="probability")(HONEST, rng)
    mean = HONEST.mean(axis=0)
    np.testing.assert_allclose(flipped, (1 / mean) / (1 / mean).sum(axis=1, keepdims=True))
    with pytest.raises(ValueError, match="target must be a class"):
        ConstantClass(3)(HONEST, rng)
    with pytest.raises(ValueError, match="attack is on predictions"):
        LossMaximization()(np.zeros((3, 4)), rng)


def test_the_class_prior_attack_sends_each_class_to_the_one_least_like_it():
    """Classes 0 and 1 are taken for each other, 2 for nobody: 0 and 1 are sent to 2."""
    tables = np.repeat([[0.6, 0.4, 0.0], [0.4, 0.6, 0.0], [0.05, 0.0, 0.95]], 4, axis=0)[None]
    for space, table in (("probability", tables), ("logit", np.log(np.maximum(tables, 1e-6)))):
        sent = ClassPrior(space=space)(table, None).argmax(axis=1)
        assert (sent[:8] == 2).all()
        assert (sent[8:] != 2).all()


# -- predictions as messages ------------------------------------------------------------------------------------------

TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=st.floats(-1e300, 1e300))


@given(TABLES)
def test_whatever_a_rule_returns_becomes_a_distribution(table):
    settled = settle(table, "probability")
    assert (settled >= 0).all()
    np.testing.assert_allclose(settled.sum(axis=1), 1.0)


@given(TABLES, st.sampled_from(["probability", "logit"]))
def test_what_arrives_is_usable_or_refused(values, space):
    checked = checked_predictions(values, values.shape, space)
    if isinstance(checked, str):
        assert space == "probability" or "too large" in checked
    elif space == "logit":
        assert np.isfinite(checked).all()
        quiet = quieten(checked[None], 10.0)[0]
        assert np.abs(quiet).max() <= 10.0 * (1 + 1e-9)
        assert (np.diff(np.take_along_axis(quiet, checked.argsort(axis=1), axis=1)) >= 0).all()
    else:
        np.testing.assert_allclose(checked.sum(axis=1), 1.0, atol=1e-2)


def test_encoding_by_hand():
    logits = np.array([[3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(encode(logits, "probability", 3.0), softmax(logits / 3.0))
    np.testing.assert_allclose(encode(logits, "logit", 3.0), [[1.5, -1.5], [0.0, 0.0]])
    np.testing.assert_allclose(sharpen(encode(logits, "probability", 3.0), "probability", 3.0), softmax(logits))
    np.testing.assert_allclose(sharpen(encode(logits, "logit", 3.0), "logit", 3.0), softmax(logits))


def test_quietening_by_hand():
    tables = np.array([[[1.0, -1.0]], [[2.0, -2.0]], [[-50.0, 50.0]]])
    np.testing.assert_allclose(quieten(tables, "median"), [[[1, -1]], [[2, -2]], [[-2, 2]]])
    np.testing.assert_allclose(quieten(tables, 1.5), [[[1, -1]], [[1.5, -1.5]], [[-1.5, 1.5]]])
    np.testing.assert_array_equal(quieten(tables, None), tables)
    np.testing.assert_array_equal(quieten(0 * tables, "median"), 0 * tables)


def test_rows_that_some_do_not_know_are_filled_by_those_who_do():
    nothing = [np.nan] * 2
    tables = np.array([[[0.8, 0.2], nothing], [[0.6, 0.4], nothing], [nothing, nothing]])
    filled = fill_unknown(tables, "probability")
    np.testing.assert_allclose(filled[2], [[0.7, 0.3], [0.5, 0.5]])
    np.testing.assert_array_equal(filled[0, 0], tables[0, 0])
    assert checked_predictions(tables[2], (2, 2), "probability", gaps=True) == "no row has a prediction"


def test_the_guard_by_hand():
    """Distances to the median 1, 1, 1, 5 (usual: 1): the last exceeds 1.5 by 3.5 each round."""
    tables, scores = np.array([[1.0, 0], [0, 1.0], [-1.0, 0], [0, -5.0]]), {}
    for _ in range(2):
        _, weights, scores = ExpGuard(rate=0.5)(tables, list("abcd"), scores)
    assert scores == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0, "d": 7.0})
    np.testing.assert_allclose(weights[3] / weights[0], np.exp(-3.5))
    with pytest.raises(ValueError, match="rate"):
        ExpGuard(rate=0.0)


def test_the_guard_is_the_mean_within_the_tolerance_and_pulls_in_what_is_beyond():
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(6, 4, 3))
    np.testing.assert_allclose(ExpGuard(tolerance=5.0)(tables, list("abcdef"), {})[0], tables.mean(axis=0))
    far = np.concatenate([tables, np.full((1, 4, 3), 1e300)])
    mean, weights, _ = ExpGuard()(far, list("abcdefg"), {})
    assert weights[6] < 1e-4
    np.testing.assert_allclose(mean, ExpGuard()(tables, list("abcdef"), {})[0], atol=0.5)
    same = np.concatenate([np.ones((3, 2, 2)), np.zeros((1, 2, 2))])
    np.testing.assert_allclose(ExpGuard()(same, list("abcd"), {})[0], np.ones((2, 2)), rtol=1e-9)
