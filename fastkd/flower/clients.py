"""Nodes of a Flower federation in place of a list of clients."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fastkd._check import as_float, as_positive
from fastkd.federated.messages import Assignment, Failure, Fault, Predictions, Update
from fastkd.flower.exchange import Patience, content_or_reason, exchange
from fastkd.flower.records import answer_of, as_question
from fastkd.models._hyperparameters import integer

__all__ = ["FlowerClients"]

QUESTION = "train.fastkd"
NO_PUBLIC_ROWS = "the public rows are not here"


class FlowerClients:
    """The transport of `FedMD` and `RobustFL` whose clients are the nodes of a Flower federation.

    ``FedMD(FlowerClients(grid), public_X, classes=[0, 1, 2]).run()`` gives the bits that it gives with the same clients
    in one process. The nodes run `client_app`; their rows and models stay with them.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        As a ServerApp gets it, or a `LocalGrid`.
    min_nodes : int
        So many nodes are waited for, at most `timeout` seconds. The federation is of those that are there then.
    quorum : int or None
        A round waits for no more than so many usable answers, and `grace` seconds longer; None: for all.
    grace : float
        Seconds for the nodes that have not answered when the quorum is reached; later answers are not used.
    timeout : float
        Seconds that a round may take. A node that has not answered by then is named in `failed`.
    wave : int or None
        Nodes at work at a time; None: all. Flower's server holds the answers of one wave only.
    poll : float
        Seconds between two looks for answers.
    send_public : bool
        Whether the public rows go to each node with its first question. False: they lie there already
        (``client_app(..., public_X=...)``). Either way a node compares their SHA-256.

    Attributes
    ----------
    names : tuple of str
        As the operator registered the nodes, sorted; "node 17..." for those without a name, which gets its number
        appended where two are the same.

    Raises
    ------
    ValueError
        Arguments out of range; fewer nodes than `min_nodes` in time.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        min_nodes: int = 2,
        quorum: int | None = None,
        grace: float = 5.0,
        timeout: float = 600.0,
        wave: int | None = None,
        poll: float = 0.2,
        send_public: bool = True,
    ) -> None:
        integer("min_nodes", min_nodes, low=1)
        for name, value in (("quorum", quorum), ("wave", wave)):
            if value is not None:
                integer(name, value, low=1, hint=", or None for all nodes")
        if as_float(grace, "grace") < 0.0:
            raise ValueError(f"grace must be >= 0 seconds; got {grace!r}")
        timeout, poll = as_positive(timeout, "timeout"), as_positive(poll, "poll")
        self.grid, self.send_public = grid, send_public
        self.patience = Patience(timeout, quorum, float(grace), wave, poll)
        nodes = _waited_for(grid, min_nodes, timeout, poll)
        if quorum is not None and quorum > len(nodes):
            raise ValueError(f"quorum={quorum} is more than the {len(nodes)} nodes that are there")
        self.nodes = [node for _, node in nodes]
        self._names = tuple(name for name, _ in nodes)
        self._plain: dict[str, Any] = {}
        self._public: dict[str, np.ndarray] = {}
        self._lacking: set[int] = set()
        self._usable: Any = None

    def __repr__(self) -> str:
        return (
            f"FlowerClients({len(self._names)} nodes: {', '.join(self._names[:5])}{', ...' * (len(self._names) > 5)})"
        )

    @property
    def names(self) -> Sequence[str]:
        """The nodes' names, by number."""
        return self._names

    def begin(self, federation: Mapping[str, Any]) -> None:
        """Keep what travels beside every message, so that a node can answer without memory of it."""
        self._usable = federation["usable"]
        self._public = {n: federation[n] for n in ("public_X", "public_y") if federation.get(n) is not None}
        left_out = ("usable", "public_X", "public_y")
        self._plain = {n: v for n, v in federation.items() if n not in left_out and v is not None}
        self._lacking = set(range(len(self.nodes))) if self.send_public and self._public else set()

    def at_work(self) -> AbstractContextManager[Any]:
        """Nodes are connected all the time."""
        return nullcontext()

    def ask(self, chosen: Sequence[int], message: Any, state: Any) -> list[Any]:
        """Answers of the chosen nodes, in their order; of those that are silent or broken a `Failure`."""
        found: dict[int, Any] = {}

        def usable(j: int, reply: Message) -> bool:
            found[j] = self._answer(chosen[j], content_or_reason(reply), message)
            return self._usable(message, found[j]) is None

        for _ in exchange(self.grid, [self._question(k, message) for k in chosen], self.patience, usable):
            pass
        return [found.get(j) or self._silence(k, message) for j, k in enumerate(chosen)]

    def scores(self, eval_sets: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """None: nodes do not tell their accuracies."""
        return {}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _question(self, k: int, message: Any) -> Message:
        rows = self._public if k in self._lacking and isinstance(message, Assignment) else {}
        content = as_question(message, {**self._plain, "number": k}, rows)
        return Message(content, self.nodes[k], QUESTION, ttl=self.patience.timeout, group_id=str(message.round))

    def _answer(self, k: int, content: Any, message: Any) -> Any:
        name = self._names[k]
        if not isinstance(content, RecordDict):
            return Failure(name, message.round, content)
        try:
            answer = answer_of(content, Predictions if isinstance(message, Assignment) else Update, name, message)
        except (ValueError, TypeError, OverflowError) as error:
            return Fault(name, message.round, str(error)[:200])
        if isinstance(answer, Failure) and answer.reason == NO_PUBLIC_ROWS and self.send_public:
            self._lacking.add(k)  # it was restarted: the next question brings them again
        else:
            self._lacking.discard(k)
        if answer.round != message.round:
            return Fault(name, message.round, f"an answer to round {answer.round}")
        return answer

    def _silence(self, k: int, message: Any) -> Failure:
        wait = self.patience
        why = f"no answer within {wait.timeout:g} s"
        if wait.quorum is not None:
            why += f", or within {wait.grace:g} s after {wait.quorum} others"
        return Failure(self._names[k], message.round, why)


def _waited_for(grid: Grid, min_nodes: int, timeout: float, poll: float) -> list[tuple[str, int]]:
    """Names and numbers of the nodes that are there, sorted by name."""
    end = time.monotonic() + timeout
    while len(nodes := list(grid.get_nodes())) < min_nodes:
        if time.monotonic() >= end:
            raise ValueError(f"{len(nodes)} nodes after {timeout:g} s; min_nodes={min_nodes} are needed")
        time.sleep(poll)
    named = [(getattr(node, "name", "") or f"node {node.node_id}", node.node_id) for node in nodes]
    often = Counter(name for name, _ in named)
    return sorted((name if often[name] == 1 else f"{name} {number}", number) for name, number in named)
