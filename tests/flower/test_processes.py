"""Federations of real processes: a SuperLink, four SuperNodes, TLS, keys, faults. They take minutes."""

import os

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs the extra fastkd[flower]")

if os.environ.get("FASTKD_FLOWER_PROCESSES") != "1":
    pytest.skip(
        "starts a Flower deployment, which takes minutes; set FASTKD_FLOWER_PROCESSES=1", allow_module_level=True
    )

import venue_apps
from deployment import Deployment

from fastkd.federated import Client, FedMD, RobustFL

NODES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venues")
    with Deployment(folder, [*NODES, "stranger", "d-again"]) as deployment:
        deployment.superlink()
        for name in (*NODES, "d-again"):
            deployment.register(name)
        for name in NODES:
            deployment.supernode(name)
        deployment.supernode("stranger")
        yield deployment


def near(rounds):
    return FedMD(
        [venue_apps.venue(name) for name in NODES],
        venue_apps.PUBLIC,
        rounds=rounds,
        aggregator="trimmed_mean",
        f=1,
        **venue_apps.OPTIONS,
    ).run()


def consensus(out):
    return np.frombuffer(bytes.fromhex(out["consensus"]))


def test_fedmd_on_four_nodes_has_the_bits_of_one_process(there):
    out, log = there.run(rounds=2)
    assert out, log + there.logs()
    np.testing.assert_array_equal(consensus(out), near(2).consensus.ravel())
    assert [r["participants"] for r in out["history"]] == [list(NODES)] * 2
    print("seconds a round", out["seconds"])


def test_an_unregistered_node_was_refused(there):
    there.wait(lambda: there.processes["stranger"].poll() is not None, "the stranger is refused")
    assert there.processes["stranger"].poll() != 0


def test_robust_training_has_the_bits_of_one_process(there):
    out, log = there.run(mode="robust", rule="median", f=0)
    assert out, log + there.logs()
    clients = [Client(n, None, venue_apps.venue(n).X, venue_apps.venue(n).y) for n in NODES]
    result = RobustFL(venue_apps.start(), clients, aggregator="median", **venue_apps.TRAINING).run()
    assert bytes.fromhex(out["parameters"]) == result.server_model.parameters.tobytes()


def test_a_server_that_was_killed_goes_on_with_the_same_bits(there):
    path = str(there.folder / "server.safetensors")
    out, _ = there.run(rounds=3, checkpoint=path, die_after=1)
    assert out is None
    out, log = there.run(rounds=3, checkpoint=path)
    assert out, log + there.logs()
    np.testing.assert_array_equal(consensus(out), near(3).consensus.ravel())


def test_a_lying_node_and_a_killed_one_are_both_named(there):
    (there.folder / "role-b").write_text("nan")
    (there.folder / "role-d").write_text("sleep")
    import threading

    def kill():
        there.wait((there.folder / "asleep-d").exists, "node d is at work", 300.0)
        there.kill("d")

    killer = threading.Thread(target=kill)
    killer.start()
    out, log = there.run(rounds=1, quorum=2, grace=2.0)
    killer.join()
    assert out, log + there.logs()
    (record,) = out["history"]
    assert set(record["rejected"]) == {"b"}
    assert set(record["failed"]) == {"d"}
    assert np.isfinite(consensus(out)).all()
    print("seconds of the round", out["seconds"])


def test_nothing_left_the_machine_and_nothing_was_unpickled(there):
    assert not (there.folder / "left.txt").exists(), (there.folder / "left.txt").read_text()
    assert not (there.folder / "pickled.txt").exists(), (there.folder / "pickled.txt").read_text()
