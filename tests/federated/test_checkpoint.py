"""Interrupted runs end with the bits of those that were not."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fastkd.federated import ALittleIsEnough, CheckpointError, Client, LabelFlip, RandomNoise, RobustFL, SignFlip
from fastkd.models import MLPClassifier

BASE = {
    "aggregator": ("centered_clipping", {"radius": 1.0}), "rounds": 8, "momentum": 0.9, "batch_size": 16,
    "client_fraction": 0.8, "pre": "bucketing", "random_state": 7,
    "attacks": {"c0": RandomNoise(), "c1": LabelFlip(), "c2": ALittleIsEnough()},
}  # fmt: skip


@pytest.fixture
def federation(digits, clients_of):
    X, y, X_test, y_test = digits
    clients = clients_of(X[:400], y[:400], 10, random_state=0)

    def make(**changes):
        model = changes.pop("model", MLPClassifier(hidden=(6,), random_state=0))
        options = {**BASE, "eval_set": (X_test, y_test), **changes}
        return RobustFL(model, options.pop("clients", clients), **options)

    return make


class PowerCut(Exception):
    pass


def cut_after(number):
    def callback(record, model):
        if record.round == number:
            raise PowerCut

    return callback


def assert_same(one, other):
    np.testing.assert_array_equal(one.server_model.parameters, other.server_model.parameters)
    np.testing.assert_array_equal(one.consensus, other.consensus)
    assert one.history == other.history
    assert (one.bytes_up, one.bytes_down) == (other.bytes_up, other.bytes_down)


@pytest.mark.parametrize("cut", [0, 3, 6])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_resumed_run_equals_one_that_was_not_interrupted(federation, tmp_path, cut, every):
    path = tmp_path / "run.safetensors"
    whole = federation().run()
    with pytest.raises(PowerCut):
        federation(checkpoint=path, checkpoint_every=every, callbacks=[cut_after(cut)]).run()
    asked = []
    resumed = federation(
        checkpoint=path, checkpoint_every=every, workers=2, callbacks=[lambda record, model: asked.append(record.round)]
    ).run()
    assert_same(resumed, whole)
    assert asked == list(range(cut + 1, 8))  # and it did not begin anew


def test_a_finished_run_is_read_and_can_be_continued(federation, tmp_path):
    path = tmp_path / "run.safetensors"
    first = federation(checkpoint=path, rounds=5).run()
    assert_same(federation(checkpoint=path, rounds=5).run(), first)
    assert_same(federation(checkpoint=path, rounds=8).run(), federation(rounds=8).run())


def test_without_a_seed_the_checkpoint_keeps_it(federation, tmp_path):
    path = tmp_path / "run.safetensors"
    model = MLPClassifier(hidden=(6,), random_state=0).initialize(64, 10)
    results = []
    for _ in range(2):
        with pytest.raises(PowerCut):
            federation(model=model, checkpoint=path, random_state=None, callbacks=[cut_after(2)]).run()
        kept = path.read_bytes()
        results.append(federation(model=model, checkpoint=path, random_state=None).run())
        path.write_bytes(kept)
        assert_same(federation(model=model, checkpoint=path, random_state=None).run(), results[-1])
        path.unlink()
    assert not np.array_equal(results[0].server_model.parameters, results[1].server_model.parameters)


KILLED = """
import os, signal, sys
import numpy as np
from fastkd.federated import Client, RobustFL
from fastkd.models import MLPClassifier

rng = np.random.default_rng(0)
clients = [Client(f"c{i}", None, rng.normal(size=(20, 3)), rng.integers(0, 2, 20)) for i in range(4)]
replace, calls = os.replace, 0

def killed(source, target):
    global calls
    calls += 1
    if calls == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = killed
