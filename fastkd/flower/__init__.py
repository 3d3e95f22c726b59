"""Federations whose clients are nodes of Flower (the extra ``fastkd[flower]``).

One round logic, two places: `FedMD` and `RobustFL` take `FlowerClients` in place of a list of clients, and give the
bits that they give in one process. See docs/flower.md.
"""

import os

# Flower tells its makers of every start unless it is told not to; who wants that sets these to 1 and 0.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

try:
    import flwr  # noqa: F401
except ImportError as error:
    raise ImportError("fastkd.flower needs Flower: pip install 'fastkd[flower]' (flwr >= 1.38, < 2)") from error

from fastkd.flower.apps import client_app, server_app
from fastkd.flower.clients import FlowerClients
from fastkd.flower.local_grid import LocalGrid
from fastkd.flower.records import pack, view
from fastkd.flower.strategy import RobustStrategy

__all__ = ["FlowerClients", "LocalGrid", "RobustStrategy", "client_app", "pack", "server_app", "view"]
