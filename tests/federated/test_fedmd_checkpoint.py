"""Checkpoints of FedMD: written on the way out, and believed only where they describe such a federation."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from fastkd.federated import CheckpointError, Client, FederationError, FedMD, RobustFL
from fastkd.federated.checkpoint import write_file
from fastkd.models import MLPClassifier

QUICK = {"revisit_epochs": 1, "digest_epochs": 1, "initial_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(90, 4))
Y = (X[:, 0] > 0).astype(int)


def federation(path, rounds=3, **options):
    models = [MLPClassifier((4 + i,), random_state=i) for i in range(2)]
    clients = [Client(f"c{i}", model, X[i * 12 :][:12], Y[i * 12 :][:12]) for i, model in enumerate(models)]
    return FedMD(clients, X[50:], rounds=rounds, checkpoint=path, **{**QUICK, "public_rows": 20, **options})


def same(one, other):
    np.testing.assert_array_equal(one.consensus, other.consensus)
    assert one.history == other.history
    for a, b in zip(one.clients, other.clients, strict=True):
        np.testing.assert_array_equal(a.model.parameters, b.model.parameters)


# -- on the way out ---------------------------------------------------------------------------------------------------


def test_a_callback_that_stops_leaves_a_file(tmp_path):
    path = tmp_path / "run.safetensors"
    federation(path, checkpoint_every=10, callbacks=[lambda record, _: record.round == 1]).run()
    asked = []
    again = federation(path, callbacks=[lambda record, _: asked.append(record.round)]).run()
    assert asked == [2]
    same(again, federation(None).run())


def test_an_error_leaves_the_rounds_before_it(tmp_path):
    """The clients have trained in the failed round; the file has them as they were before."""
    path, down = tmp_path / "run.safetensors", [True]

    def average(tables):
        if down[0] and len(calls) == 2:
            raise ConnectionError("server down")
        calls.append(len(tables))
        return tables.mean(axis=0)

    calls = []
    with pytest.raises(FederationError, match="round 2: ConnectionError"):
        federation(path, checkpoint_every=10, aggregator=average).run()
    down[0] = False
    again = federation(path, aggregator=average).run()
    assert len(calls) == 3
    same(again, federation(None, aggregator=average).run())


def test_robust_training_leaves_a_file_as_well(tmp_path):
    path = tmp_path / "run.safetensors"

    def make(**options):
        clients = [Client(f"c{i}", None, X[i * 12 :][:12], Y[i * 12 :][:12]) for i in range(3)]
        return RobustFL(MLPClassifier((3,), random_state=0), clients, rounds=3, random_state=0, **options)

    make(checkpoint=path, checkpoint_every=10, callbacks=[lambda record, _: record.round == 1]).run()
    assert path.exists()
    again = make(checkpoint=path).run()
    np.testing.assert_array_equal(again.server_model.parameters, make().run().server_model.parameters)
    assert len(again.history) == 3


def test_robust_training_refuses_a_file_of_other_shapes(tmp_path):
    path = tmp_path / "run.safetensors"
    clients = [Client(f"c{i}", None, X[i * 12 :][:12], Y[i * 12 :][:12]) for i in range(3)]

    def make(rounds):
        return RobustFL(MLPClassifier((3,), random_state=0), clients, momentum=0.5, rounds=rounds, random_state=0,
                        checkpoint=path)  # fmt: skip

    make(2).run()
    with safe_open(path, framework="numpy") as file:
        kind, text = (file.metadata()[name] for name in ("format", "federation"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, short in (("aggregate", tensors["aggregate"][:1]), ("momenta", tensors["momenta"][:, :1])):
        write_file(path, kind, json.loads(text), {**tensors, name: short})
        with pytest.raises(CheckpointError, match=f"{name} has shape"):
            make(3).run()


# -- what a file may say ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("fedmd") / "run.safetensors"
    federation(path, rounds=2).run()
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        return metadata["format"], metadata["federation"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def tensor(name, value):
    return lambda header, tensors: tensors.__setitem__(name, value)


def entry(*path, value):
    def change(header, tensors):
        for step in path[:-1]:
            header = header[step]
        header[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (tensor("consensus", np.zeros((3, 2))), "consensus is float64"),
        (tensor("targets", np.zeros((3, 2), np.float32)), "targets is float32"),
        (tensor("targets", np.zeros((20, 2), np.int64)), "targets is int64"),
        (tensor("targets", np.full((20, 2), np.nan, np.float32)), "targets is not finite"),
        (tensor("rows", np.arange(20, 40, dtype=np.int32) + 1), "rows must ascend within 0 .. 39"),
        (tensor("rows", np.zeros(20, np.int32)), "rows must ascend"),
        (tensor("rows", np.full(20, 0.5)), "rows is float64"),
        (tensor("student0.m", np.zeros(1, np.float32)), "student0.m is float32"),
        (lambda header, tensors: tensors.update({"student0.v": tensors["student0.v"] - 1.0}), "student0.v has"),
        (entry("state", "scores", value={"c0": -1.0}), "the score of c0"),
        (tensor("student0.parameters", np.zeros(5, np.float32)), "parameters must have shape"),
        (entry("students", 0, value=[True, False, -5, 0]), "n_iter must be a whole number"),
        (entry("students", 0, value=[True, False, 5, 10**30]), "step must be a whole number"),
        (entry("students", 0, value=[True, False, 5, "a"]), "step must be a whole number"),
        (entry("students", value=[]), "does not describe"),
        (entry("state", "bytes_up", value="many"), "bytes_up must be a whole number"),
        (entry("state", "answers", value={"c0": -1}), "answers of c0"),
        (entry("state", "temperature", value=-1.0), "temperature"),
        (entry("state", "entropy", value=float("inf")), "OverflowError"),
        (entry("state", value=3), "does not describe"),
    ],
)
def test_a_file_that_describes_something_else_is_refused(written, tmp_path, change, named):
    kind, text, tensors = written
    header, tensors = json.loads(text), dict(tensors)
    path = tmp_path / "run.safetensors"
    write_file(path, kind, header, tensors)
    assert len(federation(path).run().history) == 3
    change(header, tensors)
    write_file(path, kind, header, tensors)
    with pytest.raises(CheckpointError, match=named):
        federation(path).run()


@pytest.mark.parametrize(
    "changed", [{"availability": 0.5}, {"availability": max}, {"schedule": lambda t: 2.0}, {"temperature": 2.0}]
)
def test_another_availability_or_schedule_is_another_federation(written, tmp_path, changed):
    kind, text, tensors = written
    path = tmp_path / "run.safetensors"
    write_file(path, kind, json.loads(text), tensors)
    with pytest.raises(CheckpointError, match=f"other {next(iter(changed))}"):
        federation(path, **changed).run()
