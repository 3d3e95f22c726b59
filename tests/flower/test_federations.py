"""Federations through Flower's messages in this process: bits of clients in a list, and what goes wrong."""

import time

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs the extra fastkd[flower]")

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fastkd.federated import Client, FederationError, FedMD, GaussianMechanism, RobustFL
from fastkd.flower import FlowerClients, LocalGrid, client_app, pack
from fastkd.flower.records import as_answer
from fastkd.models import MLPClassifier


@pytest.fixture
def public(rows):
    return rows[0][300:]


def fedmd(given, public, **options):
    settings = {"rounds": 3, "classes": [0, 1, 2], "random_state": 3, "revisit_epochs": 1, **options}
    return FedMD(given, public, **settings)


def apps(clients, **options):
    return {client.name: client_app(client, **{"random_state": 3, **options}) for client in clients}


def hostile(values):
    """A node that sends the same whatever it is asked; a function makes the reply itself."""

    def answer(message, context):
        if callable(values):
            return values(message)
        head = ConfigRecord({"round": int(message.metadata.group_id), "count": 1})
        return Message(RecordDict({"fastkd": head, "arrays": ArrayRecord({"values": pack(values)})}), reply_to=message)

    return answer


@pytest.mark.parametrize("options", [
    {},
    {"aggregator": "median", "space": "logit"},
    {"public_rows": 30, "aggregator": "trimmed_mean", "f": 1},
    {"client_fraction": 0.6},
    {"dtype": "float64", "kd_weight": 1.0},
])  # fmt: skip
def test_fedmd_has_the_bits_of_one_process(clients, rows, public, options):
    near = fedmd(clients, public, public_y=rows[1][300:], **options).run()
    far = fedmd(FlowerClients(LocalGrid(apps(clients))), public, public_y=rows[1][300:], **options).run()
    np.testing.assert_array_equal(near.consensus, far.consensus)
    assert (near.bytes_up, near.bytes_down) == (far.bytes_up, far.bytes_down)
    assert [r.to_dict() for r in near.history] == [r.to_dict() for r in far.history]


def test_labels_as_text_and_public_rows_on_the_node(clients, rows, public):
    names = np.array(["down", "flat", "up"])
    named = [Client(c.name, c.model, c.X, names[c.y]) for c in clients]
    options = {"classes": names, "public_y": names[rows[1][300:]]}
    near = fedmd(named, public, **options).run()
    options["public_y"] = None
    without = fedmd(named, public, **options).run()
    grid = LocalGrid(apps(named, public_X=public))
    far = fedmd(FlowerClients(grid, send_public=False), public, **options).run()
    np.testing.assert_array_equal(without.consensus, far.consensus)
    options["public_y"] = names[rows[1][300:]]
    far = fedmd(FlowerClients(LocalGrid(apps(named))), public, **options).run()
    np.testing.assert_array_equal(near.consensus, far.consensus)


@pytest.mark.parametrize("work", [{"batch_size": 20}, {"local_epochs": 2, "batch_size": 16, "momentum": 0.5}])
def test_robust_training_has_the_bits_of_one_process(clients, work):
    model = MLPClassifier((6,), random_state=0).initialize(4, 3)
    options = {"aggregator": "krum", "f": 1, "rounds": 4, "random_state": 11, **work}
    near = RobustFL(model, [Client(c.name, None, c.X, c.y) for c in clients], **options).run()
    nodes = [Client(c.name, MLPClassifier((6,), random_state=0), c.X, c.y) for c in clients]
    far = RobustFL(model, FlowerClients(LocalGrid(apps(nodes, random_state=11))), **options).run()
    np.testing.assert_array_equal(near.server_model.parameters, far.server_model.parameters)
    assert [r.to_dict() for r in near.history] == [r.to_dict() for r in far.history]


def test_a_message_costs_less_than_two_kilobytes_more_than_its_arrays(clients, public):
    grid = LocalGrid(apps(clients, public_X=public))
    result = fedmd(FlowerClients(grid, send_public=False), public).run()
    assert grid.bytes_up - result.bytes_up < 15 * 2000
    assert grid.bytes_down - result.bytes_down < 15 * 2000


