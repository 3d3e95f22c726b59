"""A federation of venues on Flower as a folder: bundle, keys, and the commands that start it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fastkd.flower.certificates import make_certificates

__all__ = ["VenueApp", "write_app"]


@dataclass(frozen=True)
class VenueApp:
    """What a federation of venues does.

    Attributes
    ----------
    interval : str
        Of all candles, such as "1h".
    public_candles : str
        File of candles on the server, whose features everybody gets to see.
    features : str
        Recipe of `FeatureSet`.
    horizon : int
        Of the labels `Direction`, which are by volatility.
    hidden : str
        Hidden units of a student, such as "32-16"; a node may have its own in its configuration.
    learning_rate : float
    public_rows : int
    rounds, temperature, kd_weight, aggregator, f : as in `FedMD`
    quorum, wave : int
        As in `FlowerClients`; 0 for all nodes.
    grace, timeout : float
    seed : int
    output : str
        Folder on the server for the history, the checkpoint and a student of the consensus.
    """

    interval: str
    public_candles: str
    features: str = "rich"
    horizon: int = 1
    hidden: str = "32-16"
    learning_rate: float = 0.001
    public_rows: int = 1000
    rounds: int = 5
    temperature: float = 3.0
    kd_weight: float = 0.7
    aggregator: str = "trimmed_mean"
    f: int = 0
    quorum: int = 0
    wave: int = 0
    grace: float = 5.0
    timeout: float = 600.0
    seed: int = 0
    output: str = "federation"


def write_app(
    folder: str | os.PathLike[str],
    nodes: Mapping[str, Any],
    app: VenueApp,
    *,
    host: str = "127.0.0.1",
    port: int = 9092,
) -> list[str]:
    """Write a bundle without code, keys and commands for the server and each node.

    Parameters
    ----------
    folder : path
        Gets ``app/pyproject.toml``, ``flwr/config.toml``, ``keys/`` and ``START.md``.
    nodes : mapping of str to path
        Names of the venues, and where each has its candles.
    app : VenueApp
    host, port : where the nodes reach the server

    Returns
    -------
    list of str
        The commands, in the order in which they are to be given.

    Raises
    ------
    FileExistsError
        The folder has such files already.
    ValueError
        Fewer than two nodes, names that are no plain file names.
    """
    if len(nodes) < 2:
        raise ValueError(f"a federation needs at least two nodes; got {list(nodes)}")
    if not re.fullmatch(r"[A-Za-z0-9.\-]+", host):
        raise ValueError(f"host must be a name or an address; got {host!r}")
    into = Path(folder)
    if (into / "app").exists():
        raise FileExistsError(f"{into} has an app already; give another folder")
    make_certificates(into / "keys", nodes, hosts=[host] if host == "127.0.0.1" else [host, "127.0.0.1"])
    config = {f.name.replace("_", "-"): getattr(app, f.name) for f in fields(app)} | {"nodes": len(nodes)}
    for part, text in (("app/pyproject.toml", _bundle(config)), ("flwr/config.toml", _server(host, port))):
        (into / part).parent.mkdir(exist_ok=True)
        (into / part).write_text(text, encoding="utf-8")
    commands = _commands(nodes, host, port)
    (into / "START.md").write_text(_explained(commands), encoding="utf-8")
    return [command for _, command in commands]


def _bundle(config: dict[str, object]) -> str:
    values = "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.items())
    return f"""[project]
name = "fastkd-venues"
version = "1.0.0"
description = "A bundle without code: both apps are part of fastkd, which is installed on every machine"
dependencies = []

[tool.flwr.app]
publisher = "fastkd"

[tool.flwr.app.components]
serverapp = "fastkd.flower.venues:server"
clientapp = "fastkd.flower.venues:client"

[tool.flwr.app.config]
{values}"""


def _server(host: str, port: int) -> str:
    return f"""[superlink]
default = "desk"

[superlink.desk]
address = "{host}:{port}"
root-certificates = "keys/ca.crt"
"""


def _commands(nodes: Mapping[str, Any], host: str, port: int) -> list[tuple[str, str]]:
    """Where and what."""
    listen = "127.0.0.1" if host == "127.0.0.1" else "0.0.0.0"
    found = [
        (
            "server",
            f"flower-superlink --host {listen} --port {port} --ssl-ca-certfile keys/ca.crt --ssl-certfile "
            "keys/server.pem --ssl-keyfile keys/server.key --enable-supernode-auth "
            "--disable-runtime-dependency-installation",
        )
    ]
    found += [("server", f"flwr supernode register keys/{name}.pub desk --name {name}") for name in nodes]
    for k, (name, candles) in enumerate(nodes.items()):
        own = f'candles={json.dumps(os.fspath(candles))} state-dir="state-{name}"'
        found.append(
            (
                name,
                f"flower-supernode --superlink {host}:{port} --root-certificates keys/ca.crt "
                f"--auth-supernode-private-key keys/{name} --ssl-ca-certfile keys/ca.crt "
                f"--ssl-certfile keys/server.pem --ssl-keyfile keys/server.key --host 127.0.0.1 --port {port + 1 + k} "
                f"--node-config '{own}'",
            )
        )
    return [*found, ("server", "flwr run app desk --stream")]


def _explained(commands: list[tuple[str, str]]) -> str:
    lines = [
        "# Start this federation",
        "",
        "Every machine has `fastkd[flower]` installed. First, everywhere, in this folder:",
        "",
        "```sh",
        'export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_HOME="$PWD/flwr"',
        "```",
        "",
        "A venue's machine needs its own private key and `keys/ca.crt`; the line to its own app is encrypted with "
        "`keys/server.*`, for",
        "which it should have a certificate of its own. Give it no other venue's key. Then, in this order:",
    ]
    for where, command in commands:
        lines += ["", f"On {'the server' if where == 'server' else where}:", "", "```sh", command, "```"]
    return "\n".join(lines) + "\n"
