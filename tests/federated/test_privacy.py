"""The noise on predictions: its account, its budget, and what an attacker still sees."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.federated import Client, FederationError, FedMD, GaussianMechanism, membership_audit
from fastkd.federated.privacy import gaussian_delta, gaussian_epsilon, zcdp_epsilon
from fastkd.models import MLPClassifier


@pytest.mark.parametrize(("noise", "answers", "delta"), [(1.0, 1, 1e-5), (4.0, 10, 1e-6), (0.5, 3, 1e-3)])
def test_the_account_lies_between_the_exact_value_and_the_simple_bound(noise, answers, delta):
    rho = answers / (2 * noise**2)
    exact, ours = gaussian_epsilon(noise, answers, delta), zcdp_epsilon(rho, delta)
    assert exact <= ours <= rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert gaussian_delta(noise, answers, exact) == pytest.approx(delta, rel=1e-6)


def test_the_account_against_a_fine_grid_of_orders():
    rho, delta = 0.3, 1e-6
    alpha = 1 + np.geomspace(1e-3, 1e4, 400_000)
    bound = rho * alpha + (np.log(1 / delta) + (alpha - 1) * np.log1p(-1 / alpha) - np.log(alpha)) / (alpha - 1)
    assert zcdp_epsilon(rho, delta) == pytest.approx(bound.min(), abs=1e-8)


def test_the_exact_delta_is_the_largest_difference_of_two_normal_distributions():
    """delta(epsilon) = sup P(S) - e^epsilon Q(S), by adding up where the densities differ."""
    mu, epsilon = 1.0 / 0.8, 1.3
    x, step = np.linspace(-12, 14, 2_000_001, retstep=True)
    p = np.exp(-((x - mu) ** 2) / 2) / math.sqrt(2 * math.pi)
    q = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    difference = (np.maximum(p - math.exp(epsilon) * q, 0.0)).sum() * step
    assert gaussian_delta(0.8, 1, epsilon) == pytest.approx(difference, abs=1e-7)


@settings(max_examples=30)
@given(st.floats(0.05, 50), st.integers(1, 300), st.sampled_from([1e-7, 1e-5, 1e-3]))
def test_calibration_spends_the_budget_and_no_more(epsilon, rounds, delta):
    mechanism = GaussianMechanism(epsilon, delta).calibrated(rounds)
    assert mechanism.spent(rounds).epsilon == pytest.approx(epsilon, rel=1e-3)
    assert mechanism.allows(rounds)
    assert not mechanism.allows(rounds + max(1, rounds // 50))


@given(st.floats(1e-4, 20), st.floats(1.01, 3), st.sampled_from([1e-7, 1e-4]))
def test_more_answers_cost_more(rho, factor, delta):
    assert zcdp_epsilon(rho, delta) < zcdp_epsilon(rho * factor, delta)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_two_tables_never_differ_by_more_than_the_sensitivity(space):
    """Without noise, whatever goes in comes out within `clip` of knowing nothing: a clipped table is what is noised."""
    mechanism = GaussianMechanism(1.0, clip=0.7, noise_multiplier=1e-12)
    rng = np.random.default_rng(0)
    neutral = 1 / 4 if space == "probability" else 0.0
    outs = [mechanism.release(rng.normal(size=(6, 4)) * scale, space, rng) for scale in (0.01, 1.0, 1e6)]
    assert all(np.linalg.norm(out - neutral) <= 0.7 + 1e-9 for out in outs)
    small = neutral + rng.normal(size=(6, 4)) * 0.01
    np.testing.assert_allclose(mechanism.release(small, space, rng), small, atol=1e-9)
    unknown = np.where(np.arange(6)[:, None] == 2, np.nan, small)
    np.testing.assert_allclose(mechanism.release(unknown, space, rng)[2], neutral, atol=1e-9)


def test_the_noise_has_the_promised_deviation():
    mechanism = GaussianMechanism(1.0, clip=0.5, noise_multiplier=3.0)
    said = mechanism.release(np.full((20_000, 2), 0.5), "probability", np.random.default_rng(0))
    assert said.std() == pytest.approx(3.0 * 2 * 0.5, rel=0.02)
    assert said.mean() == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] > 0).astype(int)
    clients = [
        Client(f"c{k}", MLPClassifier(hidden=(6,), random_state=k), X[k * 20 : k * 20 + 20], y[k * 20 : k * 20 + 20])
        for k in range(5)
    ]
    return clients, X[100:140], X[140:], y[140:]


RUN = {"revisit_epochs": 1, "digest_epochs": 1, "initial_epochs": 5, "random_state": 0}


def test_the_result_tells_what_each_client_has_spent(small):
    clients, public, *_ = small
    result = FedMD(clients, public, rounds=4, privacy=GaussianMechanism(20.0, clip=3.0), **RUN).run()
    assert set(result.privacy) == {f"c{k}" for k in range(5)}
    assert all(p.epsilon == pytest.approx(20.0, rel=1e-6) and p.answers == 4 for p in result.privacy.values())
    np.testing.assert_allclose(result.consensus.sum(axis=1), 1.0)

    half = FedMD(clients, public, rounds=4, privacy=GaussianMechanism(20.0, clip=3.0), client_fraction=0.4, **RUN).run()
    asked = [name for names in half.series("participants") for name in names]
    for name, spent in half.privacy.items():
        assert spent.answers == asked.count(name)
        assert spent.epsilon < 20.0 or spent.answers == 4


def test_a_spent_budget_silences_a_client(small):
    clients, public, *_ = small
    mechanism = GaussianMechanism(epsilon=6.0, clip=3.0, noise_multiplier=2.0)
    allowed = max(k for k in range(1, 20) if mechanism.allows(k))
    with pytest.raises(FederationError, match=rf"round {allowed}: 0 usable.*budget epsilon=6.0 is spent") as caught:
        FedMD(clients, public, rounds=19, privacy=mechanism, **RUN).run()
    assert all(p.epsilon <= 6.0 and p.answers == allowed for p in caught.value.result.privacy.values())


def test_noise_changes_what_is_sent_and_is_the_clients_own(small):
    clients, public, *_ = small
    plain = FedMD(clients[:1], public, rounds=1, **RUN).run()
    one = FedMD(clients[:1], public, rounds=1, privacy=GaussianMechanism(200.0, clip=5.0), **RUN).run()
    np.testing.assert_array_equal(plain.clients[0].model.parameters, one.clients[0].model.parameters)
    assert np.abs(plain.consensus - one.consensus).max() > 0.01


def test_the_audit_finds_what_was_memorized_and_noise_hides_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 20)), rng.integers(2, size=200)
    model = MLPClassifier(hidden=(64,), learning_rate=0.01, batch_size=16, epochs=60, random_state=0)
    model.fit(X[:100], y[:100])
    inside, outside = (X[:100], y[:100]), (X[100:], y[100:])
    open_book = membership_audit(model, inside, outside)
    assert open_book.leaks
    assert open_book.auc > 0.75
    assert open_book.advantage > 0.5
    noisy = membership_audit(model, inside, outside, privacy=GaussianMechanism(1.0, clip=5.0), rows=60, random_state=0)
    assert not noisy.leaks
    assert "no better than a guess" in str(noisy)
    untrained = MLPClassifier(hidden=(8,), random_state=0).initialize(20, 2)
    assert not membership_audit(untrained, inside, outside).leaks


def test_the_audit_by_hand():
    """Sureness of members .9 .8, of others .8 .1: pairs won 1 + 1 + .5 + 1 of 4."""

    def model(X):
        return np.column_stack([np.log(X[:, 0]), np.log(1 - X[:, 0])])

    audit = membership_audit(model, ([[0.9], [0.8]], [0, 0]), ([[0.8], [0.1]], [0, 0]))
    assert audit.auc == pytest.approx(3.5 / 4)
    assert audit.advantage == pytest.approx(0.5)
    assert audit.found_at_one_percent == pytest.approx(0.5)
    with pytest.raises(ValueError, match="does not know"):
        membership_audit(model, ([[0.9]], [5]), ([[0.8]], [0]))
    with pytest.raises(ValueError, match="non_members must be"):
        membership_audit(model, ([[0.9]], [0]), ([[0.8]], [0, 1]))


def test_bad_mechanisms():
    for options, text in [
        ({"epsilon": 0.0}, "epsilon"), ({"delta": 1.0}, "delta must lie"), ({"clip": -1}, "clip"),
        ({"noise_multiplier": 0}, "noise_m"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            GaussianMechanism(**{"epsilon": 1.0, **options})
    with pytest.raises(ValueError, match="call calibrated"):
        _ = GaussianMechanism(1.0).rho


class Recorder(GaussianMechanism):
    """Keeps what it is asked to release, and says just that."""

    def release(self, values, space, rng):
        TABLES.append(values)
        return values


TABLES: list[np.ndarray] = []


@pytest.mark.parametrize("others", [3, 20, 201])
def test_the_audit_clips_and_noises_answers_of_the_federations_size(others):
    """However many rows are audited: members and others together, each once, and the last answer filled up."""

    def model(X):
        return np.column_stack([X[:, 0], np.zeros(len(X))])

    rng = np.random.default_rng(0)
    inside, outside = ((rng.normal(size=(n, 1)), np.zeros(n, int)) for n in (30, others))
    TABLES.clear()
    audit = membership_audit(
        model, inside, outside, privacy=Recorder(1.0, noise_multiplier=1.0), rows=25, random_state=0
    )
    assert {table.shape for table in TABLES} == {(25, 2)}
    n = 30 + others
    said = np.concatenate(TABLES)[:n, 0]
    x = np.concatenate([inside[0], outside[0]])[:, 0]
    np.testing.assert_allclose(np.sort(said), np.sort(1 / (1 + np.exp(-x))))
    assert audit == membership_audit(model, inside, outside)
    with pytest.raises(ValueError, match="privacy needs rows"):
        membership_audit(model, inside, outside, privacy=Recorder(1.0))
    with pytest.raises(ValueError, match="rows"):
        membership_audit(model, inside, outside, rows=0)


def test_a_few_rows_in_order_are_no_leak():
    """A guess puts two rows in order half of the time: the error of the attack is 0 there, that of a guess is not."""

    def model(X):
        return np.column_stack([X[:, 0], -X[:, 0]])

    for n in (1, 3):
        X, y = np.arange(n, dtype=float)[:, None], np.zeros(n, int)
        audit = membership_audit(model, (X + n, y), (X, y))
        assert audit.auc == 1.0
        assert not audit.leaks
    X, y = np.arange(30.0)[:, None], np.zeros(30, int)
    assert membership_audit(model, (X + 30, y), (X, y)).leaks


@pytest.mark.parametrize(
    "bad",
    [{"noise_multiplier": 1e-200}, {"noise_multiplier": 1e200}, {"epsilon": 1e300}, {"clip": 1e300}, {"delta": "x"},
     {"delta": 1.0}, {"epsilon": 0.0}],
)  # fmt: skip
def test_a_mechanism_names_what_is_out_of_bounds(bad):
    (name,) = bad
    with pytest.raises((TypeError, ValueError), match=name):
        GaussianMechanism(**{"epsilon": 1.0, **bad})


@pytest.mark.parametrize("noise", [1e-12, 1e12])
def test_the_account_holds_at_the_bounds(noise):
    spent = GaussianMechanism(1.0, noise_multiplier=noise).spent(3)
    simple = spent.rho + 2 * math.sqrt(spent.rho * math.log(1 / spent.delta))
    assert 0 <= spent.epsilon <= simple
    for epsilon in (1e-4, 1e9):
        assert GaussianMechanism(epsilon).calibrated(10).spent(10).epsilon == pytest.approx(epsilon, rel=1e-3)
    with pytest.raises(ValueError, match="rounds"):
        GaussianMechanism(1.0).calibrated(0)
