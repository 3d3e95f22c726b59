"""A client on its node: everything that a round needs is in the question, in the client, or in the node's memory."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng
from fastkd.federated.checkpoint import fingerprint
from fastkd.federated.client import Client
from fastkd.federated.fedmd_checkpoint import restore_student, student_state
from fastkd.federated.fedmd_round import TrainingPlan
from fastkd.federated.local import LocalWork, Worker, has_weights, rows_of
from fastkd.federated.messages import Assignment, Broadcast, Failure, Predictions, Update
from fastkd.federated.privacy import GaussianMechanism
from fastkd.federated.streams import LOCAL, generator
from fastkd.federated.students import Student
from fastkd.flower.clients import NO_PUBLIC_ROWS
from fastkd.flower.memory import Memory

__all__ = ["Node"]

KEPT = 2  # states of a student: the one after its last answer and the one before, should the server ask again


class Node:
    """Answers one question."""

    def __init__(
        self, client: Client, public_X: Any, privacy: GaussianMechanism | None, memory: Memory, random_state: int | None
    ) -> None:
        if not isinstance(client, Client):
            raise TypeError(f"a client is wanted; the factory made {type(client).__name__}")
        self.client, self.public_X, self.privacy, self.memory = client, public_X, privacy, memory
        self.random_state = random_state

    def answer(
        self, question: Assignment | Broadcast, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Predictions | Update | Failure:
        """What the server gets to read."""
        if isinstance(question, Assignment):
            return self._predictions(question, plain, arrays)
        return self._update(question, plain)

    # -- FedMD --------------------------------------------------------------------------------------------------------

    def _predictions(
        self, task: Assignment, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Predictions | Failure:
        name, number = self.client.name, task.round
        noisy = bool(plain.get("noisy"))
        if noisy != (self.privacy is not None):
            what = "adds no noise, and the server expects it" if noisy else "adds noise, and the server does not know"
            return Failure(name, number, f"this node {what}: give both the same privacy=")
        classes = np.asarray(plain["classes"])
        self._enter(str(plain["federation"]))
        public = self._public(plain, arrays, classes)
        if public is None:
            return Failure(name, number, NO_PUBLIC_ROWS)
        entropy = self._entropy()
        plan = TrainingPlan(
            int(plain["revisit_epochs"]),
            int(plain["digest_epochs"]),
            int(plain["initial_epochs"]),
            float(plain["kd_weight"]),
            np.dtype(str(plain["dtype"])),
        )
        k = int(plain["number"])
        student = Student(name, self.client.model, self.client.X, self.client.y, classes, plan, (entropy + k) % 2**32)
        self._recall(student, number, public[0])
        mechanism = None if self.privacy is None else self.privacy.calibrated(int(plain["rounds"]))
        if mechanism is not None and not self._pay(mechanism):
            return Failure(name, number, mechanism.silence())
        found = student.answer(task, public, generator(entropy, number, LOCAL, k))
        if isinstance(found, Failure):
            return found
        self._remember(student, number + 1)
        if mechanism is None:
            return found
        noise = np.random.default_rng(secrets.randbits(128))  # the server must not know it
        return replace(found, values=mechanism.release(found.values, task.space, noise), count=0)

    def _enter(self, federation: str) -> None:
        """Forget the students of other federations; not what answers to them have cost."""
        known = self.memory.get("federation")
        told = np.frombuffer(federation.encode(), np.uint8)
        if known is None or not np.array_equal(known["id"], told):
            for name in self.memory.names():
                if name.startswith("student-"):
                    self.memory.drop(name)
            self.memory.put("federation", {"id": told})

    def _public(
        self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray], classes: np.ndarray
    ) -> tuple[Any, Any] | None:
        """The public rows and labels that the server means; None if they are not here."""
        wanted = plain.get("public")
        if wanted is None:
            return None, None
        if "public_X" in arrays:
            sent = {name: arrays[name] for name in ("public_X", "public_y") if name in arrays}
            if fingerprint(sent["public_X"]) != wanted:
                raise ValueError("the public rows that came are not those that the server means")
            if self.public_X is None:
                self.memory.put("public", sent)
        kept = {} if "public_X" in arrays else self.memory.get("public") or {}
        X = arrays.get("public_X", kept.get("public_X"))
        if self.public_X is not None:
            X = as_array(self.public_X, "public_X")
            if fingerprint(X) != wanted:
                raise ValueError("the public rows on this node are not those of the server (SHA-256)")
        if X is None or (X is kept.get("public_X") and fingerprint(X) != wanted):
            return None
        codes = arrays.get("public_y", kept.get("public_y"))
        if codes is None:
            return X, None
        labels = classes[codes]
        return X, labels if classes.dtype.kind not in "if" else np.where(codes < 0, -1, labels)

    def _entropy(self) -> int:
        """The seed of this node's random numbers."""
        if self.random_state is not None:
            return int(as_rng(self.random_state).integers(2**63))
        kept = self.memory.get("entropy")
        if kept is None:
            kept = {"entropy": np.array([secrets.randbits(63)], np.int64)}
            self.memory.put("entropy", kept)
        return int(kept["entropy"][0])

    def _pay(self, mechanism: GaussianMechanism) -> bool:
        """Count one more answer, before it is given, if the budget allows it: zCDP costs add up over federations."""
        kept = self.memory.get("budget")
        before = 0.0 if kept is None else float(kept["rho"][0])
        after = before + mechanism.rho
        if not mechanism.allows(math.ceil(after / mechanism.rho - 1e-9)):
            return False
        self.memory.put("budget", {"rho": np.array([after])})
        return True

    def _rounds(self) -> list[int]:
        found = (re.fullmatch(r"student-(\d+)", name) for name in self.memory.names())
        return sorted(int(m[1]) for m in found if m)

    def _recall(self, student: Student, number: int, public_X: Any) -> None:
        """Give the student the newest state from before the round; a server that was resumed asks a round twice."""
        before = [r for r in self._rounds() if r <= number]
        if before:
            kept = self.memory.get(f"student-{before[-1]}")
            assert kept is not None
            restore_student(student, kept.pop("flags").tolist(), kept, "", public_X)

    def _remember(self, student: Student, number: int) -> None:
        flags, arrays = student_state(student)
        for later in self._rounds():
            if later > number:
                self.memory.drop(f"student-{later}")
        self.memory.put(f"student-{number}", {"flags": np.array(flags, np.int64), **arrays})
        for old in self._rounds()[:-KEPT]:
            self.memory.drop(f"student-{old}")

    # -- RobustFL -----------------------------------------------------------------------------------------------------

    def _update(self, message: Broadcast, plain: Mapping[str, Any]) -> Update | Failure:
        model = self.client.model
        if model is None or not hasattr(model, "gradient"):
            raise TypeError("RobustFL on a node needs a client with a model of the server's architecture")
        X, y = rows_of(self.client)
        if not has_weights(model):
            model.initialize(X.shape[1] if X.ndim == 2 else X.shape[1:], int(plain["n_outputs"]))
        if plain.get("classes") is not None and hasattr(model, "classes_"):
            model.classes_ = np.asarray(plain["classes"])
        size = plain.get("batch_size")
        work = LocalWork(None if size is None else int(size), int(plain["local_epochs"]), float(plain["learning_rate"]))
        rng = generator(self._entropy(), message.round, LOCAL, int(plain["number"]))
        return Worker(self.client, model, X, y).answer(message, work, rng, None)
