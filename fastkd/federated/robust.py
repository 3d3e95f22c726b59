"""Federated training that stands up to faulty and hostile clients."""

from __future__ import annotations

import copy
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng
from fastkd.federated.attacks import bind
from fastkd.federated.checkpoint import CheckpointError, State, fingerprint, read_checkpoint, stable, write_checkpoint
from fastkd.federated.client import Client, checked_clients
from fastkd.federated.in_process import Cohort
from fastkd.federated.local import LocalWork, Worker, has_weights, own_model, rows_of, sizes_of
from fastkd.federated.messages import Failure, Fault, checked_vector
from fastkd.federated.result import FederationError, FederationResult, RoundRecord, warn_of_failures
from fastkd.federated.rounds import Settings, play_round
from fastkd.federated.rules import Aggregation
from fastkd.federated.streams import POISON, generator
from fastkd.federated.transport import Transport
from fastkd.models._base import Estimator
from fastkd.models._hyperparameters import integer, real

__all__ = ["RobustFL"]


class RobustFL:
    """Robust federated training: broadcast, local gradients, attacks, a robust rule, a step of the server.

    Every round each client i computes an update u_i at the global parameters theta (a gradient, or after local epochs
    theta minus its own parameters), and the server takes the step theta <- theta - learning_rate * rule(u_1 .. u_n)
    (Blanchard et al. 2017; Yin et al. 2018). Clients count alike, whatever number of rows they claim to have.

    Parameters
    ----------
    model : model
        The global model, with `parameters` (flat, settable) and ``gradient(X, y) -> (loss, flat gradient)``. An
        estimator without weights is initialized for the features of the clients and the classes 0 .. largest label.
        It is copied, never changed; state beyond `parameters` is not federated.
    clients : iterable of Client, or Transport
        A transport (`fastkd.flower.FlowerClients`) reaches clients on other machines; then `model` must have weights,
        and attacks are not simulated. A client whose model is None computes with a copy of the global one; a model of
        its own must have parameters of the same shape, and is copied as well.
    aggregator : str, (str, dict) or callable
        Name of a rule of `fastkd.aggregate`, or a name with options such as ``("centered_clipping", {"radius": 1.0})``,
        or any callable from updates (n, d) to one (d,). Centered clipping is centered on the aggregate before.
    f : int
        Number of faulty clients per round to defend against. It goes to the rule, and to nearest-neighbor mixing.
    pre : str, (str, dict), callable or None
        Before the rule: "nearest_neighbor_mixing" or "bucketing" (buckets of 2, drawn anew each round), or a callable
        from (n, d) to (n', d).
    rounds : int
    learning_rate : float or None
        Of the server; None is 0.1 for gradients and 1 after local epochs.
    momentum : float
        In [0, 1). Clients send m_i <- momentum * m_i + (1 - momentum) * u_i instead of u_i (Karimireddy, He and Jaggi
        2021): it averages the noise away under which attacks hide.
    batch_size : int or None
        Rows of a gradient, drawn at random each round; None for all.
    local_epochs, local_learning_rate : int, float
        With local epochs > 0 clients train by gradient descent on batches and send the change of their parameters.
    client_fraction : float
        Share of clients, in (0, 1], asked in a round; at least one. f then counts the faulty ones among those asked.
    attacks : mapping of str to attack
        Name of a client -> what it does instead of its duty; see `fastkd.federated.attacks`.
    eval_set : (X, y), optional
        ``model.score`` on it becomes the accuracy of the history, every `eval_every` rounds and after the last.
    callbacks : iterable of callable
        ``callback(record, model)`` after every round; a true answer ends the run. The model is a copy.
    checkpoint : path, optional
        File that is written every `checkpoint_every` rounds and when the run ends, be it by an error, and from which
        `run` goes on if it exists. An interrupted run ends with the same bits as one that was not. More `rounds` than
        before go on from the end.
    workers : int
        Threads for the clients and the rule, -1 for one a core; the result does not depend on it.
    random_state : int, numpy.random.Generator or None
    progress : callable, optional
        ``progress(title, done, rounds)`` before every round.
    verbose : bool
        Print a line a round.

    Raises
    ------
    TypeError, ValueError
        From the constructor: arguments out of range, unknown names, models that do not fit.
    FederationError
        A ValueError from `run`: more updates than f are unusable, the rule's bound on n and f is not met, no client
        answers, or the parameters leave the finite numbers. Its `result` is the state before that round.

    Notes
    -----
    A client that raises is a dropout: the round goes on without it, the history names it in `failed`, and f stays as it
    is, because it may have been an honest one. A client that sends something other than a finite vector of the right
    shape is at fault: it is named in `rejected`, its update is not used, and the rule defends against one less.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.federated import Client, RobustFL, SignFlip, partition
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(800, 3))
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> parts = partition(y[:600], 8, random_state=0)
    >>> clients = [Client(f"c{i}", None, X[rows], y[rows]) for i, rows in enumerate(parts)]
    >>> attacks = {"c0": SignFlip(), "c1": SignFlip()}
    >>> model = MLPClassifier(hidden=(), random_state=0)
    >>> for rule in ("mean", "krum"):
    ...     federation = RobustFL(model, clients, aggregator=rule, f=2, rounds=40, learning_rate=1.0, attacks=attacks,
    ...                           eval_set=(X[600:], y[600:]), random_state=0)
    ...     print(rule, federation.run().history[-1].accuracy > 0.9)
    mean False
    krum True
    """

    def __init__(
        self,
        model: Any,
        clients: Iterable[Client] | Transport,
        *,
        aggregator: Any = "trimmed_mean",
        f: int = 0,
        pre: Any = None,
        rounds: int = 100,
        learning_rate: float | None = None,
        momentum: float = 0.0,
        batch_size: int | None = None,
        local_epochs: int = 0,
        local_learning_rate: float = 0.1,
        client_fraction: float = 1.0,
        attacks: Mapping[str, Any] | None = None,
        eval_set: tuple[Any, Any] | None = None,
        eval_every: int = 1,
        callbacks: Iterable[Callable[[RoundRecord, Any], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        workers: int = 1,
        random_state: Any = None,
        progress: Callable[[str, int, int], None] | None = None,
        verbose: bool = False,
    ) -> None:
        for name, value, low in (("f", f, 0), ("rounds", rounds, 1), ("local_epochs", local_epochs, 0),
                                 ("eval_every", eval_every, 1), ("checkpoint_every", checkpoint_every, 1)):  # fmt: skip
            integer(name, value, low=low)
        if batch_size is not None:
            integer("batch_size", batch_size, low=1, hint=", or None for all rows")
        if workers != -1:
            integer("workers", workers, low=1, hint=", or -1 for all cores")
        if learning_rate is None:
            learning_rate = 1.0 if local_epochs else 0.1
        self.learning_rate = real("learning_rate", learning_rate, low=0.0, low_open=True)
        self.local_learning_rate = real("local_learning_rate", local_learning_rate, low=0.0, low_open=True)
        self.momentum = real("momentum", momentum, low=0.0, high=1.0, high_open=True)
        self.client_fraction = real("client_fraction", client_fraction, low=0.0, high=1.0, low_open=True)
        self.transport = clients if isinstance(clients, Transport) else None
        self.model, self.clients = model, () if isinstance(clients, Transport) else checked_clients(clients)
        self.names = tuple(c.name for c in self.clients) if self.transport is None else tuple(self.transport.names)
        self.aggregator, self.f, self.pre = aggregator, f, pre
        self.rounds, self.batch_size, self.local_epochs = rounds, batch_size, local_epochs
        self.attacks = _checked_attacks(attacks, self.names)
        self.eval_set, self.eval_every = _checked_eval_set(eval_set, model), eval_every
        self.callbacks = tuple(callbacks)
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.workers, self.random_state = workers, random_state
        self.progress, self.verbose = progress, verbose
        self._aggregation = Aggregation(aggregator, f, pre, workers)
        self._n_asked = max(1, round(self.client_fraction * len(self.names)))
        self._aggregation.require_fits(self._n_asked)
        if not hasattr(model, "gradient"):
            raise TypeError(f"model needs `parameters` and `gradient(X, y)`; got {type(model).__name__}")
        if self.transport is not None:
            if self.attacks:
                raise ValueError("attacks are simulated on clients in this process; far ones need no simulation")
            if not has_weights(model):
                raise ValueError("the rows of far clients are not known here: call model.initialize(...) first")

    def run(self) -> FederationResult:
        """Train all rounds, or those that the checkpoint has not seen; see the class."""
        entropy = int(as_rng(self.random_state).integers(2**63))
        server = self._server_model(entropy)
        settings = self._settings(server)
        resumed = self.checkpoint is not None and os.path.exists(self.checkpoint)
        state = read_checkpoint(self.checkpoint, settings) if resumed else State(entropy, np.array(server.parameters))
        if isinstance(self.random_state, numbers.Integral) and state.entropy != entropy:
            raise CheckpointError(f"{self.checkpoint} belongs to a federation with another random_state")
        work = LocalWork(self.batch_size, self.local_epochs, self.local_learning_rate)
        attacks, transport = self._attacks_and_transport(server, work, state.entropy)
        self._begin(transport, server, work, state.entropy)
        fixed = Settings(attacks, self._aggregation, self.learning_rate, self.momentum, self._n_asked)
        written = state.round
        try:
            with transport.at_work():
                while state.round < self.rounds:
                    if self.progress is not None:
                        self.progress("Federated training", state.round, self.rounds)
                    try:
                        after, record = play_round(state, transport, fixed)
                    except ValueError as error:
                        failure = FederationError(f"round {state.round}: {error}")
                        failure.result = self._result(server, state)
                        raise failure from error
                    record = replace(record, accuracy=self._accuracy(server, after.parameters, record.round))
                    state = replace(after, history=[*state.history, record])
                    last = state.round == self.rounds
                    if self.checkpoint is not None and (last or state.round % self.checkpoint_every == 0):
                        write_checkpoint(self.checkpoint, state, settings)
                        written = state.round
                    if self._tell(record, server):
                        break
        finally:  # whatever ends the run, the rounds that worked are kept
            if self.checkpoint is not None and state.round > written:
                write_checkpoint(self.checkpoint, state, settings)
        warn_of_failures(state.history)
        return self._result(server, state)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _server_model(self, entropy: int) -> Any:
        """A copy of the model, with weights."""
        model = copy.deepcopy(self.model)
        if has_weights(model):
            return model
        if not hasattr(model, "initialize"):
            raise TypeError(f"model has no `parameters` yet, and no `initialize`; got {type(model).__name__}")
        shapes = {as_array(client.X, "X").shape[1:] for client in self.clients}
        if len(shapes) != 1 or () in shapes:
            raise ValueError(f"the clients' X must have the same features; got row shapes {sorted(shapes)}")
        shape = shapes.pop()
        seeded = getattr(model, "random_state", 0) is None
        if seeded:  # so that the federation's random_state decides everything
            model.random_state = entropy % 2**32
        model.initialize(shape[0] if len(shape) == 1 else shape, self._n_outputs(model))
        if seeded:
            model.random_state = None
        return model

    def _n_outputs(self, model: Any) -> int:
        ys = [rows_of(client)[1] for client in self.clients]
        if getattr(model, "_estimator_type", "classifier") == "regressor":
            return 1 if ys[0].ndim == 1 else ys[0].shape[1]
        labels = np.concatenate([y.ravel() for y in ys])
        if labels.dtype.kind not in "biuf" or (labels != np.floor(labels)).any() or labels.max() < 0:
            raise ValueError("labels must be integers from 0 for a model without weights; call model.initialize first")
        return int(labels.max()) + 1

    def _attacks_and_transport(self, server: Any, work: LocalWork, entropy: int) -> tuple[dict[str, Any], Transport]:
        """The clients at work; attackers that poison their data have done so."""
        if self.transport is not None:
            return {}, self.transport
        classes = getattr(server, "classes_", None)
        known = {} if classes is None else {"n_classes": len(classes)}
        attacks = {name: bind(attack, **known) for name, attack in self.attacks.items()}
        workers = []
        for k, client in enumerate(self.clients):
            X, y = rows_of(client)
            poison = getattr(attacks.get(client.name), "poison", None)
            if poison is not None:
                X, y = poison(X, y, generator(entropy, 0, POISON, k))
            workers.append(Worker(client, own_model(client, server), X, y))
        return attacks, Cohort(workers, work, server, self.workers)

    def _begin(self, transport: Transport, server: Any, work: LocalWork, entropy: int) -> None:
        """Tell the transport what every client has to know, so that a message can be answered without memory of it."""
        parameters = np.asarray(server.parameters)

        def usable(message: Any, answer: Any) -> str | None:
            if isinstance(answer, (Failure, Fault)):
                return answer.reason
            found = checked_vector(answer.vector, parameters)
            return found if isinstance(found, str) else None

        transport.begin(
            {
                "kind": "RobustFL",
                "federation": fingerprint(np.array([entropy], np.uint64))[:32],
                **asdict(work),
                "dtype": parameters.dtype.name,
                "n_outputs": sizes_of(server)[1] if isinstance(server, Estimator) else None,
                "classes": None if not hasattr(server, "classes_") else np.asarray(server.classes_).tolist(),
                "usable": usable,
            }
        )

    def _settings(self, server: Any) -> dict[str, Any]:
        """What must not change between a checkpoint and the run that goes on from it."""
        own = {c.name: [fingerprint(*rows_of(c)), _kind(c.model)] for c in self.clients}
        return {
            "model": [_kind(server), fingerprint(server.parameters) if has_weights(self.model) else ""],
            "clients": own or dict.fromkeys(self.names),
            "attacks": {name: _describe(attack) for name, attack in self.attacks.items()},
            "eval_set": None if self.eval_set is None else fingerprint(*(np.asarray(a) for a in self.eval_set)),
            **self._aggregation.describe(),
            "learning_rate": [self.learning_rate, self.local_learning_rate],
            "momentum": self.momentum,
            "batch_size": self.batch_size,
            "local_epochs": self.local_epochs,
            "client_fraction": self.client_fraction,
            "eval_every": self.eval_every,
        }

    def _accuracy(self, server: Any, parameters: np.ndarray, number: int) -> float | None:
        server.parameters = parameters
        due = (number + 1) % self.eval_every == 0 or number + 1 == self.rounds
        return None if self.eval_set is None or not due else float(server.score(*self.eval_set))

    def _tell(self, record: RoundRecord, server: Any) -> bool:
        """Print and call back; whether to stop."""
        if self.verbose:
            parts = [f"round {record.round + 1:>{len(str(self.rounds))}}/{self.rounds}"]
            parts += [f"loss {record.loss:.5g}"] if record.loss is not None else []
            parts += [f"accuracy {record.accuracy:.4f}"] if record.accuracy is not None else []
            parts += [f"{what} {', '.join(found)}" for what in ("rejected", "failed") if (found := record[what])]
            print("  ".join(parts), flush=True)
        answers = [callback(record, copy.deepcopy(server)) for callback in self.callbacks]
        return any(bool(answer) for answer in answers)

    def _result(self, server: Any, state: State) -> FederationResult:
        model = copy.deepcopy(server)
        model.parameters = state.parameters
        return FederationResult(state.history, state.aggregate, self.clients, model, state.bytes_up, state.bytes_down)


def _checked_attacks(attacks: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any]:
    found = dict(attacks or {})
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise ValueError(f"attacks names clients that do not exist: {unknown}")
    for name, attack in found.items():
        if not callable(attack) or isinstance(attack, type):
            raise TypeError(f"the attack of {name!r} must be callable as attack(honest_updates, rng); got {attack!r}")
    return found


def _checked_eval_set(eval_set: Any, model: Any) -> tuple[Any, Any] | None:
    if eval_set is None:
        return None
    if not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2:
        raise ValueError("eval_set must be a pair (X, y)")
    if not hasattr(model, "score"):
        raise TypeError(f"eval_set needs a model with score(X, y); {type(model).__name__} has none")
    return eval_set[0], eval_set[1]


def _kind(model: Any) -> str:
    """The class of a model and its hyperparameters; its weights come from the server."""
    if model is None:
        return ""
    parameters = model.get_params() if hasattr(model, "get_params") else {}
    return f"{type(model).__name__} {stable(parameters)}"


def _describe(attack: Any) -> str:
    """Class and settings of an attack."""
    return stable(attack)
