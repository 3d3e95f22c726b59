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

from flwr.app import Message  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from fastkd.federated import Client, FedMD, Predictions, RobustFL  # noqa: E402
from fastkd.flower import FlowerClients, client_app, server_app  # noqa: E402
from fastkd.flower.records import as_answer  # noqa: E402
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
    """The client of a node."""
    robust = (FOLDER / "mode").read_text() == "robust"
    return venue(str(context.node_config["venue"]), (6,) if robust else None)


honest = client_app(make, random_state=3, state_dir=lambda context: FOLDER / f"state-{context.node_config['venue']}")
client = ClientApp()


@client.train("fastkd")
def answer(message, context):
    """Do what the file of this venue says, or what is right."""
    name = context.node_config["venue"]
    file = FOLDER / f"role-{name}"
    role = file.read_text() if file.exists() else ""
    if role == "sleep":
        (FOLDER / f"asleep-{name}").touch()
        time.sleep(300)
    if role == "nan":
        lie = Predictions("", int(message.metadata.group_id), None, np.full((len(PUBLIC), 3), np.nan), 1)
        return Message(as_answer(lie), reply_to=message)
    return honest(message, context)


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
