"""The state of a `FedMD` run in a file: what was agreed on, and every student's weights and optimizer."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from fastkd.federated.checkpoint import describing, fingerprint, read_file, stable, write_file
from fastkd.federated.exp_guard import ExpGuard
from fastkd.federated.fedmd_checks import checked_temperature
from fastkd.federated.fedmd_round import Public, Standing
from fastkd.federated.result import DistillationRecord
from fastkd.federated.students import FIXED, NETWORK, Student
from fastkd.models._hyperparameters import real
from fastkd.models._network import Network

__all__ = [
    "packed",
    "read_standing",
    "require_storable",
    "restore_student",
    "settings_of",
    "student_state",
    "write_packed",
]

FORMAT = "fastkd-fedmd/1"
Packed = tuple[dict[str, Any], dict[str, np.ndarray]]
ARRAYS = ("consensus", "rows", "targets", "aggregate")


def require_storable(students: list[Student]) -> None:
    """Refuse a checkpoint of students whose state cannot be written without pickling."""
    for student in students:
        if student.kind != FIXED and not isinstance(student.model, Network):
            raise TypeError(
                f"client {student.name!r}: a checkpoint holds classifiers of fastkd.models, not "
                f"{type(student.model).__name__}; run without checkpoint"
            )


def settings_of(federation: Any) -> dict[str, Any]:
    """What must not change between a checkpoint and the run that goes on from it."""
    rule = federation._aggregation
    own = {c.name: fingerprint(*(np.asarray(a) for a in (c.X, c.y))) for c in federation.clients}
    return {
        "clients": own or dict.fromkeys(federation.names),
        "models": {c.name: _described(c.model) for c in federation.clients},
        "server_model": _described(federation.server_model),
        "public_X": None if federation.public_X is None else fingerprint(federation.public_X),
        "public_y": None if federation.public_y is None else fingerprint(federation.public_y),
        "classes": federation.classes.tolist(),
        "aggregator": repr(rule) if isinstance(rule, ExpGuard) else rule.describe(),
        "attacks": {name: stable(attack) for name, attack in federation.attacks.items()},
        "eval_set": [
            [name, fingerprint(*(np.asarray(a) for a in pair))] for name, pair in federation._eval_sets.items()
        ],
        "privacy": repr(None if federation.privacy is None else federation.privacy.calibrated(federation.rounds)),
        "epochs": list(federation.epochs),
        "temperature": federation.temperature,
        "schedule": None if federation.schedule is None else stable(federation.schedule),
        "availability": stable(here) if callable(here := federation.availability) else here,
        "kd_weight": federation.kd_weight,
        "space": [federation.space, federation.clip_logits],
        "asked": [federation.client_fraction, federation.quorum],
        "public_rows": federation.public_rows,
        "dtype": federation.dtype.name,
    }  # fmt: skip


def _described(model: Any) -> Any:
    if model is None:
        return None
    weights = fingerprint(model.parameters) if hasattr(model, "n_features_in_") and hasattr(model, "parameters") else ""
    return [re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model)), weights]  # another process has other addresses


def packed(state: Standing, students: list[Student], settings: dict[str, Any]) -> Packed:
    """The state of the federation and of its students (the server's among them), which may go on training then."""
    tensors = {name: a for name in ARRAYS if (a := getattr(state, name)) is not None}
    flags = []
    for k, student in enumerate(students):
        of_student, weights = student_state(student)
        flags.append(of_student)
        tensors.update({f"student{k}.{name}": array for name, array in weights.items()})
    plain = {
        f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name not in (*ARRAYS, "history")
    }  # fmt: skip
    plain["entropy"] = str(state.entropy)
    history = [record.to_dict() for record in state.history]
    return {"settings": settings, "state": plain, "history": history, "students": flags}, tensors


def student_state(student: Student) -> tuple[list[int], dict[str, np.ndarray]]:
    """All that a round changes of a student: whether it is trained and fresh, epochs and steps; its arrays."""
    flags = [int(student.trained), int(student.fresh), 0, 0]
    if student.kind != NETWORK or not student.trained:
        return flags, {}
    run = student.model._run
    flags[2:] = [int(run.n_iter), int(run.optimizer.step)]
    arrays = {"parameters": run.parameters, "m": run.optimizer.m, "v": run.optimizer.v}
    return flags, {name: np.array(array) for name, array in arrays.items()}


def restore_student(
    student: Student, flags: list[int], tensors: dict[str, np.ndarray], prefix: str, public_X: Any
) -> None:
    """Give a student the state that `student_state` told; its arrays are those whose names begin with `prefix`."""
    trained, fresh, n_iter, step = flags
    if student.kind != NETWORK or not trained:
        return
    if not student.trained:
        student.initialize(public_X)
    run = student.model._run
    student.model.parameters = tensors[f"{prefix}parameters"]
    for name, array in (("m", run.optimizer.m), ("v", run.optimizer.v)):
        array[...] = _array(tensors, f"{prefix}{name}", array.shape, array.dtype)
    if (run.optimizer.v < 0.0).any():
        raise ValueError(f"{prefix}v has mean squares below 0")
    run.optimizer.step = _count("step", step)
    run.n_iter = student.model.n_iter_ = _count("n_iter", n_iter)
    student.fresh = bool(fresh)


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
        for k, (student, flags) in enumerate(zip(students, header["students"], strict=True)):
            restore_student(student, flags, tensors, f"student{k}.", public.X)
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
