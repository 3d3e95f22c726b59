"""The state of a `FedMD` run in a file: what was agreed on, and every student's weights and optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastkd.federated.checkpoint import describing, read_file, write_file
from fastkd.federated.fedmd_checks import checked_temperature
from fastkd.federated.fedmd_round import Public, Standing
from fastkd.federated.result import DistillationRecord
from fastkd.federated.students import FIXED, NETWORK, Student
from fastkd.models._hyperparameters import real

__all__ = ["packed", "read_standing", "require_storable", "write_packed"]

FORMAT = "fastkd-fedmd/1"
Packed = tuple[dict[str, Any], dict[str, np.ndarray]]
ARRAYS = ("consensus", "rows", "targets", "aggregate")


def require_storable(students: list[Student]) -> None:
    """Refuse a checkpoint of students whose state cannot be written without pickling."""
    for student in students:
        if student.kind not in (NETWORK, FIXED):
            raise TypeError(
                f"client {student.name!r}: a checkpoint holds classifiers of fastkd.models, not "
                f"{type(student.model).__name__}; run without checkpoint"
            )


def packed(state: Standing, students: list[Student], settings: dict[str, Any]) -> Packed:
    """The state of the federation and of its students (the server's among them), which may go on training then."""
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
    return {"settings": settings, "state": plain, "history": history, "students": flags}, tensors


def write_packed(path: Any, state: Packed) -> None:
    """Write what `packed` gave."""
    write_file(path, FORMAT, *state)


def read_standing(
    path: Any, students: list[Student], settings: dict[str, Any], public: Public, dtype: np.dtype
) -> Standing:
    """The state in a file of the same federation; the students get their weights back."""
    header, tensors = read_file(path, FORMAT, settings)
    with describing(path):
        arrays = _checked_arrays(tensors, public, dtype)
        for k, (student, (trained, fresh, n_iter, step)) in enumerate(zip(students, header["students"], strict=True)):
            if student.kind != NETWORK or not trained:
                continue
            if not student.trained:
                student.initialize(public.X)
            run = student.model._run
            student.model.parameters = tensors[f"student{k}.parameters"]
            for name, array in (("m", run.optimizer.m), ("v", run.optimizer.v)):
                array[...] = _array(tensors, f"student{k}.{name}", array.shape, array.dtype)
            if (run.optimizer.v < 0.0).any():
                raise ValueError(f"student{k}.v has mean squares below 0")
            run.optimizer.step = _count("step", step)
            run.n_iter = student.model.n_iter_ = _count("n_iter", n_iter)
            student.fresh = bool(fresh)
        plain = {**header["state"], "entropy": int(header["state"]["entropy"])}
        for name in ("bytes_up", "bytes_down"):
            _count(name, plain[name])
        for client, number in plain["answers"].items():
            _count(f"answers of {client}", number)
        for client, score in plain["scores"].items():
            real(f"the score of {client}", score, low=0.0)
        checked_temperature(plain["temperature"], "temperature")
        history = [DistillationRecord.from_dict(record) for record in header["history"]]
        return Standing(**plain, history=history, **arrays)


def _checked_arrays(tensors: dict[str, np.ndarray], public: Public, dtype: np.dtype) -> dict[str, Any]:
    """Those of `Standing`, as such a federation writes them."""
    size, n_classes = public.size, len(public.classes)
    consensus = _array(tensors, "consensus", (size, n_classes), np.dtype(np.float64), finite=False)
    rows = targets = aggregate = None
    if (n := public.n_rows) is not None:
        rows = _array(tensors, "rows", (n,), np.dtype(np.int32))
        if rows[0] < 0 or rows[-1] >= size or (np.diff(rows) <= 0).any():
            raise ValueError(f"rows must ascend within 0 .. {size - 1}")
    if "targets" in tensors:
        targets = _array(tensors, "targets", (size if n is None else n, n_classes), dtype)
    if "aggregate" in tensors:
        aggregate = _array(tensors, "aggregate", (size * n_classes,), np.dtype(np.float64), finite=False)
    return {"consensus": consensus, "rows": rows, "targets": targets, "aggregate": aggregate}


def _array(
    tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype, finite: bool = True
) -> np.ndarray:
    array = tensors[name]
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} {array.shape} instead of {dtype} {shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} must be a whole number >= 0; got {value!r}")
    return value
