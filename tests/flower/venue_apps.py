"""The apps of the deployment in `test_processes.py`. What a venue does is written in a file, so that it can change."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("VENUES", "."))


def _loopback_only(event, arguments):
    """Every process of the deployment runs this hook: connections leave no machine, and nothing is unpickled."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(address, tuple) and not str(host).startswith(("127.", "::1", "localhost")):
            (FOLDER / "left.txt").open("a").write(f"{os.getpid()} {address}\n")
    if event == "pickle.find_class":
        (FOLDER / "pickled.txt").open("a").write(f"{os.getpid()} {arguments}\n")


if "VENUES" in os.environ:
    sys.addaudithook(_loopback_only)

from fastkd.federated import Client, FedMD, RobustFL  # noqa: E402
from fastkd.flower import FlowerClients, client_app, server_app  # noqa: E402
from fastkd.models import MLPClassifier  # noqa: E402

VENUES = ("a", "b", "c", "d")
RNG = np.random.default_rng(5)
X = RNG.normal(size=(360, 4)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)
PUBLIC = X[240:]
OPTIONS = {"classes": [0, 1, 2], "random_state": 3, "revisit_epochs": 1}
TRAINING = {"rounds": 2, "batch_size": 20, "random_state": 3}


def venue(name, hidden=None):
    k = VENUES.index(name[0])
    rows = np.arange(60) + 60 * k
    return Client(name, MLPClassifier(hidden or (4 + k,), random_state=k), X[rows], Y[rows])


def start():
    return MLPClassifier((6,), random_state=0).initialize(4, 3)


def make(context):
    """The client of a node: after what its file says it should do."""
    name = str(context.node_config["venue"])
    file = FOLDER / f"role-{name}"
    role = file.read_text() if file.exists() else ""
    if role == "raise":
        raise RuntimeError("a fault of this venue")
    if role == "sleep":
        (FOLDER / f"asleep-{name}").touch()
        time.sleep(300)
    mode = (FOLDER / "mode").read_text() if (FOLDER / "mode").exists() else "fedmd"
    client = venue(name, (6,) if mode == "robust" else None)
    if role in ("nan", "flip"):
        object.__setattr__(client, "model", Lying(client.model, np.nan if role == "nan" else -1.0))
    return client


class Lying:
    """A model that says NaN, or the opposite of what it knows."""

    def __init__(self, model, factor):
        self.model, self.factor = model, factor

    def predict_proba(self, rows):
        said = np.full((len(rows), 3), 1 / 3)
        return said * np.nan if np.isnan(self.factor) else said[:, ::-1] * 0 + [1.0, 0.0, 0.0]


client = client_app(make, random_state=3, state_dir=lambda context: FOLDER / f"state-{context.node_config['venue']}")


def main(grid, context):
    config = context.run_config
    (FOLDER / "mode").write_text(str(config["mode"]))
    nodes = FlowerClients(
        grid,
        min_nodes=int(config["nodes"]),
        quorum=int(config["quorum"]) or None,
        grace=float(config["grace"]),
        timeout=float(config["timeout"]),
        wave=int(config["wave"]) or None,
    )
    seconds, at = [], time.monotonic()

    def tick(record, _):
        nonlocal at
        seconds.append(time.monotonic() - at)
        at = time.monotonic()
        if record.round == int(config["die-after"]):
            os.kill(os.getpid(), signal.SIGKILL)

    more = {"callbacks": [tick], "checkpoint": str(config["checkpoint"]) or None}
    rule = {"aggregator": str(config["rule"]), "f": int(config["f"])}
    if config["mode"] == "fedmd":
        result = FedMD(nodes, PUBLIC, rounds=int(config["rounds"]), **OPTIONS, **rule, **more).run()
    else:
        result = RobustFL(start(), nodes, **TRAINING, **rule, **more).run()
    Path(str(config["out"])).write_text(
        json.dumps(
            {
                "consensus": np.asarray(result.consensus, np.float64).tobytes().hex(),
                "parameters": None if result.server_model is None else result.server_model.parameters.tobytes().hex(),
                "history": [record.to_dict() for record in result.history],
                "seconds": seconds,
            }
        )
    )


server = server_app(main)  # Flower looks for an assignment
