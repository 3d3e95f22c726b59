"""What the tests of exports share: networks of every kind, compilers, and C loaded into this process."""

import ctypes
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastkd.features import Standardizer
from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier, MLPRegressor

SPREADS = np.array([0.002, 0.5, 3.0, 40.0, 1.0, 0.1])
MEANS = np.array([0.0, 100.0, -3.0, 7000.0, 0.3, 0.0])

NETWORKS = {
    "relu": lambda: MLPClassifier((32, 16), random_state=0),
    "tanh": lambda: MLPClassifier((11,), activation="tanh", random_state=1),
    "gelu": lambda: MLPClassifier((40, 9), activation="gelu", random_state=2),
    "identity": lambda: MLPClassifier((5,), activation="identity", random_state=3),
    "linear": lambda: MLPClassifier((), random_state=4),
    "float64": lambda: MLPClassifier((7,), dtype="float64", random_state=5),
    "values": lambda: MLPRegressor((16,), activation="tanh", random_state=6),
    "lstm": lambda: LSTMClassifier(9, random_state=7),
    "lstm_mean": lambda: LSTMClassifier(6, layers=2, pooling="mean", hidden=(5,), random_state=8),
    "lstm_max": lambda: LSTMClassifier(8, pooling="max", hidden=(4,), activation="gelu", random_state=9),
    "cnn": lambda: CNNClassifier((6, 10), hidden=(7,), random_state=10),
    "cnn_mean": lambda: CNNClassifier((5,), kernel_size=4, pooling="mean", random_state=11),
    "cnn_last": lambda: CNNClassifier((4, 4, 3), kernel_size=1, pooling="last", random_state=12),
}


def network(kind, n_features=6, n_outputs=3, steps=7):
    """A network with random weights and biases, behind a scaler of columns that are far from each other."""
    model = NETWORKS[kind]()
    shape = (steps, n_features) if model._takes_windows else n_features
    model.initialize(shape, n_outputs)
    rng = np.random.default_rng(len(kind))
    model.parameters = model.parameters + 0.1 * rng.normal(size=model.n_parameters)
    model.scaler = Standardizer.from_numbers(MEANS[:n_features], SPREADS[:n_features])
    return model


def rows_for(model, n, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, *model._kernel.input_shape))
    return (noise * model.scaler.scale_ + model.scaler.mean_).astype(np.float32)


def need(program):
    """The program, or a skipped test where there is none; with FASTKD_REQUIRE_TOOLS=1 it must be there."""
    if shutil.which(program) is None or sys.platform == "win32":
        if os.environ.get("FASTKD_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{program} must be installed for this run")
        pytest.skip(f"no {program} on this machine")
    return program


def built(folder, name, *flags, cc="gcc"):
    """The C file `name` of a folder as a shared library in this process."""
    library, source, made = (str(folder / f"{name}{end}") for end in (".so", ".c", ".o"))
    subprocess.run([need(cc), *(flags or ("-O2",)), "-fPIC", "-c", source, "-o", made], check=True)
    subprocess.run([cc, "-shared", made, "-o", library], check=True)  # -ffast-math here would round all of Python
    return ctypes.CDLL(library)


def call(function, X, n_outputs):
    """(return codes, outputs) of `int function(const float *row, float *out)` for every row."""
    flat = np.ascontiguousarray(X, np.float32).reshape(len(X), -1)
    out = np.full((len(X), n_outputs), 7.0, np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    codes = [function(row.ctypes.data_as(pointer), p.ctypes.data_as(pointer)) for row, p in zip(flat, out, strict=True)]
    return np.array(codes), out


def classify(function, X):
    flat = np.ascontiguousarray(X, np.float32).reshape(len(X), -1)
    return np.array([function(row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))) for row in flat])


HOSTILE = np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38], np.float32)
EDGES = np.array([0.0, -0.0, 1e-45, -1e-38, 1.0, -1.0, 1e10, -1e20], np.float32)


def pytest_generate_tests(metafunc):
    if "every_kind" in metafunc.fixturenames:
        metafunc.parametrize("every_kind", NETWORKS)


@pytest.fixture(scope="session")
def tools():
    """The functions above, which a test module cannot import."""
    functions = {"network": network, "rows_for": rows_for, "need": need, "built": built, "call": call}
    return SimpleNamespace(**functions, classify=classify, HOSTILE=HOSTILE, EDGES=EDGES)
