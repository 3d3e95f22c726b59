"""One round of a robust federation: choose, broadcast, compute, attack, aggregate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd.federated.attacks import bind
from fastkd.federated.checkpoint import State
from fastkd.federated.messages import Broadcast, Failure, Fault, Update, checked_vector
from fastkd.federated.result import RoundRecord
from fastkd.federated.rules import Aggregation
from fastkd.federated.streams import ATTACK, MIXING, SAMPLING, generator
from fastkd.federated.transport import Transport

__all__ = ["Settings", "play_round"]


@dataclass(frozen=True, eq=False)
class Settings:
    """What stays the same in all rounds."""

    attacks: Mapping[str, Any]
    aggregation: Aggregation
    learning_rate: float
    momentum: float
    n_asked: int

    def forges(self, name: str) -> bool:
        """Whether a client sends what it likes, instead of what it computed (on true or on poisoned rows)."""
        attack = self.attacks.get(name)
        return attack is not None and not hasattr(attack, "poison")


def play_round(state: State, transport: Transport, settings: Settings) -> tuple[State, RoundRecord]:
    """The state after one more round, with a record that does not know the accuracy yet; `state` stays as it is."""
    t, entropy, names = state.round, state.entropy, transport.names
    chosen = _choose(len(names), settings.n_asked, generator(entropy, t, SAMPLING))
    message = Broadcast(t, state.parameters)
    message.parameters.flags.writeable = False
    computing = [k for k in chosen if not settings.forges(names[k])]
    answers = dict(zip(computing, transport.ask(computing, message, state), strict=True))
    failed = {names[k]: a.reason for k, a in answers.items() if isinstance(a, Failure)}
    updates = {k: a for k, a in answers.items() if isinstance(a, Update)}

    momenta = dict(state.momenta)
    vectors: dict[int, np.ndarray | str] = {
        k: _with_momentum(checked_vector(update.vector, state.parameters), names[k], momenta, settings.momentum)
        for k, update in updates.items()
    }
    vectors.update({k: a.reason for k, a in answers.items() if isinstance(a, Fault)})
    honest = [k for k in updates if names[k] not in settings.attacks]
    losses = [updates[k].loss for k in honest if math.isfinite(updates[k].loss)]
    _attack(state, transport, settings, chosen, vectors, honest)

    answered = [k for k in chosen if k in vectors]
    rejected = {names[k]: why for k in answered if isinstance(why := vectors[k], str)}
    if not answered:
        raise ValueError(f"no client answered ({'; '.join(f'{name}: {why}' for name, why in failed.items())})")
    settings.aggregation.check_rejected(len(answered), rejected)
    usable = {names[k]: v for k in answered if isinstance(v := vectors[k], np.ndarray)}
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
        participants=tuple(names[k] for k in chosen),
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
    transport: Transport,
    settings: Settings,
    chosen: list[int],
    vectors: dict[int, np.ndarray | str],
    honest: list[int],
) -> None:
    """Put into `vectors` what the attackers among the chosen send."""
    names = transport.names
    attackers = [k for k in chosen if names[k] in settings.attacks]
    if not attackers:
        return
    seen = [v for k in honest if not isinstance(v := vectors[k], str)]
    if not seen and any(settings.forges(names[k]) for k in attackers):
        # no honest client takes part: the attackers compute what they would have sent as honest ones
        message = Broadcast(state.round, state.parameters)
        own = transport.ask([k for k in attackers if settings.forges(names[k])], message, state)
        checked = [checked_vector(u.vector, state.parameters) for u in own if isinstance(u, Update)]
        seen = [v for v in checked if not isinstance(v, str)]
    view = np.stack(seen) if seen else None
    if view is not None:
        view.flags.writeable = False
    for k in attackers:
        name = names[k]
        attack = bind(settings.attacks[name], n_clients=len(chosen), n_byzantine=len(attackers))
        rng = generator(state.entropy, state.round, ATTACK, k)
        if not settings.forges(name):
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