BAD = np.full((120, 3), np.nan, np.float32)


@pytest.mark.parametrize("name", ["c0", "c3", "c4"])
@pytest.mark.parametrize(("bad", "match"), [
    (BAD, "not finite"),
    (np.full((120, 3), 2.0, np.float32), "no probabilities"),
    (np.full((120, 4), 0.25, np.float32), "shape"),
    (np.zeros((120, 3), "<i2"), "no probabilities"),
    (lambda m: Message(RecordDict(), reply_to=m), "no message of fastkd"),
    (lambda m: Message(as_answer_of_round(m, 99), reply_to=m), "round 99"),
])  # fmt: skip
def test_a_hostile_node_is_named_wherever_it_stands(clients, public, name, bad, match):
    grid = LocalGrid({**apps(clients), name: hostile(bad)})
    result = fedmd(FlowerClients(grid), public, aggregator="trimmed_mean", f=1).run()
    for record in result.history:
        assert set(record.rejected) == {name}
        assert match in record.rejected[name]
    assert np.isfinite(result.consensus).all()


def as_answer_of_round(message, number):
    from fastkd.federated import Predictions

    return as_answer(Predictions("", number, None, np.full((120, 3), 1 / 3), 1))


def test_two_liars_are_one_too_many_for_f_1(clients, public):
    grid = LocalGrid({**apps(clients), "c0": hostile(BAD), "c1": hostile(BAD)})
    with pytest.raises(FederationError, match="2 of 5 updates are unusable, f=1 allows 1"):
        fedmd(FlowerClients(grid), public, aggregator="trimmed_mean", f=1).run()


def test_an_error_on_a_node_is_told_by_its_kind_only(clients, public):
    class Secret(Exception):
        pass

    def broken(context):
        raise Secret("row 17 says 4.2")

    grid = LocalGrid({**apps(clients), "c2": client_app(broken)})
    with pytest.warns(UserWarning, match="c2: Secret"):
        result = fedmd(FlowerClients(grid), public).run()
    assert "4.2" not in repr(result.history)
    assert result.history[0].failed == {"c2": "Secret (more in the log of the node)"}


def test_a_silent_node_costs_the_grace(clients, public):
    grid = LocalGrid(apps(clients), silent=["c1"])
    far = FlowerClients(grid, quorum=4, grace=0.2, timeout=60.0, poll=0.05)
    begun = time.monotonic()
    with pytest.warns(UserWarning, match="c1: no answer within 60 s, or within 0.2 s after 4 others"):
        result = fedmd(far, public).run()
    assert time.monotonic() - begun < 30.0  # far below one timeout
    assert all(set(r.failed) == {"c1"} for r in result.history)


def test_quick_liars_do_not_close_a_round(clients, public):
    order = {"a liar": hostile(BAD), **apps(clients[:4])}  # it answers first: names are sorted

    class Slow(LocalGrid):
        def pull_messages(self, ids):
            return list(super().pull_messages(list(ids)[:1]))  # one reply a look, in the order of the questions

    far = FlowerClients(Slow(order), quorum=4, grace=0.0, poll=0.01)
    result = fedmd(far, public, aggregator="trimmed_mean", f=1).run()
    for record in result.history:
        assert set(record.rejected) == {"a liar"}
        assert record.failed == {}


@pytest.mark.parametrize("wave", [1, 2, 10])
def test_waves_ask_no_more_nodes_at_a_time_and_change_nothing(clients, public, wave):
    class Counting(LocalGrid):
        most = 0

        def push_messages(self, messages):
            found = super().push_messages(messages)
            self.most = max(self.most, len(self._replies))
            return found

    grid = Counting(apps(clients))
    far = fedmd(FlowerClients(grid, wave=wave), public).run()
    np.testing.assert_array_equal(far.consensus, fedmd(clients, public).run().consensus)
    assert grid.most == min(wave, 5)


