"""Federated distillation: clients with models of any kind learn from each other's predictions on public rows."""

from __future__ import annotations

import functools
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from fastkd._check import as_array, as_positive, as_rng
from fastkd.federated.attacks import bind
from fastkd.federated.checkpoint import CheckpointError, fingerprint
from fastkd.federated.client import Client, checked_clients
from fastkd.federated.exp_guard import ExpGuard
from fastkd.federated.fedmd_checkpoint import packed, read_standing, require_storable, settings_of, write_packed
from fastkd.federated.fedmd_checks import (
    all_classes,
    checked_temperature,
    class_codes,
    each_eval_set,
    require_far,
    require_public,
    require_same_names,
)
from fastkd.federated.fedmd_round import Public, Rounds, Standing, TrainingPlan
from fastkd.federated.in_process import Students
from fastkd.federated.predictions import SPACES
from fastkd.federated.privacy import checked_mechanism
from fastkd.federated.result import DistillationRecord, FederationError, FederationResult, warn_of_failures
from fastkd.federated.robust import _checked_attacks
from fastkd.federated.rules import Aggregation
from fastkd.federated.streams import POISON, generator
from fastkd.federated.students import Student, checked_students
from fastkd.federated.transport import Transport
from fastkd.losses import softmax
from fastkd.models._hyperparameters import integer, real

__all__ = ["FedMD"]


