"""How a federation reaches its clients: the seam between the rounds and threads, processes or machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

__all__ = ["InProcess", "Transport"]

T = TypeVar("T")


@runtime_checkable
class Transport(Protocol):
    """What `FedMD` and `RobustFL` know of their clients.

    In this process these are threads; `fastkd.flower.FlowerClients` are machines. A transport of one's own is given in
    place of the list of clients.

    """

    @property
    def names(self) -> Sequence[str]:
        """The clients, each by a name of its own; a client's number is its place here."""

    def begin(self, federation: Mapping[str, Any]) -> None:
        """Called once before the first question.

        `federation` has "kind" ("FedMD" or "RobustFL"), "federation" (a text that is the same after a restart), and
        what every client has to know to answer, as plain numbers, texts and lists; of `FedMD` also "public_X" and
        "public_y" (numbers of classes, -1 for none) or None. "usable" is a function of a message and an answer to it:
        None, or a sentence that says why the answer cannot be used.
        """

    def at_work(self) -> AbstractContextManager[Any]:
        """A context in which questions are asked: threads exist, nodes are connected."""

    def ask(self, chosen: Sequence[int], message: Any, state: Any) -> list[Any]:
        """Answers of the chosen clients to an `Assignment` or `Broadcast`, in their order.

        Each is a `Predictions` or `Update`; a `Failure` if the client broke down or did not answer in time; or a
        `Fault` if what came is no answer. `state` is the server's, and stays here: in this process clients derive
        their random numbers from its entropy.
        """

    def scores(self, eval_sets: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """Client -> accuracy on its rows, of those that tell; far ones do not."""


class InProcess:
    """Clients in threads of this process, if there are several workers."""

    def __init__(self, names: Sequence[str], workers: int) -> None:
        self._names = tuple(names)
        self.n_threads = min(len(self._names), os.cpu_count() or 1 if workers == -1 else workers)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def names(self) -> Sequence[str]:
        """The clients' names, by number."""
        return self._names

    def begin(self, federation: Mapping[str, Any]) -> None:
        """Nothing to prepare: the clients were made with all they need."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Threads exist inside this context only."""
        if self.n_threads == 1:
            yield
            return
        with ThreadPoolExecutor(self.n_threads) as self._pool:
            try:
                yield
            finally:
                self._pool = None

    def _each(self, answer: Callable[[int], T], chosen: Sequence[int]) -> list[T]:
        return list(map(answer, chosen) if self._pool is None else self._pool.map(answer, chosen))
