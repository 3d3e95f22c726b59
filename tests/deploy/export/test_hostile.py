"""Rows of random bits under the sanitizers: FASTKD_HOSTILE_ROWS of them, 20,000 by default."""

import os
import subprocess
from pathlib import Path

import pytest

from fastkd.deploy import FixedPredictor, export_c

ROWS = os.environ.get("FASTKD_HOSTILE_ROWS", "20000")
SANITIZE = ["-fsanitize=undefined,address,float-cast-overflow,float-divide-by-zero", "-fno-sanitize-recover=all"]


@pytest.mark.parametrize("numbers", ["float", "int8", "int16"])
@pytest.mark.parametrize("kind", ["relu", "tanh", "gelu", "identity", "lstm_mean", "cnn"])
def test_no_bit_pattern_gets_through(tools, tmp_path, kind, numbers):
    compiler = tools.need("gcc")
    model = tools.network(kind, steps=3)
    student = model if numbers == "float" else FixedPredictor(model, tools.rows_for(model, 100), weights=numbers)
    export_c(student, tmp_path / "student.c", check=False, vectors=1)
    source = [str(tmp_path / "student.c"), str(Path(__file__).parent / "board" / "hostile.c")]
    command = [compiler, "-std=c99", "-O2", "-I", str(tmp_path), *SANITIZE, *source, "-o", str(tmp_path / "hostile")]
    subprocess.run(command, check=True)
    rows = ROWS if model._takes_windows is False else str(int(ROWS) // 10)
    done = subprocess.run([str(tmp_path / "hostile"), rows], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
