"""What a federation hands back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastkd.federated.client import Client

__all__ = ["FederationError", "FederationResult", "RoundRecord"]


@dataclass(frozen=True)
class RoundRecord:
    """One round of a federation. ``record["accuracy"]`` is the same as ``record.accuracy``.

    Attributes
    ----------
    round : int
        From 0.
    loss : float or None
        Mean training loss reported by the clients that are not attackers; None if none reported a finite one.
    accuracy : float or None
        ``model.score`` on `eval_set` after the round; None without one, and in rounds that are not evaluated.
    participants : tuple of str
        Clients that were asked.
    selected, excluded : tuple of str or None
        Whose updates the rule kept, and whose it put aside, where the rule chooses among clients (Krum, Multi-Krum,
        Bulyan); None where it works coordinate by coordinate.
    rejected : dict
        Client -> why its update was no finite vector of the right shape. It counts against f.
    failed : dict
        Client -> the error it raised instead of answering. A dropout: it does not count against f.
    gap_to_mean : float
        Euclidean distance of the aggregate from the plain mean of the same updates. It is large where updates
        disagree, be it for an attack or for different data.
    """

    round: int
    loss: float | None
    accuracy: float | None
    participants: tuple[str, ...]
    selected: tuple[str, ...] | None
    excluded: tuple[str, ...] | None
    rejected: dict[str, str]
    failed: dict[str, str]
    gap_to_mean: float

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> RoundRecord:
        """The record that `to_dict` described, also after JSON has made lists of its tuples."""
        read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**read)


@dataclass(frozen=True, eq=False)
class FederationResult:
    """Outcome of a federation.

    Attributes
    ----------
    history : list
        One record a round.
    consensus : numpy.ndarray or None
        What the clients last agreed on: in `RobustFL` the aggregate of the last round, a vector in the order of
        `parameters`.
    clients : tuple of Client
    server_model : the trained global model
    bytes_up, bytes_down : int
        Payload sent by the clients to the server and by the server to the clients, over all rounds.
    """

    history: list[Any]
    consensus: np.ndarray | None
    clients: tuple[Client, ...]
    server_model: Any
    bytes_up: int
    bytes_down: int

    def series(self, name: str) -> list[Any]:
        """One field of the history, round by round: ``result.series("accuracy")``."""
        return [record[name] for record in self.history]


class FederationError(ValueError):
    """A federation could not go on.

    Attributes
    ----------
    result : FederationResult or None
        The state after the last round that worked.
    """

    result: FederationResult | None = None
