"""The state of a `FedMD` run in a file: what was agreed on, and every student's weights and optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastkd.federated.checkpoint import describing, read_file, write_file
from fastkd.federated.fedmd_round import Standing
from fastkd.federated.result import DistillationRecord
from fastkd.federated.students import FIXED, NETWORK, Student

__all__ = ["read_standing", "require_storable", "write_standing"]

FORMAT = "fastkd-fedmd/1"
ARRAYS = ("consensus", "rows", "targets", "aggregate")


def require_storable(students: list[Student]) -> None:
    """Refuse a checkpoint of students whose state cannot be written without pickling."""
    for student in students:
        if student.kind not in (NETWORK, FIXED):
            raise TypeError(
                f"client {student.name!r}: a checkpoint holds classifiers of fastkd.models, not "
                f"{type(student.model).__name__}; run without checkpoint"
            )


def write_standing(path: Any, state: Standing, students: list[Student], settings: dict[str, Any]) -> None:
    """Write the state of the federation and of its students (the server's among them)."""
    tensors = {name: a for name in ARRAYS if (a := getattr(state, name)) is not None}
    flags = []
    for k, student in enumerate(students):
        flags.append([student.trained, student.fresh, 0, 0])
        if student.kind == NETWORK and student.trained:
            run = student.model._run
            flags[-1][2:] = [int(run.n_iter), int(run.optimizer.step)]
            for name, array in (("parameters", run.parameters), ("m", run.optimizer.m), ("v", run.optimizer.v)):
                tensors[f"student{k}.{name}"] = np.array(array)
    plain = {
        f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name not in (*ARRAYS, "history")
    }  # fmt: skip
    plain["entropy"] = str(state.entropy)
    history = [record.to_dict() for record in state.history]
    write_file(path, FORMAT, {"settings": settings, "state": plain, "history": history, "students": flags}, tensors)


def read_standing(path: Any, students: list[Student], settings: dict[str, Any], public_X: Any) -> Standing:
    """The state in a file of the same federation; the students get their weights back."""
    header, tensors = read_file(path, FORMAT, settings)
    with describing(path):
        for k, (student, (trained, fresh, n_iter, step)) in enumerate(zip(students, header["students"], strict=True)):
            if student.kind != NETWORK or not trained:
                continue
            if not student.trained:
                student.initialize(public_X)
            run = student.model._run
            student.model.parameters = tensors[f"student{k}.parameters"]
            run.optimizer.m[...] = tensors[f"student{k}.m"]
            run.optimizer.v[...] = tensors[f"student{k}.v"]
            run.optimizer.step = step
            run.n_iter = student.model.n_iter_ = n_iter
            student.fresh = fresh
        plain = {**header["state"], "entropy": int(header["state"]["entropy"])}
        history = [DistillationRecord.from_dict(record) for record in header["history"]]
        return Standing(**plain, history=history, **{name: tensors.get(name) for name in ARRAYS})  # type: ignore[arg-type]
