"""What the demo says of its student in C: bytes, time of a row, agreement with the student in Python."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["Exported", "measure_export"]

LOOP = """\
#include "student.h"
int run(const float *x, int *classes, int rows);
int run(const float *x, int *classes, int rows)
{
    for (int k = 0; k < rows; ++k) { classes[k] = student_classify(x + (STUDENT_INPUTS * k)); }
    return 0;
}
"""
ROWS, ROUNDS = 1000, 20


@dataclass(frozen=True)
class Exported:
    """Of one C file: constants in bytes, and, with a compiler, ns a row and the share of rows with Python's class."""

    name: str
    constant_bytes: int
    ns: float | None
    agreement: float | None


def measure_export(student: Any, X: Any, calibration: Any) -> tuple[Exported, Exported]:
    """The student in float32 and with int8 weights; X are raw test rows, `calibration` raw training rows."""
    from fastkd.deploy import FixedPredictor

    fixed = FixedPredictor(student, calibration, weights="int8")
    return _measure("float32", student, student, X), _measure("int8 weights", fixed, student, X)


def _measure(name: str, model: Any, student: Any, X: Any) -> Exported:
    from fastkd.deploy import ExportError, export_c
    from fastkd.deploy.export.compiling import find_compiler

    rows = np.ascontiguousarray(X, np.float32)
    compiler = find_compiler(None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        report = export_c(model, folder / "student.c", check=False)
        if compiler is None or not compiler.native:
            return Exported(name, report.sizes["rodata_bytes"], None, getattr(model, "agreement_", None))
        (folder / "run.c").write_text(LOOP)
        flags = ["-std=c99", "-O2", "-shared", "-fPIC", "student.c", "run.c", "-o", "student.so"]
        done = subprocess.run([*compiler.command, *flags], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise ExportError(f"{compiler} does not make a shared library: {done.stderr[-500:]}")
        run = ctypes.CDLL(str(folder / "student.so")).run
        run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        classes = np.empty(len(rows), np.int32)
        run(rows.ctypes.data, classes.ctypes.data, len(rows))
        timed, n = np.resize(rows, (ROWS, rows.shape[1])), np.empty(ROWS, np.int32)
        seconds = []
        for _ in range(ROUNDS):
            began = perf_counter()
            run(timed.ctypes.data, n.ctypes.data, ROWS)
            seconds.append(perf_counter() - began)
        agreement = float(np.mean(classes == student.predict_proba(rows).argmax(axis=1)))
    return Exported(name, report.sizes["rodata_bytes"], min(seconds) / ROWS * 1e9, agreement)
