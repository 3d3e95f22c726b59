"""The numba contenders of bench.losses: one pass over the rows, everything of a row kept in registers or cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.common import optional


def softmax_numba() -> Callable[..., Any] | None:
    nb = optional("numba")
    if nb is None:
        return None

    @nb.njit(error_model="numpy")
    def softmax(x, temperature):  # type: ignore[no-untyped-def]
        rows, classes = x.shape
        out = np.empty_like(x)
        scale = np.float32(1) / temperature
        for r in range(rows):
            top = x[r, 0]
            for c in range(1, classes):
                top = max(top, x[r, c])
            total = np.float32(0)
            for c in range(classes):
                out[r, c] = np.exp((x[r, c] - top) * scale)
                total += out[r, c]
            for c in range(classes):
                out[r, c] /= total
        return out

    return softmax


def kd_numba() -> Callable[..., Any] | None:
    nb = optional("numba")
    if nb is None:
        return None

    @nb.njit(error_model="numpy")
    def kd(student, teacher, labels, temperature, weight):  # type: ignore[no-untyped-def]
        rows, classes = student.shape
        grad = np.empty_like(student)
        q_t = np.empty(classes, np.float32)
        hard = np.empty(classes, np.float32)
        scale = np.float32(1) / temperature
        soft_part = weight * temperature / np.float32(rows)
        hard_part = (np.float32(1) - weight) / np.float32(rows)
        loss = 0.0
        for r in range(rows):
            top_s, top_t = student[r, 0], teacher[r, 0]
            for c in range(1, classes):
                top_s, top_t = max(top_s, student[r, c]), max(top_t, teacher[r, c])
            sum_s, sum_t, sum_1 = np.float32(0), np.float32(0), np.float32(0)
            for c in range(classes):
                s = student[r, c] - top_s
                grad[r, c] = np.exp(s * scale)
                hard[c] = np.exp(s)
                q_t[c] = np.exp((teacher[r, c] - top_t) * scale)
                sum_s += grad[r, c]
                sum_1 += hard[c]
                sum_t += q_t[c]
            gap = np.log(sum_s) - np.log(sum_t)
            kl = np.float32(0)
            for c in range(classes):
                q = q_t[c] / sum_t
                difference = ((teacher[r, c] - top_t) - (student[r, c] - top_s)) * scale + gap
                kl += q * difference
                grad[r, c] = soft_part * (grad[r, c] / sum_s - q) + hard_part * hard[c] / sum_1
            y = labels[r]
            grad[r, y] -= hard_part
            cross_entropy = np.log(sum_1) - (student[r, y] - top_s)
            loss += weight * temperature * temperature * kl + (np.float32(1) - weight) * cross_entropy
        return loss / rows, grad

    return kd
