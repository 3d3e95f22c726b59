"""The seam between rounds and clients: a transport of one's own gives the same bits, and its faults are told apart."""

from contextlib import nullcontext

import numpy as np
import pytest

from fastkd.federated import Client, Failure, Fault, FedMD, Predictions, RobustFL, SignFlip, Transport, Update
from fastkd.federated.checkpoint import CheckpointError
from fastkd.models import MLPClassifier

RNG = np.random.default_rng(5)
X = RNG.normal(size=(420, 4))
Y = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)
PUBLIC = X[300:]


def clients(n=5):
    rows = np.array_split(np.arange(300), n)
    return [Client(f"c{k}", MLPClassifier((4 + k,), random_state=k), X[r], Y[r]) for k, r in enumerate(rows)]


class Relay:
    """Carries questions to the clients of a federation in this process, and may change what comes back."""

    def __init__(self, near, change=None):
        self.near, self.change, self.begun, self.asked = near, change or (lambda name, answer: answer), None, []

    @property
    def names(self):
        return self.near.names

    def begin(self, federation):
        self.begun = federation

    def at_work(self):
        return nullcontext()

    def ask(self, chosen, message, state):
        self.asked.append((list(chosen), message))
        found = self.near.ask(chosen, message, state)
        return [self.change(self.names[k], a) for k, a in zip(chosen, found)]

    def scores(self, eval_sets):
        return {}


def fedmd(given, **options):
    return FedMD(given, PUBLIC, rounds=3, classes=[0, 1, 2], random_state=3, revisit_epochs=1, **options)


def relay_of_fedmd(change=None):
    entropy = int(np.random.default_rng(3).integers(2**63))
    return Relay(fedmd(clients())._rounds(entropy).transport, change)


def test_it_is_a_protocol_that_a_list_of_clients_does_not_meet():
    assert isinstance(relay_of_fedmd(), Transport)
    assert not isinstance(clients(), Transport)


@pytest.mark.parametrize("aggregator", ["median", "mean", ("krum", {})])
@pytest.mark.parametrize("space", ["probability", "logit"])
def test_fedmd_by_a_relay_has_the_bits_of_the_federation_in_this_process(aggregator, space):
    options = {"aggregator": aggregator, "space": space, "f": int(aggregator == ("krum", {}))}
    near, far = fedmd(clients(), **options).run(), fedmd(relay_of_fedmd(), **options).run()
    np.testing.assert_array_equal(near.consensus, far.consensus)
    assert [r.agreement for r in near.history] == [r.agreement for r in far.history]
    assert (near.bytes_up, near.bytes_down) == (far.bytes_up, far.bytes_down)
    assert far.clients == ()


def test_robust_training_by_a_relay_has_the_bits_of_the_federation_in_this_process():
    model = MLPClassifier((6,), random_state=0).initialize(4, 3)
    given = [Client(c.name, None, c.X, c.y) for c in clients()]
    options = {"aggregator": "trimmed_mean", "f": 1, "rounds": 6, "batch_size": 20, "random_state": 11}
    near = RobustFL(model, given, **options)
    entropy = int(np.random.default_rng(11).integers(2**63))
    from fastkd.federated.local import LocalWork

    relay = Relay(near._attacks_and_transport(near._server_model(entropy), LocalWork(20, 0, 0.1), entropy)[1])
    a, b = near.run(), RobustFL(model, relay, **options).run()
    np.testing.assert_array_equal(a.server_model.parameters, b.server_model.parameters)
    assert relay.begun["kind"] == "RobustFL"
    assert relay.begun["batch_size"] == 20


def test_a_fault_counts_against_f_and_a_failure_does_not():
    def change(name, answer):
        if name == "c1":
            return Fault(name, answer.round, "no numpy array")
        return Failure(name, answer.round, "gone") if name == "c2" else answer

    with pytest.warns(UserWarning, match="c2: gone"):
        record = fedmd(relay_of_fedmd(change), aggregator="trimmed_mean", f=1).run().history[0]
    assert record.rejected == {"c1": "no numpy array"}
    assert record.failed == {"c2": "gone"}
    both = relay_of_fedmd(lambda name, a: Fault(name, a.round, "text") if name in ("c1", "c3") else a)
    with pytest.raises(ValueError, match="2 of 5 updates are unusable, f=1 allows 1"):
        fedmd(both, aggregator="trimmed_mean", f=1).run()


def test_begin_tells_what_cannot_be_used():
    relay = relay_of_fedmd()
    fedmd(relay).run()
    usable, (_, task) = relay.begun["usable"], relay.asked[0]
    good = np.full((len(PUBLIC), 3), 1 / 3)
    assert usable(task, Predictions("c0", 0, None, good, 1)) is None
    assert "not finite" in usable(task, Predictions("c0", 0, None, good * np.nan, 1))
    assert "shape" in usable(task, Predictions("c0", 0, None, good[1:], 1))
    assert "round 7" in usable(task, Predictions("c0", 7, None, good, 1))
    assert usable(task, Failure("c0", 0, "gone")) == "gone"
    assert usable(task, Fault("c0", 0, "text")) == "text"


def test_what_is_simulated_needs_clients_in_this_process():
    for options, match in (
        ({"attacks": {"c0": SignFlip()}}, "attacks are simulated"),
        ({"availability": 0.5}, "availability is simulated"),
        ({"eval_set": {"c0": (X, Y)}}, "do not tell their accuracies"),
    ):
        with pytest.raises(ValueError, match=match):
            fedmd(relay_of_fedmd(), **options)
    with pytest.raises(ValueError, match="give classes="):
        FedMD(relay_of_fedmd(), PUBLIC)
    with pytest.raises(ValueError, match="initialize"):
        RobustFL(MLPClassifier((3,)), relay_of_fedmd())


def test_the_servers_checkpoint_goes_on_with_far_clients(tmp_path):
    path = tmp_path / "server.safetensors"

    def stop(record, result):
        return record.round == 1

    relay = relay_of_fedmd()
    fedmd(relay, checkpoint=path, callbacks=[stop]).run()
    resumed = fedmd(relay, checkpoint=path).run()  # the clients are as the interruption left them
    np.testing.assert_array_equal(resumed.consensus, fedmd(clients()).run().consensus)
    with pytest.raises(CheckpointError, match="other clients"):
        fedmd(clients(), checkpoint=path).run()


def test_an_update_is_checked_before_it_is_counted():
    model = MLPClassifier((6,), random_state=0).initialize(4, 3)

    class Nodes(Relay):
        def __init__(self):
            super().__init__(None)

        names = ("a", "b", "c")

        def ask(self, chosen, message, state):
            zero = np.zeros_like(message.parameters)
            self.told = [self.begun["usable"](message, Update("a", 0, v, 0.0)) for v in (zero, zero[1:], zero * np.nan)]
            return [Update(self.names[k], message.round, zero, 0.0) for k in chosen]

    nodes = Nodes()
    RobustFL(model, nodes, aggregator="median", rounds=1).run()
    assert nodes.told[0] is None
    assert "shape" in nodes.told[1]
    assert "not finite" in nodes.told[2]