class FedMD:
    """Federated distillation (Li and Wang 2019; with a server model after Lin et al. 2020).

    Nobody sends data or parameters, only predictions on public rows that everybody has. A round: the server sends soft
    labels of the public rows; each client trains on its own rows with hard labels (revisit), learns from the soft
    labels (digest), and sends its new predictions; the server aggregates them, and the server model, if there is one,
    learns from the aggregate and gives the next soft labels. Without one the aggregate itself is what is sent.

    Parameters
    ----------
    clients : iterable of Client, or Transport
        A transport (`fastkd.flower.FlowerClients`) reaches clients on other machines: their rows, models, noise and
        accuracies stay there, `classes` must be given, and attacks and absences are not simulated. Else each has
        a model of its own, which is copied: a classifier of `fastkd.models`, fitted or not; an estimator with
        ``fit`` and ``predict_proba`` (fitted anew each round, the public rows weighted by their soft labels); or
        anything else that `as_model` takes, which predicts and does not learn. Private rows with y = -1 have no label.
    public_X : (n_public, ...) or None
        Rows that everybody has; no labels needed. None for FedDistill (Jeong et al. 2018): clients then send their mean
        prediction for each class, and distill on their own rows what all say of the row's class (there a client leaves
        its own table out; here it is among those aggregated, as with public rows).
    public_y : (n_public,), optional
        Labels of the public rows, -1 for those without: fresh students and the server model train on them, and they
        take part in the digest.
    server_model : model, optional
        A teacher that learns from every consensus and sends its own soft labels. One that is fitted, or that can train
        on `public_y`, teaches from the first round on.
    rounds : int
    temperature : float
        Of the soft labels, in [1e-6, 1e6].
    kd_weight : float
        In [0, 1]: weight of the soft labels against hard ones, wherever a row has both; for estimators that are fitted
        anew, of the public rows against their own. 0: nobody learns from the others.
    aggregator : str, (str, dict), callable or ExpGuard
        As in `RobustFL`, on predictions as vectors (n, rows * n_classes); what it returns is put back on the simplex.
    space : {"probability", "logit"}
        What is sent. A probability cannot exceed 1; a logit can outshout all others, hence `clip_logits`.
    schedule : callable, optional
        round -> temperature, as `TemperatureSchedule`, or -> an object with `temperature` and `restart`; it is called
        once a round. The temperature is that of the answers of the round, which the next one learns from at the same
        temperature (logits at its own). A restart makes the students forget everything and learn anew, from all soft
        labels agreed on so far first.
    privacy : GaussianMechanism, optional
        Noise on what honest clients send, within a budget for each client.
    attacks : mapping of str to attack
        Client -> what it sends instead, given the honest predictions (h, rows, n_classes); those of `attacks`,
        `data_attacks` and `prediction_attacks`.
    callbacks : iterable of callable
        ``callback(record, result)`` after each round, with the result as if the run ended there; true ends it.
    random_state : int, numpy.random.Generator or None
    f, pre : as in `RobustFL`
    public_rows : int or None
        Rows of a fresh random subset of the public set each round; None for all of them.
    revisit_epochs, digest_epochs, initial_epochs : int
        Passes over the private rows and over the public ones, and over the private ones in a client's first round.
    classes : sequence, optional
        All labels; else those of the clients, of `public_y` and of fitted models. Needed where -1 is a class.
    clip_logits : "median", float or None
        In logit space: each row of a client is scaled down to this largest absolute value, after centering; "median"
        is that of the clients' on the row, so that nobody is louder than is usual. None trusts everybody.
    client_fraction : float
        Share of clients asked in a round.
    quorum : int
        Usable answers that a round needs.
    availability : float or callable
        Probability that an asked client is there; or (round, name) -> "answers", "late" (it trains, but its answer
        comes too late to count) or "absent".
    eval_set : (X, y) or mapping of str to (X, y), optional
        For accuracies in the history, over the rows with y other than -1; a mapping gives each client its own.
    checkpoint, checkpoint_every, workers, progress, verbose : as in `RobustFL`
    dtype : {"float32", "float64"}
        Of what is sent.

    Raises
    ------
    TypeError, ValueError
        From the constructor: arguments out of range, models that cannot take part.
    FederationError
        A ValueError from `run`: fewer usable answers than `quorum`, more unusable ones than f, or whatever the server
        model, the aggregator, an attack or the schedule raised (its ``__cause__``). Its `result` has the rounds before,
        and what the answers of the failed one cost in bytes and privacy.

    Notes
    -----
    A client that raises drops out of the round, and of the accuracies if it does so while it is scored; one that sends
    something else than finite predictions of the right shape is at fault, is named in `rejected` and counts against f.
    An answer to another round is not used. After an error the result has the students as they were then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.federated import Client, FedMD
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(700, 4))
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> clients = [Client(f"c{i}", MLPClassifier(hidden=(4 + i,), learning_rate=0.01), X[i * 12 : i * 12 + 12],
    ...                   y[i * 12 : i * 12 + 12]) for i in range(6)]
    >>> result = FedMD(clients, X[100:500], rounds=5, eval_set=(X[500:], y[500:]), random_state=0).run()
    >>> result.history[-1].accuracy > result.history[0].accuracy
    True
    >>> result.consensus.shape, result.bytes_up
    ((400, 2), 96000)
    """

    def __init__(
        self,
        clients: Iterable[Client] | Transport,
        public_X: Any,
        *,
        public_y: Any = None,
        server_model: Any = None,
        rounds: int = 10,
        temperature: float = 3.0,
        kd_weight: float = 0.7,
        aggregator: Any = "mean",
        space: str = "probability",
        schedule: Callable[[int], Any] | None = None,
        privacy: Any = None,
        attacks: Mapping[str, Any] | None = None,
        callbacks: Iterable[Callable[[DistillationRecord, FederationResult], Any]] = (),
        random_state: Any = None,
        f: int = 0,
        pre: Any = None,
        public_rows: int | None = None,
        revisit_epochs: int = 5,
        digest_epochs: int = 5,
        initial_epochs: int = 25,
        classes: Any = None,
        clip_logits: float | str | None = "median",
        client_fraction: float = 1.0,
        quorum: int = 1,
        availability: Any = 1.0,
        eval_set: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        workers: int = 1,
        progress: Callable[[str, int, int], None] | None = None,
        verbose: bool = False,
        dtype: Any = "float32",
    ) -> None:
        for name, value, low in (("rounds", rounds, 1), ("f", f, 0), ("revisit_epochs", revisit_epochs, 0),
                                 ("digest_epochs", digest_epochs, 0), ("initial_epochs", initial_epochs, 0),
                                 ("quorum", quorum, 1), ("checkpoint_every", checkpoint_every, 1)):  # fmt: skip
            integer(name, value, low=low)
        if workers != -1:
            integer("workers", workers, low=1, hint=", or -1 for all cores")
        self.temperature = checked_temperature(temperature, "temperature")
        self.kd_weight = real("kd_weight", kd_weight, low=0.0, high=1.0)
        self.client_fraction = real("client_fraction", client_fraction, low=0.0, high=1.0, low_open=True)
        own = clip_logits is None or clip_logits == "median"
        self.clip_logits = clip_logits if own else as_positive(clip_logits, "clip_logits")
        if space not in SPACES:
            raise ValueError(f"space must be one of {SPACES}; got {space!r}")
        if not callable(availability):
            availability = real("availability", availability, low=0.0, high=1.0)
        self.transport = clients if isinstance(clients, Transport) else None
        self.clients = () if isinstance(clients, Transport) else checked_clients(clients)
        self.server_model = server_model
        self.names = tuple(c.name for c in self.clients) if self.transport is None else tuple(self.transport.names)
        self._n_asked = max(1, round(self.client_fraction * len(self.names)))
        if quorum > self._n_asked:
            raise ValueError(f"quorum={quorum} is more than the clients asked in a round")
        self.public_X = None if public_X is None else as_array(public_X, "public_X")
        self.public_y = None if public_y is None else np.asarray(public_y)
        require_public(self.public_X, self.public_y, server_model, public_rows)
        if self.transport is not None:
            require_far(attacks, availability, classes, eval_set)
        checked_students(self.clients, self.public_X)
        self.rounds, self.aggregator, self.f, self.pre, self.space = rounds, aggregator, f, pre, space
        self.schedule, self.callbacks, self.random_state = schedule, tuple(callbacks), random_state
        self.privacy = checked_mechanism(privacy)
        self.attacks = _checked_attacks(attacks, self.names)
        self.public_rows, self.quorum, self.availability = public_rows, quorum, availability
        self.epochs = (revisit_epochs, digest_epochs, initial_epochs)
        self.classes = all_classes(classes, self.clients, self.public_y, server_model)
        self.eval_set, self._eval_sets = eval_set, each_eval_set(eval_set, self.clients, self.public_X)
        require_same_names(self.clients, public_X, self._eval_sets)
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.workers, self.progress, self.verbose = workers, progress, verbose
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be float32 or float64; got {dtype!r}")
        guarded = isinstance(aggregator, ExpGuard)
        self._aggregation = aggregator if guarded else Aggregation(aggregator, f, pre, workers)
        if isinstance(self._aggregation, Aggregation):
            self._aggregation.require_fits(self._n_asked)

    def run(self) -> FederationResult:
        """Play all rounds, or those that the checkpoint has not seen; see the class."""
        entropy = int(as_rng(self.random_state).integers(2**63))
        resumed = self.checkpoint is not None and os.path.exists(self.checkpoint)
        rounds = self._rounds(entropy)
        everyone = _everyone(rounds)
        settings = {}
        if self.checkpoint is not None:
            require_storable(everyone)
            settings = settings_of(self)
        if resumed:
            state = read_standing(self.checkpoint, everyone, settings, rounds.public, self.dtype)
            if state.entropy != entropy:
                if isinstance(self.random_state, numbers.Integral):
                    raise CheckpointError(f"{self.checkpoint} belongs to a federation with another random_state")
                rounds = self._rounds(state.entropy)  # data that attackers poisoned are poisoned as before
                everyone = _everyone(rounds)
                state = read_standing(self.checkpoint, everyone, settings, rounds.public, self.dtype)
        else:
            try:
                state = rounds.opening(rounds.blank(entropy))
            except Exception as error:
                raise self._failed(rounds, rounds.blank(entropy), error) from error
        self._begin(rounds, state.entropy)
        unwritten = None
        try:
            with rounds.transport.at_work():
                while state.round < self.rounds:
                    if self.progress is not None:
                        self.progress("Federated distillation", state.round, self.rounds)
                    state = self._play(rounds, state)
                    if self.checkpoint is not None:
                        unwritten = packed(state, everyone, settings)
                        if state.round == self.rounds or state.round % self.checkpoint_every == 0:
                            write_packed(self.checkpoint, unwritten)
                            unwritten = None
                    if self._tell(rounds, state):
                        break
        finally:  # whatever ends the run, the rounds that worked are kept
            if unwritten is not None:
                write_packed(self.checkpoint, unwritten)
        warn_of_failures(state.history)
        return self._result(rounds, state)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begin(self, rounds: Rounds, entropy: int) -> None:
        """Tell the transport what every client has to know, so that a message can be answered without memory of it."""
        rounds.transport.begin(
            {
                "kind": "FedMD",
                "federation": fingerprint(np.array([entropy], np.uint64))[:32],
                **asdict(rounds.plan),
                "dtype": self.dtype.name,
                "classes": self.classes.tolist(),
                "public": None if self.public_X is None else fingerprint(self.public_X),
                "public_X": self.public_X,
                "public_y": None if self.public_y is None else class_codes(self.public_y, self.classes),
                "rounds": self.rounds,
                "noisy": self.privacy is not None,
                "usable": rounds.usable,
            }
        )

    def _play(self, rounds: Rounds, state: Standing) -> Standing:
        """The state after one more round; an error keeps the one before, and what the answers cost."""
        try:
            asked = rounds.ask(state)
        except Exception as error:
            raise self._failed(rounds, state, error) from error
        try:
            return rounds.conclude(asked)
        except Exception as error:
            raise self._failed(rounds, asked.state, error) from error

    def _failed(self, rounds: Rounds, state: Standing, error: Exception) -> FederationError:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        failure = FederationError(f"round {state.round}: {kind}{error}")
        failure.result = self._result(rounds, state)
        return failure

    def _step(self, number: int) -> tuple[float, bool]:
        """Temperature and restart of a round."""
        if self.schedule is None:
            return self.temperature, False
        step = self.schedule(number)
        temperature = checked_temperature(getattr(step, "temperature", step), f"the temperature of round {number}")
        return temperature, bool(getattr(step, "restart", False))

    def _rounds(self, entropy: int) -> Rounds:
        plan = TrainingPlan(*self.epochs, self.kd_weight, self.dtype)
        attacks = {name: bind(attack, n_classes=len(self.classes)) for name, attack in self.attacks.items()}
        privacy = None if self.privacy is None else self.privacy.calibrated(self.rounds)
        students = []
        for k, client in enumerate(self.clients):
            X, y = client.X, client.y
            poison = getattr(attacks.get(client.name), "poison", None)
            if poison is not None:
                X, y = poison(as_array(X, "X"), y, generator(entropy, 0, POISON, k))
            try:
                students.append(Student(client.name, client.model, X, y, self.classes, plan, (entropy + k) % 2**32))
            except (TypeError, ValueError) as error:
                raise type(error)(f"client {client.name!r}: {error}") from None
        server = None
        if self.server_model is not None:
            X = None if self.public_y is None else self.public_X
            seed = (entropy + len(self.names)) % 2**32
            server = Student("server", self.server_model, X, self.public_y, self.classes, plan, seed)
        return Rounds(
            transport=self.transport or Students(students, (self.public_X, self.public_y), privacy, self.workers),
            server=server,
            attacks=attacks,
            public=Public(self.public_X, self.public_y, self.classes, self.public_rows),
            plan=plan,
            space=self.space,
            clip=self.clip_logits,
            step=functools.cache(self._step),
            aggregation=self._aggregation,
            privacy=privacy,
            n_asked=self._n_asked,
            quorum=self.quorum,
            availability=self.availability,
            eval_sets=self._eval_sets,
        )

    def _tell(self, rounds: Rounds, state: Standing) -> bool:
        """Print and call back; whether to stop."""
        record = state.history[-1]
        if self.verbose:
            parts = [f"round {record.round + 1:>{len(str(self.rounds))}}/{self.rounds}"]
            parts += [f"accuracy {record.accuracy:.4f}"] if record.accuracy is not None else []
            parts += [f"agreement {record.agreement:.4f}"]
            silent = {what: ", ".join(record[what]) for what in ("late", "rejected", "failed")}
            parts += [f"{what} {names}" for what, names in silent.items() if names]
            print("  ".join(parts), flush=True)
        answers = [callback(record, self._result(rounds, state)) for callback in self.callbacks]
        return any(bool(answer) for answer in answers)

    def _result(self, rounds: Rounds, state: Standing) -> FederationResult:
        trained = tuple(
            replace(client, model=student.released())
            for client, student in zip(self.clients, _students(rounds), strict=True)
        )
        consensus = state.consensus
        if self.space == "logit":
            consensus = np.full_like(state.consensus, np.nan)
            known = ~np.isnan(state.consensus[:, 0])
            consensus[known] = softmax(state.consensus[known])
        privacy = {}
        if rounds.privacy is not None:
            privacy = {name: rounds.privacy.spent(state.answers.get(name, 0)) for name in self.names}
        server = None if rounds.server is None else rounds.server.released()
        return FederationResult(state.history, consensus, trained, server, state.bytes_up, state.bytes_down, privacy)


def _students(rounds: Rounds) -> list[Student]:
    """Those in this process."""
    return rounds.transport.students if isinstance(rounds.transport, Students) else []


def _everyone(rounds: Rounds) -> list[Student]:
    return [*_students(rounds), *([] if rounds.server is None else [rounds.server])]
