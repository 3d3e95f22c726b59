"""The C++ of the guide compiles without a warning on the model of the guide, and answers as it does."""

import re
import subprocess
from pathlib import Path

import numpy as np

from fastkd.deploy import export_c
from fastkd.models import MLPClassifier

GUIDE = Path(__file__).parents[3] / "docs" / "export.md"


def test_the_loop_in_cpp(tools, tmp_path):
    for compiler in ("gcc", "g++"):
        tools.need(compiler)
    X = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    model = MLPClassifier((32, 16), learning_rate=0.01, random_state=0).fit(X, (X[:, 0] * X[:, 1] > 0).astype(int))
    export_c(model, tmp_path / "student.c", check=False)
    (loop,) = re.findall(r"```cpp\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "main.cpp").write_text(loop)
    subprocess.run(["gcc", "-O2", "-c", "student.c"], cwd=tmp_path, check=True)
    command = ["g++", "-O2", "-Wall", "-Wextra", "-Werror", "main.cpp", "student.o", "-o", "loop"]
    subprocess.run(command, cwd=tmp_path, check=True)
    X[5, 2] = np.nan  # a broken feature: no order
    said = subprocess.run([tmp_path / "loop"], input=X.tobytes(), capture_output=True, check=True).stdout
    wanted = np.delete(model.predict_proba(np.nan_to_num(X))[:, -1], 5)
    np.testing.assert_allclose([float(line) for line in said.split()], wanted, atol=6e-4)