def test_students_survive_restarts_of_their_nodes_and_of_the_server(clients, public, tmp_path):
    def nodes():
        return {c.name: client_app(c, state_dir=tmp_path / c.name, random_state=3) for c in clients}

    path = tmp_path / "server.safetensors"
    whole = fedmd(clients, public, rounds=4).run()
    fedmd(
        FlowerClients(LocalGrid(nodes())), public, rounds=4, checkpoint=path, callbacks=[lambda r, _: r.round == 1]
    ).run()
    saved = path.read_bytes()
    fedmd(
        FlowerClients(LocalGrid(nodes())), public, rounds=4, checkpoint=path, callbacks=[lambda r, _: r.round == 2]
    ).run()
    path.write_bytes(saved)  # the server was killed after the nodes had answered round 2: it asks for it again
    far = fedmd(FlowerClients(LocalGrid(nodes())), public, rounds=4, checkpoint=path).run()
    np.testing.assert_array_equal(far.consensus, whole.consensus)
    assert len(list((tmp_path / "c0").glob("student-*"))) == 2
    assert (
        fedmd(FlowerClients(LocalGrid(nodes())), public, rounds=2).run().history[0].agreement
        == whole.history[0].agreement
    )


def test_a_node_that_forgot_the_public_rows_gets_them_again(clients, public):
    grid = LocalGrid(apps(clients))
    far = FlowerClients(grid)

    def forget(record, result):
        if record.round == 0:
            del grid.contexts[1000].state["fastkd"]["public"]

    result = fedmd(far, public, rounds=4, callbacks=[forget]).run()
    assert [set(r.failed) for r in result.history] == [set(), {"c0"}, set(), set()]


def test_other_public_rows_on_a_node_are_noticed(clients, public):
    grid = LocalGrid({**apps(clients), "c1": client_app(clients[1], public_X=public + 1)})
    with pytest.warns(UserWarning, match="c1: ValueError"):
        result = fedmd(FlowerClients(grid), public).run()
    assert set(result.history[0].failed) == {"c1"}


def test_noise_is_drawn_on_the_node_within_its_own_budget(clients, public, tmp_path):
    mechanism = GaussianMechanism(epsilon=50.0, clip=5.0)

    def nodes(**options):
        return {c.name: client_app(c, privacy=mechanism, state_dir=tmp_path / c.name, random_state=3) for c in clients}

    first = fedmd(FlowerClients(LocalGrid(nodes())), public, privacy=mechanism, rounds=2).run()
    assert first.privacy["c0"].epsilon <= 50.0
    assert first.privacy["c0"].answers == 2
    with pytest.raises(FederationError, match="privacy budget"):  # it is spent, whatever the next federation is called
        fedmd(FlowerClients(LocalGrid(nodes())), public, privacy=mechanism, rounds=2, random_state=4).run()
    again = {
        c.name: client_app(c, privacy=mechanism, state_dir=tmp_path / "new" / c.name, random_state=3) for c in clients
    }
    second = fedmd(FlowerClients(LocalGrid(again)), public, privacy=mechanism, rounds=2).run()
    assert not np.array_equal(first.consensus, second.consensus)  # nobody can draw the same noise again
    with pytest.raises(FederationError, match="the server does not know"):
        fedmd(FlowerClients(LocalGrid(nodes())), public).run()
    with pytest.raises(FederationError, match="the server expects it"):
        fedmd(FlowerClients(LocalGrid(apps(clients))), public, privacy=mechanism).run()
    with pytest.raises(ValueError, match="state_dir"):
        client_app(clients[0], privacy=mechanism)


def test_arguments_are_checked(clients):
    grid = LocalGrid(apps(clients))
    for options, match in (
        ({"quorum": 6}, "more than the 5 nodes"),
        ({"quorum": 0}, "quorum"),
        ({"grace": -1.0}, "grace"),
        ({"timeout": 0.0}, "timeout"),
        ({"wave": 0}, "wave"),
        ({"min_nodes": 6, "timeout": 0.1, "poll": 0.05}, "5 nodes after 0.1 s; min_nodes=6"),
    ):
        with pytest.raises(ValueError, match=match):
            FlowerClients(grid, **options)
    with pytest.raises(TypeError, match="client must be a Client"):
        client_app("c0")
    assert repr(FlowerClients(grid)) == "FlowerClients(5 nodes: c0, c1, c2, c3, c4)"
