"""The clients of a federation in this process."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from fastkd.federated.local import LocalWork, Worker
from fastkd.federated.messages import Assignment, Broadcast, Failure, Predictions, Update
from fastkd.federated.privacy import GaussianMechanism
from fastkd.federated.streams import LOCAL, NOISE, generator
from fastkd.federated.students import Student
from fastkd.federated.transport import InProcess

__all__ = ["Cohort", "Students"]


class Students(InProcess):
    """Clients of `FedMD`, with their models and the public rows."""

    def __init__(
        self, students: Sequence[Student], public: tuple[Any, Any], privacy: GaussianMechanism | None, workers: int
    ) -> None:
        super().__init__([student.name for student in students], workers)
        self.students, self.public, self.privacy = list(students), public, privacy

    def ask(self, chosen: Sequence[int], message: Assignment, state: Any) -> list[Predictions | Failure]:
        """Predictions after training, in place, with noise if there is a mechanism."""

        def one(k: int) -> Predictions | Failure:
            student, privacy = self.students[k], self.privacy
            if privacy is not None and not privacy.allows(state.answers.get(student.name, 0) + 1):
                return Failure(student.name, message.round, privacy.silence())
            answer = student.answer(message, self.public, generator(state.entropy, message.round, LOCAL, k))
            if privacy is None or isinstance(answer, Failure):
                return answer
            noise = generator(state.entropy, message.round, NOISE, k)
            return replace(answer, values=privacy.release(answer.values, message.space, noise), count=0)

        return self._each(one, chosen)

    def scores(self, eval_sets: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """Of the students that have learned something, attackers among them; one that breaks down has none."""
        found = {}
        for student in self.students:
            if student.trained and student.name in eval_sets:
                with suppress(Exception):
                    found[student.name] = student.score(*eval_sets[student.name])
        return found


class Cohort(InProcess):
    """Clients of `RobustFL`, each with a model to itself while it works."""

    def __init__(self, workers: Sequence[Worker], work: LocalWork, server: Any, n_threads: int) -> None:
        super().__init__([worker.name for worker in workers], n_threads)
        self.workers, self.work = list(workers), work
        self._models: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.n_threads):
            self._models.put(copy.deepcopy(server))

    def ask(self, chosen: Sequence[int], message: Broadcast, state: Any) -> list[Update | Failure]:
        """Updates of the parameters in the message."""

        def one(k: int) -> Update | Failure:
            lent = self._models.get()
            try:
                rng = generator(state.entropy, message.round, LOCAL, k)
                return self.workers[k].answer(message, self.work, rng, lent)
            finally:
                self._models.put(lent)

        return self._each(one, chosen)

    def scores(self, eval_sets: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """None: all have the same model, the server's."""
        return {}
