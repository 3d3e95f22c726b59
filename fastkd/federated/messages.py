"""The protocol of `RobustFL`: what goes over the wire, and nothing else.

Each round the server sends a `Broadcast` to the clients it has chosen, and each of them answers with an `Update`, or
breaks down (`Failure`). The server trusts no field of an `Update`: `checked_vector` decides whether it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array

__all__ = ["Broadcast", "Failure", "Update"]


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
class Failure:
    """Instead of an update: the client broke down, and this is what is known of it."""

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
