"""Up to which features no sum of a network can overflow, whatever their order."""

from __future__ import annotations

import numpy as np

from fastkd.deploy.export.student import ExportError, Student

SUM_LIMIT = 1e37  # far enough below the largest float32, 3.4e38, for rounding
STREAM_STEPS = float(2**31)  # a pooled stream adds up so many steps at most


def _largest(W: np.ndarray, b: np.ndarray, bound: np.ndarray | float) -> np.ndarray:
    """Bound of |x W + b| for |x| <= bound."""
    with np.errstate(over="ignore"):
        inputs = np.broadcast_to(np.asarray(bound, np.float64), W.shape[:1])
        return inputs @ np.abs(W.astype(np.float64)) + np.abs(b.astype(np.float64))


def _holds(student: Student, limit: float) -> bool:
    bound: np.ndarray | float = limit + np.abs(student.mean.astype(np.float64))
    sums = [np.atleast_1d(bound)]
    for W, b in student.body:
        if student.kind == "lstm":
            units = len(b) // 4
            inputs = np.broadcast_to(bound, len(W) - units)
            sums.append(_largest(W, b, np.concatenate([inputs, np.ones(units)])))
            bound = 1.0
        else:
            inputs = np.tile(np.broadcast_to(bound, len(W) // student.kernel_size), student.kernel_size)
            bound = float(_largest(W, b, inputs).max())
            sums.append(np.array([bound * student.steps]))
    if student.kind == "lstm":
        sums.append(np.array([STREAM_STEPS]))
    for k, (W, b) in enumerate(student.layers):
        if k < len(student.heads):
            sums.append(_largest(*student.heads[k], _after(_largest(W, b, bound), student.activation)))
        out = _largest(W, b, bound)
        sums.append(out)
        bound = _after(out, student.activation) if k + 1 < len(student.layers) else out
    return all((s < SUM_LIMIT).all() for s in sums)


def _after(out: np.ndarray, activation: str) -> np.ndarray:
    return np.ones_like(out) if activation == "tanh" else out


def largest_feature(student: Student) -> float:
    """The largest power of two up to which features may reach.

    Raises
    ------
    ExportError
        If even features of 1 could overflow float32.
    """
    for exponent in range(100, -1, -1):
        if _holds(student, 2.0**exponent):
            return 2.0**exponent
    raise ExportError("the weights are so large that a sum overflows float32 for features of 1; train with l2 > 0")
