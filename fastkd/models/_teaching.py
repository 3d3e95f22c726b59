"""From a classifier's arguments (labels, teacher, weights) to its training signal."""

from dataclasses import replace
from typing import Any

import numpy as np

from fastkd.models._inputs import UNLABELLED, check_labels, check_soft_labels, check_teacher_logits, check_weights
from fastkd.models._labels import encode_labels, find_classes
from fastkd.models._signal import Signal


def read_signal(
    owner: str,
    rows: np.ndarray,
    y: Any,
    teacher_logits: Any,
    soft_labels: Any,
    sample_weight: Any,
    classes: Any,
    dtype: np.dtype,
) -> tuple[np.ndarray, Signal, np.ndarray]:
    """(rows, signal, classes) without the rows of weight 0."""
    n = len(rows)
    if teacher_logits is not None and soft_labels is not None:
        raise ValueError("pass teacher_logits or soft_labels, not both")
    logits = None if teacher_logits is None else check_teacher_logits(teacher_logits, n, dtype)
    soft = None if soft_labels is None else check_soft_labels(soft_labels, n, dtype)
    teacher = logits if soft is None else soft
    values = None if y is None else check_labels(y, n)
    if values is None and teacher is None:
        raise ValueError(
            f"{owner} requires y to be passed, but the target y is None; pass y, teacher_logits or soft_labels"
        )
    weights = check_weights(sample_weight, n)
    signal = Signal(n, dtype, soft=soft, teacher_logits=logits, weights=weights)
    if weights is not None and not weights.all():
        keep = weights > 0.0
        rows, signal = np.ascontiguousarray(rows[keep]), signal.rows(keep)
        values = None if values is None else values[keep]
    found = find_classes(values, None if teacher is None else teacher.shape[1], classes)
    if values is not None:
        signal = _with_labels(signal, encode_labels(values, found))
    return rows, signal, found


def _with_labels(signal: Signal, codes: np.ndarray) -> Signal:
    unlabelled = int((codes == UNLABELLED).sum())
    if unlabelled and not signal.has_teacher:
        raise ValueError(
            f"{unlabelled} of {len(codes)} rows have y = -1, no label, and there is no teacher: drop them or pass "
            "teacher_logits or soft_labels; if -1 is a class, pass classes="
        )
    return signal if unlabelled == len(codes) else replace(signal, labels=codes)


def read_labelled(rows: np.ndarray, y: Any, classes: np.ndarray) -> tuple[np.ndarray, Signal]:
    """Rows to judge by, those without a label left out."""
    codes = encode_labels(check_labels(y, len(rows)), classes)
    known = codes != UNLABELLED
    if not known.any():
        raise ValueError("eval_set has no labelled row")
    return np.ascontiguousarray(rows[known]), Signal(int(known.sum()), np.dtype(rows.dtype), codes[known])