model = MLPClassifier(hidden=(3,), random_state=0)
options = {"aggregator": "median", "batch_size": 5, "rounds": 6, "random_state": 1}
federation = RobustFL(model, clients, checkpoint=sys.argv[1], **options)
print(federation.run().server_model.parameters.tobytes().hex())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("kill", [1, 3])
def test_killed_between_write_and_rename(tmp_path, kill):
    def run(kill, path):
        command = [sys.executable, "-c", KILLED.replace("KILL", str(kill), 1), str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    path = tmp_path / "run.safetensors"
    broken = run(kill, path)
    assert broken.returncode == -9, broken.stderr
    assert path.exists() == (kill > 1)
    assert list(tmp_path.glob("*.tmp"))  # the half step
    resumed, whole = run(0, path), run(0, tmp_path / "other.safetensors")
    assert resumed.returncode == whole.returncode == 0, resumed.stderr + whole.stderr
    assert resumed.stdout == whole.stdout != ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"f": 1}, "f"),
        ({"aggregator": "mean"}, "aggregator"),
        ({"aggregator": ("centered_clipping", {"radius": 2.0})}, "aggregator"),
        ({"pre": None}, "pre"),
        ({"learning_rate": 0.2}, "learning_rate"),
        ({"momentum": 0.5}, "momentum"),
        ({"batch_size": 17}, "batch_size"),
        ({"local_epochs": 1, "learning_rate": 0.1}, "local_epochs"),
        ({"client_fraction": 1.0}, "client_fraction"),
        ({"attacks": {"c0": SignFlip()}}, "attacks"),
        ({"attacks": {**BASE["attacks"], "c0": RandomNoise(11.0)}}, "attacks"),
        ({"eval_set": None}, "eval_set"),
        ({"model": MLPClassifier(hidden=(5,)).initialize(64, 10)}, "model"),
        ({"random_state": 8}, "random_state"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_federation_does_not_go_on_from_it(federation, tmp_path, change, named):
    path = tmp_path / "run.safetensors"
    federation(checkpoint=path, rounds=2).run()
    with pytest.raises(CheckpointError, match=f"another random_state|with other {named};"):
        federation(checkpoint=path, **change).run()


def test_other_rows_are_another_federation(federation, tmp_path):
    path = tmp_path / "run.safetensors"
    first = federation(checkpoint=path, rounds=2)
    first.run()
    c3 = first.clients[3]
    changed = [replace(c, y=(c.y + 1) % 10) if c is c3 else c for c in first.clients]
    with pytest.raises(CheckpointError, match="with other clients;"):
        federation(checkpoint=path, clients=changed).run()
    renamed = [Client("new", c.model, c.X, c.y) if c is c3 else c for c in first.clients]
    with pytest.raises(CheckpointError, match="with other clients;"):
        federation(checkpoint=path, clients=renamed).run()


def test_damaged_files(federation, tmp_path):
    path = tmp_path / "run.safetensors"
    federation(checkpoint=path, rounds=2).run()
    whole = path.read_bytes()
    for position in (len(whole) - 3, len(whole) // 2):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            federation(checkpoint=path).run()
    for junk in (whole[:-10], whole[:50], b"", b"no checkpoint at all"):
        path.write_bytes(junk)
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            federation(checkpoint=path).run()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match=r"run\.safetensors"):
        federation(checkpoint=path).run()


def test_a_model_file_is_no_checkpoint(federation, tmp_path):
    path = tmp_path / "run.safetensors"
    MLPClassifier(hidden=(3,)).initialize(4, 2).save(path)
    with pytest.raises(CheckpointError, match="no checkpoint of a federation"):
        federation(checkpoint=path).run()


def test_the_file_is_safetensors_with_json(federation, tmp_path):
    from safetensors import safe_open

    path = tmp_path / "run.safetensors"
    result = federation(checkpoint=path, rounds=3).run()
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["federation"])
        np.testing.assert_array_equal(file.get_tensor("parameters"), result.server_model.parameters)
        assert len(file.get_tensor("momenta")) == len(header["momenta"])
    assert len(header["history"]) == 3
