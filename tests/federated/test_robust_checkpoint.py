"""What a checkpoint of RobustFL takes for the same federation, and what not."""

import functools

import numpy as np
import pytest

from fastkd import aggregate
from fastkd.federated import ALittleIsEnough, CheckpointError, Client, Mimic, RobustFL, SignFlip
from fastkd.federated.checkpoint import stable
from fastkd.models import MLPClassifier

X = np.random.default_rng(0).normal(size=(70, 3))
Y = (X[:, 0] > 0).astype(int)


def run(path, rounds, model=None, own=None, **options):
    clients = [Client(f"c{i}", own if i == 0 else None, X[i::7], Y[i::7]) for i in range(7)]
    model = model or MLPClassifier(hidden=(2,), random_state=0)
    return RobustFL(model, clients, rounds=rounds, checkpoint=path, random_state=0, **options).run()


class Shift:
    """An attack that is no dataclass."""

    def __init__(self, by, towards=None):
        self.by, self.towards = by, towards

    def __call__(self, honest_updates, rng):
        return honest_updates[0] + self.by


def double(updates, scale=2.0):
    return scale * updates.mean(axis=0)


def model(**changes):
    return MLPClassifier(**{"hidden": (2,), "random_state": 0, **changes})


@pytest.mark.parametrize(
    ("first", "then", "named"),
    [
        ({}, {"model": model(l2=5.0)}, "model"),
        ({}, {"model": model(label_smoothing=0.3)}, "model"),
        ({}, {"model": model(activation="tanh")}, "model"),
        ({}, {"own": model()}, "clients"),
        ({"own": model()}, {"own": model(l2=5.0)}, "clients"),
        ({"attacks": {"c1": Shift(1.0)}}, {"attacks": {"c1": Shift(2.0)}}, "attacks"),
        ({"attacks": {"c1": Shift(1.0, np.zeros(9))}}, {"attacks": {"c1": Shift(1.0, np.ones(9))}}, "attacks"),
        ({"aggregator": aggregate.get("krum", f=1)}, {"aggregator": aggregate.get("krum", f=2)}, "f"),
        ({"aggregator": double}, {"aggregator": functools.partial(double, scale=3.0)}, "aggregator"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_setting_is_another_federation(tmp_path, first, then, named):
    path = tmp_path / "run.safetensors"
    run(path, 1, **first)
    run(path, 1, **first)
    with pytest.raises(CheckpointError, match=f"with other {named};"):
        run(path, 2, **{**first, **then})


@pytest.mark.parametrize(
    "make",
    [
        lambda: aggregate.get("krum", f=2),
        lambda: functools.partial(double, scale=3.0),
        lambda: Shift(1.0, {"to": [np.random.default_rng(0), object(), SignFlip()]}),
        lambda: model(random_state=np.random.default_rng(0)).get_params(),
        lambda: lambda updates: updates[0],
        lambda: [Mimic(), ALittleIsEnough(z=1.5), np.arange(3), None, "name", np.float32],
    ],
)
def test_settings_read_the_same_in_every_process(make):
    one, other = make(), make()
    assert stable(one) == stable(other)
    assert "0x" not in stable(one)


def test_an_object_that_holds_itself_is_told():
    shift = Shift(1.0)
    shift.towards = [shift]
    assert "Shift" in stable(shift)
