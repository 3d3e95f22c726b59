"""One round of a robust federation: choose, broadcast, compute, attack, aggregate."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from fastkd.federated.attacks import bind
from fastkd.federated.checkpoint import State
from fastkd.federated.local import LocalWork, Worker
from fastkd.federated.messages import Broadcast, Failure, Update, checked_vector
from fastkd.federated.result import RoundRecord
from fastkd.federated.rules import Aggregation

__all__ = ["Cohort", "Settings", "generator", "play_round"]

# Each random draw has a generator of its own, a function of the run's entropy, the round, a stream and the client's
# number: so nothing depends on the order in which threads work, or on where a run was interrupted.
SAMPLING, LOCAL, ATTACK, MIXING, POISON = range(5)


def generator(entropy: int, round_number: int, stream: int, client: int = 0) -> np.random.Generator:
    """The generator of one draw."""
    # Philox counts in the first two words, so the others tell streams and clients apart
    return np.random.Generator(np.random.Philox(key=[entropy, round_number], counter=[0, 0, stream, client]))


@dataclass(frozen=True, eq=False)
class Settings:
    """What stays the same in all rounds."""

    work: LocalWork
    aggregation: Aggregation
    learning_rate: float
    momentum: float
    n_asked: int


class Cohort:
    """The clients at work, in threads if there are several workers, each with a model to itself."""

    def __init__(self, clients: list[Worker], attacks: Mapping[str, Any], server: Any, workers: int) -> None:
        self.clients, self.attacks = clients, attacks
        self.n_threads = min(len(clients), os.cpu_count() or 1 if workers == -1 else workers)
        self._models: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.n_threads):
            self._models.put(copy.deepcopy(server))
        self._pool: ThreadPoolExecutor | None = None

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

    def forges(self, k: int) -> bool:
        """Whether client k sends what it likes, instead of what it computed (on true or on poisoned rows)."""
        attack = self.attacks.get(self.clients[k].name)
        return attack is not None and not hasattr(attack, "poison")

    def ask(self, chosen: list[int], message: Broadcast, work: LocalWork, entropy: int) -> list[Update | Failure]:
        """Answers of the chosen clients, in their order."""

        def one(k: int) -> Update | Failure:
            lent = self._models.get()
            try:
                rng = generator(entropy, message.round, LOCAL, k)
                return self.clients[k].answer(message, work, rng, lent)
            finally:
                self._models.put(lent)

        return list(map(one, chosen) if self._pool is None else self._pool.map(one, chosen))


def play_round(state: State, cohort: Cohort, settings: Settings) -> tuple[State, RoundRecord]:
    """The state after one more round, with a record that does not know the accuracy yet; `state` stays as it is."""
    t, entropy = state.round, state.entropy
    chosen = _choose(len(cohort.clients), settings.n_asked, generator(entropy, t, SAMPLING))
    message = Broadcast(t, state.parameters)
    message.parameters.flags.writeable = False
    computing = [k for k in chosen if not cohort.forges(k)]
    answers = dict(zip(computing, cohort.ask(computing, message, settings.work, entropy)))
    failed = {a.client: a.reason for a in answers.values() if isinstance(a, Failure)}
    updates = {k: a for k, a in answers.items() if isinstance(a, Update)}

    momenta = dict(state.momenta)
    vectors: dict[int, np.ndarray | str] = {
        k: _with_momentum(checked_vector(update.vector, state.parameters), update.client, momenta, settings.momentum)
        for k, update in updates.items()
    }
    honest = [k for k in updates if cohort.clients[k].name not in cohort.attacks]
    losses = [updates[k].loss for k in honest if math.isfinite(updates[k].loss)]
    _attack(state, cohort, settings, chosen, vectors, honest)

    answered = [k for k in chosen if k in vectors]
    names = [cohort.clients[k].name for k in answered]
    rejected = {name: why for name, k in zip(names, answered) if isinstance(why := vectors[k], str)}
    if not answered:
        raise ValueError(f"no client answered ({'; '.join(f'{name}: {why}' for name, why in failed.items())})")
    settings.aggregation.check_rejected(len(answered), rejected)
    usable = {cohort.clients[k].name: v for k in answered if isinstance(v := vectors[k], np.ndarray)}
    mixing = generator(entropy, t, MIXING)
    outcome = settings.aggregation(list(usable.values()), len(rejected), state.aggregate, mixing)
    with np.errstate(over="ignore", invalid="ignore"):
        parameters = state.parameters - np.asarray(settings.learning_rate, outcome.vector.dtype) * outcome.vector
    if not np.isfinite(parameters).all():
        raise ValueError("the parameters are no longer finite; lower learning_rate, or defend with a larger f")

    kept = None if outcome.selected is None else {list(usable)[k] for k in outcome.selected}
    record = RoundRecord(
        round=t,
        loss=math.fsum(losses) / len(losses) if losses else None,
        accuracy=None,
        participants=tuple(cohort.clients[k].name for k in chosen),
        selected=None if kept is None else tuple(name for name in usable if name in kept),
        excluded=None if kept is None else tuple(name for name in usable if name not in kept),
        rejected=rejected,
        failed=failed,
        gap_to_mean=outcome.gap_to_mean,
    )
    size = state.parameters.nbytes
    after = State(
        entropy=entropy,
        parameters=parameters,
        aggregate=outcome.vector,
        momenta=momenta,
        history=state.history,
        bytes_up=state.bytes_up + size * len(answered),
        bytes_down=state.bytes_down + size * len(chosen),
    )
    return after, record


def _choose(n: int, n_asked: int, rng: np.random.Generator) -> list[int]:
    return list(range(n)) if n_asked == n else np.sort(rng.choice(n, n_asked, replace=False)).tolist()


def _with_momentum(
    vector: np.ndarray | str, client: str, momenta: dict[str, np.ndarray], beta: float
) -> np.ndarray | str:
    """m = beta * m + (1 - beta) * update, which the client sends instead; m starts as its first update."""
    if beta == 0.0 or isinstance(vector, str):
        return vector
    if client not in momenta:
        momenta[client] = vector
    else:
        b = np.asarray(beta, vector.dtype)
        momenta[client] = b * momenta[client] + (1 - b) * vector
    return momenta[client]


def _attack(
    state: State,
    cohort: Cohort,
    settings: Settings,
    chosen: list[int],
    vectors: dict[int, np.ndarray | str],
    honest: list[int],
) -> None:
    """Put into `vectors` what the attackers among the chosen send."""
    attackers = [k for k in chosen if cohort.clients[k].name in cohort.attacks]
    if not attackers:
        return
    seen = [v for k in honest if not isinstance(v := vectors[k], str)]
    if not seen and any(cohort.forges(k) for k in attackers):
        # no honest client takes part: the attackers compute what they would have sent as honest ones
        message = Broadcast(state.round, state.parameters)
        own = cohort.ask([k for k in attackers if cohort.forges(k)], message, settings.work, state.entropy)
        checked = [checked_vector(u.vector, state.parameters) for u in own if isinstance(u, Update)]
        seen = [v for v in checked if not isinstance(v, str)]
    view = np.stack(seen) if seen else None
    if view is not None:
        view.flags.writeable = False
    for k in attackers:
        name = cohort.clients[k].name
        attack = bind(cohort.attacks[name], n_clients=len(chosen), n_byzantine=len(attackers))
        rng = generator(state.entropy, state.round, ATTACK, k)
        if not cohort.forges(k):
            computed = vectors.get(k)
            if computed is None or isinstance(computed, str):
                continue  # it broke down, or its poisoned rows gave no update: as with any other client
            sent = attack(computed[None, :], rng)
        elif view is None:
            continue
        else:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # an attack may leave the finite numbers
                    sent = attack(view, rng)
            except Exception as error:
                error.add_note(f"in the attack of client {name!r}, round {state.round}")
                raise
        vectors[k] = checked_vector(sent, state.parameters)
