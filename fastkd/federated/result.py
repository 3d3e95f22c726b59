"""What a federation hands back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fastkd.federated.client import Client
from fastkd.models._base import warn_caller

__all__ = ["DistillationRecord", "FederationError", "FederationResult", "RoundRecord"]


class _Record:
    """Access by name, and to JSON and back."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise KeyError(name)
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON takes."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Any:
        """The record that `to_dict` described, also after JSON has made lists of its tuples."""
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


@dataclass(frozen=True)
class RoundRecord(_Record):
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


@dataclass(frozen=True)
class DistillationRecord(_Record):
    """One round of `FedMD`. ``record["accuracy"]`` is the same as ``record.accuracy``.

    Attributes
    ----------
    round : int
        From 0.
    temperature : float
        Of the predictions that the round ended with.
    restart : bool
        Whether the students learned anew.
    accuracy : float or None
        Mean of `accuracies` over the clients that are not attackers; None without an `eval_set`.
    accuracies_before, accuracies : dict
        Client -> accuracy on the `eval_set` before and after the round; empty without one.
    server_accuracy : float or None
        The server model's.
    consensus_accuracy : float or None
        Of the consensus on the public rows, where their labels were given.
    agreement : float
        Share of public rows on which a client's most probable class is that of the consensus, mean over the usable
        answers.
    participants, absent, late : tuple of str
        Who was asked; who did not get it; who answered after the deadline, in vain.
    selected, excluded : tuple of str or None
        Whose predictions the rule kept and put aside, where it chooses among clients.
    rejected : dict
        Client -> why its predictions could not be used. It counts against f.
    failed : dict
        Client -> the error it raised instead of answering, or that its privacy budget is spent.
    weights : dict
        Client -> its weight in the consensus, for a rule with weights (`ExpGuard`); else empty.
    gap_to_mean : float
        Euclidean distance of the aggregate from the plain mean.
    """

    round: int
    temperature: float
    restart: bool
    accuracy: float | None
    accuracies_before: dict[str, float]
    accuracies: dict[str, float]
    server_accuracy: float | None
    consensus_accuracy: float | None
    agreement: float
    participants: tuple[str, ...]
    absent: tuple[str, ...]
    late: tuple[str, ...]
    selected: tuple[str, ...] | None
    excluded: tuple[str, ...] | None
    rejected: dict[str, str]
    failed: dict[str, str]
    weights: dict[str, float]
    gap_to_mean: float


@dataclass(frozen=True, eq=False)
class FederationResult:
    """Outcome of a federation.

    Attributes
    ----------
    history : list
        One record a round.
    consensus : numpy.ndarray or None
        What the clients last agreed on: in `RobustFL` the aggregate of the last round, a vector in the order of
        `parameters`; in `FedMD` probabilities (public rows, n_classes), NaN for rows that were never asked for.
    clients : tuple of Client
        From `FedMD` with their trained models.
    server_model : the trained global model, or None
    bytes_up, bytes_down : int
        Payload sent by the clients to the server and by the server to the clients, over all rounds.
    privacy : dict
        Client -> `PrivacySpent`, its (epsilon, delta) so far; empty without a mechanism.
    """

    history: list[Any]
    consensus: np.ndarray | None
    clients: tuple[Client, ...]
    server_model: Any
    bytes_up: int
    bytes_down: int
    privacy: dict[str, Any] = field(default_factory=dict)

    def series(self, name: str) -> list[Any]:
        """One field of the history, round by round: ``result.series("accuracy")``."""
        return [record[name] for record in self.history]


def warn_of_failures(history: list[Any]) -> None:
    """A warning that names the clients that failed whenever they were reached."""
    reached = {name for r in history for name in r.participants if name not in getattr(r, "absent", ())}
    worked = {name for r in history for name in r.participants if name not in (*getattr(r, "absent", ()), *r.failed)}
    reasons = {name: why for r in history for name, why in r.failed.items()}
    never = "; ".join(f"{name}: {reasons[name]}" for name in sorted(reached - worked))
    if never:
        warn_caller(UserWarning(f"these clients failed in every round ({never})"))


class FederationError(ValueError):
    """A federation could not go on.

    Attributes
    ----------
    result : FederationResult or None
        The state after the last round that worked.
    """

    result: FederationResult | None = None
