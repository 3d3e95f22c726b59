"""One round of `FedMD`: assign, train, answer, attack, aggregate, teach the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastkd.federated.attacks import bind
from fastkd.federated.client import labeled
from fastkd.federated.exp_guard import ExpGuard
from fastkd.federated.messages import Assignment, Failure, Fault, Predictions
from fastkd.federated.predictions import checked_predictions, fill_unknown, in_range, quieten, settle
from fastkd.federated.privacy import GaussianMechanism
from fastkd.federated.result import DistillationRecord
from fastkd.federated.rules import Aggregation
from fastkd.federated.streams import ABSENCE, ATTACK, MIXING, ROWS, SAMPLING, SERVER, generator
from fastkd.federated.students import Student
from fastkd.federated.transport import Transport

__all__ = ["Public", "Rounds", "Standing", "TrainingPlan"]

ANSWERS, LATE, ABSENT = "answers", "late", "absent"


@dataclass(frozen=True)
class TrainingPlan:
    """What every client does in a round."""

    revisit_epochs: int
    digest_epochs: int
    initial_epochs: int
    kd_weight: float
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class Public:
    """The public rows and their labels (or neither), the classes, and how many rows a round uses (None: all)."""

    X: Any
    y: np.ndarray | None
    classes: np.ndarray
    n_rows: int | None

    @property
    def size(self) -> int:
        """Rows of a whole table of predictions; without public rows one for each class."""
        return len(self.classes) if self.X is None else len(self.X)

    def draw(self, entropy: int, number: int) -> np.ndarray | None:
        """The rows of a round, ascending; None for all."""
        if self.n_rows is None:
            return None
        rows = generator(entropy, number, ROWS).choice(self.size, self.n_rows, replace=False)
        return np.sort(rows).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Standing:
    """All that a round hands on to the next, beside the students' weights.

    `targets` are what the next round begins with, on `rows` and at `temperature`; `consensus` is the whole public
    table in the space of the federation, NaN where nothing is known.
    """

    entropy: int
    consensus: np.ndarray
    rows: np.ndarray | None = None
    targets: np.ndarray | None = None
    temperature: float = 1.0
    aggregate: np.ndarray | None = None
    scores: dict[str, float] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    history: list[DistillationRecord] = field(default_factory=list)
    bytes_up: int = 0
    bytes_down: int = 0

    @property
    def round(self) -> int:
        """The round to come."""
        return len(self.history)


@dataclass(frozen=True, eq=False)
class Answered:
    """A round whose answers have come: the state has what they cost, which holds even if the round then fails."""

    state: Standing
    task: Assignment
    chosen: list[int]
    behavior: dict[int, str]
    answers: dict[int, Predictions | Fault]
    failed: dict[str, str]


@dataclass(frozen=True, eq=False)
class Rounds:
    """What stays the same in all rounds."""

    transport: Transport
    server: Student | None
    attacks: dict[str, Any]
    public: Public
    plan: TrainingPlan
    space: str
    clip: float | str | None
    step: Callable[[int], tuple[float, bool]]  # round -> temperature, restart
    aggregation: Aggregation | ExpGuard
    privacy: GaussianMechanism | None
    n_asked: int
    quorum: int
    availability: Any
    eval_sets: dict[str, tuple[Any, Any]]

    @property
    def names(self) -> Sequence[str]:
        """Of the clients, by number."""
        return self.transport.names

    def ask(self, state: Standing) -> Answered:
        """The first half of a round: the clients train, in place, and answer."""
        t, entropy = state.round, state.entropy
        n = len(self.names)
        chosen = list(range(n))
        if self.n_asked < n:
            chosen = np.sort(generator(entropy, t, SAMPLING).choice(n, self.n_asked, replace=False)).tolist()
        behavior = {k: self._behavior(entropy, t, k) for k in chosen}
        task = self._assignment(state)
        reached = [k for k in chosen if behavior[k] != ABSENT]
        computing = [k for k in reached if not self._forges(k)]
        came = dict(zip(computing, self.transport.ask(computing, task, state), strict=True))
        failed = {self.names[k]: a.reason for k, a in came.items() if isinstance(a, Failure)}
        answers = {k: a for k, a in came.items() if not isinstance(a, Failure)}
        spent = dict(state.answers)
        for k in answers:
            spent[self.names[k]] = spent.get(self.names[k], 0) + 1
        paid = replace(
            state,
            answers=spent,
            bytes_up=state.bytes_up + sum(_nbytes(getattr(a, "values", None)) for a in answers.values()),
            bytes_down=state.bytes_down + len(reached) * task.nbytes,
        )
        return Answered(paid, task, chosen, behavior, answers, failed)

    def conclude(self, asked: Answered) -> Standing:
        """The second half: check, attack, aggregate, teach the server; the state after the round."""
        state, task, chosen, behavior, failed = asked.state, asked.task, asked.chosen, asked.behavior, asked.failed
        t = state.round
        in_time = {k: a for k, a in asked.answers.items() if behavior[k] == ANSWERS}
        shape = self._shape(task)
        tables = {k: self._checked(a, task, shape) for k, a in in_time.items()}
        attackers = [k for k in chosen if self._forges(k) and behavior[k] == ANSWERS]
        forged = self._forge(state, attackers, tables, chosen)
        tables.update({k: self._check(values, shape) for k, values in forged.items()})

        tables = {k: tables[k] for k in sorted(tables)}
        names = [self.names[k] for k in tables]
        rejected = {name: why for name, why in zip(names, tables.values()) if isinstance(why, str)}
        usable = {name: v for name, v in zip(names, tables.values()) if not isinstance(v, str)}
        if len(usable) < self.quorum:
            silent = "; ".join(f"{name}: {why}" for name, why in {**failed, **rejected}.items()) or "the rest is absent"
            raise ValueError(f"{len(usable)} usable answers, quorum={self.quorum} are needed ({silent})")
        stacked = fill_unknown(np.stack(list(usable.values())), self.space)
        if self.space == "logit":
            stacked = quieten(stacked, self.clip)
        outcome = self._aggregate(state, stacked, list(usable), rejected, len(names))
        said = settle(outcome.vector.reshape(shape), self.space)

        consensus = state.consensus.copy()
        consensus[slice(None) if task.answer_rows is None else task.answer_rows] = said
        after = replace(
            state,
            consensus=consensus,
            rows=task.answer_rows,
            temperature=task.answer_temperature,
            aggregate=outcome.vector if task.answer_rows is None else None,  # a center for the same rows only
            scores=outcome.scores,
            bytes_up=state.bytes_up + sum(_nbytes(v) for v in forged.values()),
        )
        targets = self._teach_server(after, in_range(said, self.plan.dtype))
        accuracies = self.transport.scores(self.eval_sets)
        honest = [accuracies[name] for name in accuracies if name not in self.attacks]
        best = said.argmax(axis=1)
        record = DistillationRecord(
            round=t,
            temperature=task.answer_temperature,
            restart=task.restart,
            accuracy=float(np.mean(honest)) if honest else None,
            accuracies_before=state.accuracies,
            accuracies=accuracies,
            server_accuracy=self._server_accuracy(),
            consensus_accuracy=self._consensus_accuracy(task.answer_rows, best),
            agreement=float(np.mean(stacked.argmax(axis=2) == best)),
            participants=tuple(self.names[k] for k in chosen),
            absent=tuple(self.names[k] for k in chosen if behavior[k] == ABSENT),
            late=tuple(self.names[k] for k in chosen if behavior[k] == LATE),
            selected=outcome.selected,
            excluded=None if outcome.selected is None else tuple(n for n in usable if n not in outcome.selected),
            rejected=rejected,
            failed=failed,
            weights=outcome.weights,
            gap_to_mean=outcome.gap_to_mean,
        )
        return replace(after, targets=targets, accuracies=accuracies, history=[*state.history, record])

    def blank(self, entropy: int) -> Standing:
        """The state in which nobody has said anything."""
        return Standing(entropy, np.full((self.public.size, len(self.public.classes)), np.nan))

    def opening(self, blank: Standing) -> Standing:
        """The state before the first round: a server model that knows something has said it."""
        entropy, (temperature, _) = blank.entropy, self.step(0)
        state = replace(blank, rows=self.public.draw(entropy, 0), temperature=temperature)
        if self.server is not None:
            if not self.server.trained and self.public.y is not None:
                start = Assignment(-1, self.space, temperature, None, None, None, temperature)
                self.server.train(start, (self.public.X, None), generator(entropy, 0, SERVER))
            if self.server.trained:
                state = replace(state, targets=self._server_says(state))
        return replace(state, accuracies=self.transport.scores(self.eval_sets))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _assignment(self, state: Standing) -> Assignment:
        t = state.round
        temperature, restart = self.step(t)
        rows, targets = state.rows, state.targets
        if restart and rows is not None and targets is not None:  # learning anew takes all that is known
            if self.server is not None and self.server.trained:
                rows, targets = None, self._server_says(replace(state, rows=None))
            else:
                rows = np.flatnonzero(~np.isnan(state.consensus[:, 0])).astype(np.int32)
                targets = in_range(state.consensus[rows], self.plan.dtype)
        # probabilities are learned from at the temperature at which they were said
        learned_at = temperature if self.space == "logit" else state.temperature
        answer_rows = self.public.draw(state.entropy, t + 1)
        return Assignment(t, self.space, learned_at, rows, targets, answer_rows, temperature, restart)

    def _behavior(self, entropy: int, t: int, k: int) -> str:
        if callable(self.availability):
            found = self.availability(t, self.names[k])
            if found not in (ANSWERS, LATE, ABSENT):
                raise ValueError(f"availability must return {ANSWERS!r}, {LATE!r} or {ABSENT!r}; got {found!r}")
            return found
        return ABSENT if generator(entropy, t, ABSENCE, k).random() >= self.availability else ANSWERS

    def _forges(self, k: int) -> bool:
        attack = self.attacks.get(self.names[k])
        return attack is not None and not hasattr(attack, "poison")

    def usable(self, task: Assignment, answer: Any) -> str | None:
        """Why an answer cannot be used; None if it can. For transports, which need not wait for others then."""
        if isinstance(answer, Failure):
            return answer.reason
        found = self._checked(answer, task, self._shape(task))
        return found if isinstance(found, str) else None

    def _shape(self, task: Assignment) -> tuple[int, int]:
        n = self.public.size if task.answer_rows is None else len(task.answer_rows)
        return n, len(self.public.classes)

    def _checked(self, answer: Predictions | Fault, task: Assignment, shape: tuple[int, int]) -> np.ndarray | str:
        if isinstance(answer, Fault):
            return answer.reason
        if answer.round != task.round:
            return f"an answer to round {answer.round}"
        return self._check(answer.values, shape)

    def _check(self, values: Any, shape: tuple[int, int]) -> np.ndarray | str:
        noisy = self.privacy is not None
        found = checked_predictions(values, shape, self.space, noisy, gaps=self.public.X is None)
        if self.privacy is None or isinstance(found, str):
            return found
        neutral = 1.0 / shape[1] if self.space == "probability" else 0.0
        return neutral + np.clip(found - neutral, -self.privacy.bound(), self.privacy.bound())

    def _forge(
        self, state: Standing, attackers: list[int], tables: dict[int, np.ndarray | str], chosen: list[int]
    ) -> dict[int, Any]:
        """What the attackers send, who see all honest predictions of the round."""
        seen = [v for k, v in tables.items() if not isinstance(v, str) and self.names[k] not in self.attacks]
        if not attackers or not seen:
            return {}
        view = in_range(fill_unknown(np.stack(seen), self.space), self.plan.dtype)
        view.flags.writeable = False
        n_hostile = sum(self.names[k] in self.attacks for k in chosen)
        sent = {}
        for k in attackers:
            name = self.names[k]
            attack = bind(self.attacks[name], n_clients=len(chosen), n_byzantine=n_hostile, space=self.space)
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # an attack may leave the finite numbers
                    sent[k] = attack(view, generator(state.entropy, state.round, ATTACK, k))
            except Exception as error:
                error.add_note(f"in the attack of client {name!r}, round {state.round}")
                raise
        return sent

    def _aggregate(
        self, state: Standing, stacked: np.ndarray, names: list[str], rejected: dict[str, str], n_answers: int
    ) -> _Outcome:
        flat = stacked.reshape(len(stacked), -1)
        if isinstance(self.aggregation, ExpGuard):
            if 2 * len(rejected) >= n_answers:
                raise ValueError(f"{len(rejected)} of {n_answers} answers are unusable, fewer than half may be")
            vector, weights, scores = self.aggregation(flat, names, state.scores)
            with np.errstate(over="ignore"):
                gap = float(np.linalg.norm(vector - flat.mean(axis=0)))
            return _Outcome(vector, None, dict(zip(names, weights.tolist())), scores, gap)
        self.aggregation.check_rejected(n_answers, rejected)
        rng = generator(state.entropy, state.round, MIXING)
        outcome = self.aggregation(flat, len(rejected), state.aggregate, rng)
        kept = None if outcome.selected is None else tuple(names[i] for i in sorted(outcome.selected))
        return _Outcome(outcome.vector, kept, {}, state.scores, outcome.gap_to_mean)

    def _teach_server(self, after: Standing, said: np.ndarray) -> np.ndarray:
        """The targets of the next round: what the server says after learning from the consensus, or the latter."""
        if self.server is None:
            return said
        task = Assignment(
            after.round, self.space, after.temperature, after.rows, said, after.rows, after.temperature
        )  # fmt: skip
        self.server.train(task, (self.public.X, None), generator(after.entropy, after.round + 1, SERVER))
        return self._server_says(after) if self.server.trained else said

    def _server_says(self, state: Standing) -> np.ndarray:
        task = Assignment(0, self.space, state.temperature, None, None, state.rows, state.temperature)
        assert self.server is not None
        return self.server.say(task, self.public.X)

    def _server_accuracy(self) -> float | None:
        if self.server is None or not self.server.trained or "" not in self.eval_sets:
            return None
        return self.server.score(*self.eval_sets[""])

    def _consensus_accuracy(self, rows: np.ndarray | None, best: np.ndarray) -> float | None:
        if self.public.y is None:
            return None
        truth = self.public.y if rows is None else self.public.y[rows]
        known = labeled(truth, self.public.classes)
        return float((self.public.classes[best] == truth)[known].mean()) if known.any() else None


@dataclass(frozen=True, eq=False)
class _Outcome:
    vector: np.ndarray
    selected: tuple[str, ...] | None
    weights: dict[str, float]
    scores: dict[str, float]
    gap_to_mean: float


def _nbytes(values: Any) -> int:
    return int(getattr(values, "nbytes", 0))
