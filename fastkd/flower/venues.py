"""The apps that `write_app` starts: each node is a venue with candles of its own, the server has public ones.

What they do is in the bundle's configuration, the same for all; where the candles lie is in each node's.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid

from fastkd.features import FeatureSet
from fastkd.federated import Client, FedMD
from fastkd.flower.apps import client_app, server_app
from fastkd.flower.clients import FlowerClients
from fastkd.forecast.labels import Direction
from fastkd.forecast.parts import rows_of
from fastkd.market import read_candles
from fastkd.models import MLPClassifier

__all__ = ["client", "server"]

log = logging.getLogger("fastkd.flower")


def _rows(path: str, config: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features and directions of the candles in a file, as all venues make them."""
    candles = read_candles(path)
    if candles.interval != config["interval"]:
        raise ValueError(f"{path} has candles of {candles.interval}; the federation is of {config['interval']}")
    labels = Direction(horizon=int(config["horizon"]))
    rows = rows_of(candles, FeatureSet(str(config["features"])), labels)
    return rows.X.astype(np.float32), rows.y


def _student(config: Any) -> MLPClassifier:
    hidden = tuple(int(n) for n in str(config["hidden"]).split("-"))
    return MLPClassifier(hidden, learning_rate=float(config["learning-rate"]), scale="standard")


def _client(context: Context) -> Client:
    X, y = _rows(str(context.node_config["candles"]), context.run_config)
    return Client("venue", _student({**context.run_config, **context.node_config}), X, y)


def _main(grid: Grid, context: Context) -> None:
    """Run the federation; leave its history and a student of the consensus in the folder `output`."""
    config = context.run_config
    into = Path(str(config["output"]))
    into.mkdir(parents=True, exist_ok=True)
    X, _ = _rows(str(config["public-candles"]), config)
    rows = np.linspace(0, len(X) - 1, min(len(X), int(config["public-rows"]))).astype(int)
    clients = FlowerClients(
        grid,
        min_nodes=int(config["nodes"]),
        quorum=int(config["quorum"]) or None,
        grace=float(config["grace"]),
        timeout=float(config["timeout"]),
        wave=int(config["wave"]) or None,
    )
    log.info("federation of %s", ", ".join(clients.names))
    result = FedMD(
        clients,
        X[rows],
        classes=[0, 1, 2],
        server_model=_student(config),
        rounds=int(config["rounds"]),
        temperature=float(config["temperature"]),
        kd_weight=float(config["kd-weight"]),
        aggregator=str(config["aggregator"]),
        f=int(config["f"]),
        checkpoint=into / "federation.safetensors",
        random_state=int(config["seed"]),
        verbose=True,
    ).run()
    result.server_model.save(into / "student.safetensors")
    (into / "history.json").write_text(json.dumps([r.to_dict() for r in result.history], indent=1) + "\n")


client = client_app(_client, state_dir=lambda context: str(context.node_config["state-dir"]))
server = server_app(_main)
