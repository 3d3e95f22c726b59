"""The protocols: what goes over the wire, and nothing else.

`RobustFL`: each round the server sends a `Broadcast` to the clients it has chosen, and each of them answers with an
`Update`, or breaks down (`Failure`). The server trusts no field of an `Update`: `checked_vector` decides whether it is
used.

`FedMD`: the server sends an `Assignment`, and the clients answer with `Predictions` on rows that everybody has. No
parameters are sent, so every client may have a model of its own kind. `fastkd.federated.predictions` checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array

__all__ = ["Assignment", "Broadcast", "Failure", "Fault", "Predictions", "Update"]


@dataclass(frozen=True, eq=False)
class Broadcast:
    """Server to client: the global parameters (n_parameters,) at the start of a round. They are read only."""

    round: int
    parameters: np.ndarray


@dataclass(frozen=True, eq=False)
class Update:
    """Client to server: a direction to be subtracted from the parameters, and the client's training loss.

    `vector` is a gradient, or after local epochs the broadcast parameters minus the client's own.
    """

    client: str
    round: int
    vector: Any
    loss: float


@dataclass(frozen=True, eq=False)
class Assignment:
    """Server to client: what to learn from, and what to predict then.

    Attributes
    ----------
    round : int
    space : {"probability", "logit"}
        What `targets` and the answer are.
    temperature : float
        At which `targets` were softened, in probability space; at which to learn from them, in both.
    rows : (m,) int32 or None
        The public rows that `targets` belong to; None for all of them in order. Without a public set the classes.
    targets : (m, n_classes) or None
        Soft labels or logits; None if nothing is agreed on yet: then the client trains on its own rows alone.
    answer_rows, answer_temperature : as `rows` and `temperature`
        The rows to predict after training, and how soft.
    restart : bool
        Forget everything and learn anew, from `targets` first.
    """

    round: int
    space: str
    temperature: float
    rows: np.ndarray | None
    targets: np.ndarray | None
    answer_rows: np.ndarray | None
    answer_temperature: float
    restart: bool = False

    @property
    def nbytes(self) -> int:
        """Payload: the arrays."""
        return sum(a.nbytes for a in (self.rows, self.targets, self.answer_rows) if a is not None)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Client to server: `values` (m, n_classes) on the rows that were asked for, and the number of its own rows.

    Nothing is weighted by `count`, which is the client's word alone.

    Without a public set row c is the mean prediction on the client's rows of class c, NaN for a class it has not met.
    """

    client: str
    round: int
    rows: np.ndarray | None
    values: Any
    count: int


@dataclass(frozen=True, eq=False)
class Failure:
    """Instead of an answer: the client broke down, and this is what is known of it."""

    client: str
    round: int
    reason: str


@dataclass(frozen=True, eq=False)
class Fault:
    """Instead of an answer: something came that is none, and why. It counts against f, as a lie does."""

    client: str
    round: int
    reason: str


def checked_vector(vector: Any, like: np.ndarray) -> np.ndarray | str:
    """The vector in the shape and dtype of `like`, or a sentence that says why it cannot be used."""
    try:
        array = as_array(vector, "update")
    except (TypeError, ValueError) as error:
        return str(error)
    if array.shape != like.shape:
        return f"shape {array.shape} instead of {like.shape}"
    if array.dtype != like.dtype:
        with np.errstate(over="ignore"):
            array = array.astype(like.dtype)
    finite = np.isfinite(array)
    if not finite.all():
        at = int(np.argmin(finite))
        return f"{int((~finite).sum())} of {array.size} values are not finite in {like.dtype}, the first at {at}"
    return array
