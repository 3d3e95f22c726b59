"""A participant of a federation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Client"]


@dataclass(frozen=True, eq=False, repr=False)
class Client:
    """A participant and its private rows.

    Attributes
    ----------
    name : str
        Different for each client of a federation; results and errors speak of clients by name.
    model : model or None
        What the client computes with. `RobustFL` takes None for a copy of the server's model.
    X, y : private rows and their labels, kept as they are given
        Arrays or DataFrames of equal length, at least one row.

    Raises
    ------
    TypeError, ValueError
        A name that is no text, X and y of different lengths, no rows.

    Examples
    --------
    >>> Client("venue-a", None, [[0.1, 0.2], [0.3, 0.1]], [0, 1])
    Client('venue-a', 2 rows)
    """

    name: str
    model: Any
    X: Any
    y: Any

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a client's name must be a str; got {self.name!r}")
        if not self.name:
            raise ValueError("a client's name must not be empty")
        rows = len(self.X)
        if rows == 0:
            raise ValueError(f"client {self.name!r} has no rows")
        if self.y is not None and len(self.y) != rows:
            raise ValueError(f"client {self.name!r}: X has {rows} rows and y has {len(self.y)}; they must be the same")

    def __repr__(self) -> str:
        return f"Client({self.name!r}, {len(self.X)} rows)"


def checked_clients(clients: Iterable[Any]) -> tuple[Client, ...]:
    """The clients as a tuple: at least one, all of them `Client`, no name twice."""
    found = tuple(clients)
    if not found:
        raise ValueError("a federation needs at least one client; got none")
    seen: set[str] = set()
    for client in found:
        if not isinstance(client, Client):
            raise TypeError(f"clients must be fastkd.federated.Client; got {type(client).__name__}")
        if client.name in seen:
            raise ValueError(f"two clients are named {client.name!r}; names must differ")
        seen.add(client.name)
    return found


def labeled(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mask of the rows that have a label: y is not -1, or -1 is a class."""
    if y.dtype.kind not in "ifO" or (classes.dtype.kind in "if" and -1 in classes):
        return np.ones(len(y), bool)
    return np.asarray(y != -1, bool)
