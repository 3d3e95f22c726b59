"""The two apps of a Flower federation: a client's on its node, and the server's."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fastkd.federated.client import Client
from fastkd.federated.messages import Failure
from fastkd.federated.privacy import checked_mechanism
from fastkd.flower.memory import Memory
from fastkd.flower.node import Node
from fastkd.flower.records import as_answer, question_of

__all__ = ["client_app", "server_app"]

log = logging.getLogger("fastkd.flower")


def client_app(
    client: Client | Callable[[Context], Client],
    *,
    public_X: Any = None,
    privacy: Any = None,
    state_dir: str | os.PathLike[str] | Callable[[Context], str | os.PathLike[str]] | None = None,
    random_state: int | None = None,
) -> ClientApp:
    """The app of a node: answers the questions of `FedMD` and `RobustFL` with the rows and the model that lie here.

    Flower starts a process for every message. So the student's weights and optimizer are kept from one to the next:
    in `state_dir`, or in the memory of the SuperNode, which keeps them for one run of the server app and forgets them
    when it is restarted. They are never sent.
    What goes wrong is told to the server by the kind of the error alone; the rest is in the log of this node, for it
    may speak of rows.

    Parameters
    ----------
    client : Client, or callable
        ``factory(context) -> Client``, called for every message: ``context.node_config`` tells which rows are meant.
        A model of its own as in `FedMD`; for `RobustFL` one of the server's architecture.
    public_X : (n_public, ...), optional
        The public rows, where they lie on the node already; else the server sends them.
    privacy : GaussianMechanism, optional
        Noise on the predictions, drawn here from a seed that the server does not know; the server must be given the
        same mechanism. The budget is counted here, so it needs `state_dir`.
    state_dir : path or callable, optional
        Folder of this node, or a function of the context that tells it. A server that was killed and goes on from its
        checkpoint needs nodes that have one; it may ask for its last round again.
    random_state : int or None
        None draws a seed and keeps it. The seed that the federation would have in one process gives the bits of that.

    Raises
    ------
    TypeError, ValueError
        Neither a client nor a function; privacy without `state_dir`.
    """
    if not isinstance(client, Client) and not callable(client):
        raise TypeError(f"client must be a Client or a function of a context that makes one; got {client!r}")
    mechanism = checked_mechanism(privacy)
    if mechanism is not None and state_dir is None:
        raise ValueError("privacy needs state_dir=: a budget that a restart forgets protects nobody")
    app = ClientApp()

    @app.train("fastkd")
    def answer(message: Message, context: Context) -> Message:
        number = -1
        try:
            question, plain, arrays = question_of(message.content)
            number = question.round
            own = client if isinstance(client, Client) else client(context)
            memory = Memory(context.state, state_dir(context) if callable(state_dir) else state_dir)
            node = Node(own, public_X, mechanism, memory, random_state)
            found = node.answer(question, plain, arrays)
        except Exception as error:
            log.exception("no answer to round %d", number)
            found = Failure("", number, f"{type(error).__name__} (more in the log of the node)")
        return Message(as_answer(found), reply_to=message)

    return app


def server_app(main: Callable[[Grid, Context], None]) -> ServerApp:
    """The app of the server: ``main(grid, context)`` builds a federation on ``FlowerClients(grid)`` and runs it.

    Examples
    --------
    >>> from fastkd.federated import FedMD
    >>> from fastkd.flower import FlowerClients, server_app
    >>> def main(grid, context):
    ...     clients = FlowerClients(grid, min_nodes=4, quorum=3, timeout=300.0)
    ...     FedMD(clients, public_X, classes=[0, 1, 2], checkpoint="federation.safetensors").run()
    >>> app = server_app(main)
    """
    app = ServerApp()
    app.main()(main)
    return app
