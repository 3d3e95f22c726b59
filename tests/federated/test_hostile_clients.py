"""Clients that break down or send what is no update: named, counted, never used."""

import re

import numpy as np
import pytest

from fastkd.federated import Client, FederationError, NonFinite, RobustFL


def crash(parameters, gradient):
    raise ConnectionError("line is dead")


def write_into_the_broadcast(parameters, gradient):
    parameters[:] = 1e9
    return gradient


def object_array(parameters, gradient):
    return np.array([None] * len(gradient))


UNUSABLE = {
    "short": (lambda p, g: g[:-1], r"shape \(3,\) instead of \(4,\)"),
    "matrix": (lambda p, g: g[None, :], r"shape \(1, 4\) instead of \(4,\)"),
    "scalar": (lambda p, g: 0.0, r"shape \(\) instead"),
    "empty": (lambda p, g: g[:0], r"shape \(0,\) instead"),
    "text": (lambda p, g: np.array(["a"] * 4), "real numbers; got dtype <U1"),
    "complex": (lambda p, g: g + 1j, "real numbers; got dtype complex128"),
    "objects": (object_array, "real numbers; got dtype object"),
    "nan": (lambda p, g: np.where(np.arange(4) == 2, np.nan, g), "1 of 4 values are not finite.*the first at 2"),
    "inf": (lambda p, g: g + np.inf, "4 of 4 values are not finite"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_update_is_named_and_not_used(bowl, bowl_clients, kind):
    fault, why = UNUSABLE[kind]
    clients = bowl_clients([1, 1, 1, 1], faults={"c2": fault})
    result = RobustFL(bowl(), clients, aggregator="mean", rounds=3, learning_rate=0.5).run()
    np.testing.assert_allclose(result.server_model.parameters, 1 - 0.5**3)
    for record in result.history:
        assert list(record.rejected) == ["c2"]
        assert record.failed == {}
        assert re.search(why, record.rejected["c2"])


@pytest.mark.parametrize(
    ("fault", "why"), [(crash, "ConnectionError: line is dead"), (write_into_the_broadcast, "ValueError: .*read-only")]
)
@pytest.mark.filterwarnings("ignore:these clients failed in every round")
def test_a_client_that_raises_is_a_dropout(bowl, bowl_clients, fault, why):
    clients = bowl_clients([1, 1, 1, 1], faults={"c1": fault})
    result = RobustFL(bowl(), clients, aggregator="mean", rounds=3, learning_rate=0.5, workers=2).run()
    np.testing.assert_allclose(result.server_model.parameters, 1 - 0.5**3)
    assert all(list(record.failed) == ["c1"] and record.rejected == {} for record in result.history)
    assert re.search(why, result.history[0].failed["c1"])
    assert result.bytes_up == 3 * 3 * 4 * 8
    assert result.bytes_down == 3 * 4 * 4 * 8


@pytest.mark.filterwarnings("ignore:these clients failed in every round")
def test_a_rejected_update_counts_against_f_and_a_dropout_does_not(bowl, bowl_clients):
    # trimmed mean with f = 1 of the four gradients that are left: (-1 -2 -3 -10) -> with f = 0: -4, with f = 1: -2.5
    targets = [1, 2, 3, 10, 0]
    for fault, wanted in ((lambda p, g: g * np.nan, 4.0), (crash, 2.5)):
        clients = bowl_clients(targets, faults={"c4": fault})
        result = RobustFL(bowl(), clients, aggregator="trimmed_mean", f=1, rounds=1, learning_rate=1.0).run()
        np.testing.assert_allclose(result.server_model.parameters, wanted)


def test_more_than_f_unusable_updates_end_the_run(bowl, bowl_clients):
    bad = UNUSABLE["nan"][0]
    clients = bowl_clients([1, 1, 1, 1, 1, 1], faults={"c1": bad, "c4": UNUSABLE["short"][0]})
    with pytest.raises(FederationError, match=r"2 of 6 updates are unusable, f=1 allows 1.*c1: .*c4: ") as caught:
        RobustFL(bowl(), clients, aggregator="trimmed_mean", f=1, rounds=5).run()
    assert caught.value.result.history == []
    assert len(RobustFL(bowl(), clients, aggregator="trimmed_mean", f=2, rounds=5).run().history) == 5


def test_half_unusable_updates_end_the_run_of_a_rule_without_f(bowl, bowl_clients):
    bad = UNUSABLE["nan"][0]
    clients = bowl_clients([1, 1, 1, 1], faults={"c0": bad, "c1": bad})
    for rule in ("mean", "median", lambda updates: updates[0]):
        with pytest.raises(FederationError, match="2 of 4 updates are unusable, fewer than half may be"):
            RobustFL(bowl(), clients, aggregator=rule, rounds=1).run()


def test_nobody_answers(bowl, bowl_clients):
    clients = bowl_clients([1, 1], faults={"c0": crash, "c1": crash})
    with pytest.raises(FederationError, match=r"round 0: no client answered \(c0: ConnectionError: line is dead; c1"):
        RobustFL(bowl(), clients, aggregator="mean", rounds=1).run()


def test_a_fault_in_a_later_round_leaves_the_result_up_to_it(bowl):
    class Tired(bowl):
        calls = 0

        def gradient(self, X, y):
            self.calls += 1
            if self.calls > 3:
                raise TimeoutError
            return super().gradient(X, y)

    clients = [Client("tired", Tired(), [[0]], [1.0])]
    with pytest.raises(FederationError, match="round 3: ") as caught:
        RobustFL(bowl(), clients, aggregator="mean", learning_rate=0.5, rounds=9).run()
    assert len(caught.value.result.history) == 3
    np.testing.assert_allclose(caught.value.result.server_model.parameters, 1 - 0.5**3)


def test_a_momentum_is_not_spoiled_by_one_bad_update(bowl):
    class Hiccup(bowl):
        calls = 0

        def gradient(self, X, y):
            self.calls += 1
            loss, gradient = super().gradient(X, y)
            return loss, gradient * (np.nan if self.calls == 2 else 1.0)

    clients = [Client("hiccup", Hiccup(), [[0]], [1.0]), *(Client(f"c{i}", None, [[0]], [1.0]) for i in range(3))]
    result = RobustFL(bowl(), clients, aggregator="mean", momentum=0.9, rounds=6).run()
    assert [list(record.rejected) for record in result.history] == [[], ["hiccup"], [], [], [], []]
    assert np.isfinite(result.server_model.parameters).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_non_finite_attack_harms_nobody(bowl, bowl_clients, value):
    attacks = {"c0": NonFinite(value), "c1": NonFinite(value, share=0.1)}
    for rule, pre in (("krum", None), ("trimmed_mean", "nearest_neighbor_mixing"), ("multi_krum", None)):
        federation = RobustFL(
            bowl(), bowl_clients([1] * 8), aggregator=rule, pre=pre, f=2, rounds=2, learning_rate=0.5, attacks=attacks
        )
        result = federation.run()
        np.testing.assert_allclose(result.server_model.parameters, 0.75)
        assert set(result.history[-1].rejected) == {"c0", "c1"}


def test_huge_finite_updates_are_legal_and_lose(bowl, bowl_clients):
    attacks = {"c0": lambda honest, rng: np.full(honest.shape[1:], 1e300)}
    for rule in ("krum", "median", "trimmed_mean", "multi_krum"):
        federation = RobustFL(
            bowl(), bowl_clients([1] * 6), aggregator=rule, f=1, rounds=1, learning_rate=1.0, attacks=attacks
        )
        np.testing.assert_allclose(federation.run().server_model.parameters, 1.0)


def test_an_attack_of_the_wrong_shape_is_rejected_and_one_that_raises_names_its_client(bowl, bowl_clients):
    clients = bowl_clients([1, 1, 1, 1])
    wrong = {"c0": lambda honest, rng: honest}
    record = RobustFL(bowl(), clients, aggregator="mean", rounds=1, attacks=wrong).run().history[0]
    assert record.rejected == {"c0": "shape (3, 4) instead of (4,)"}

    def broken(honest, rng):
        raise RuntimeError("no such attack")

    with pytest.raises(RuntimeError, match="no such attack") as caught:
        RobustFL(bowl(), clients, aggregator="mean", rounds=1, attacks={"c3": broken}).run()
    assert caught.value.__notes__ == ["in the attack of client 'c3', round 0"]


def test_a_callable_that_returns_the_wrong_shape(bowl, bowl_clients):
    with pytest.raises(FederationError, match=r"aggregator must return shape \(4,\); it returned \(3, 4\)"):
        RobustFL(bowl(), bowl_clients([1, 1, 1]), aggregator=lambda updates: updates, rounds=1).run()
