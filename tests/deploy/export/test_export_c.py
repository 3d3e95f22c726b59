"""Students in C: against the predictor and the float64 definition, under hard flags, with hostile rows."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fastkd.deploy import ExportError, FixedPredictor, Predictor, export_c
from fastkd.distill import BeYourOwnTeacher
from fastkd.features import Standardizer
from fastkd.losses import softmax
from fastkd.models import LSTMClassifier, MLPClassifier
from fastkd.reference.networks import mlp_forward
from fastkd.reference.sequences import sequence_forward

FLAGS = {
    "debug": ["-std=c99", "-O0"],
    "native": ["-O3", "-march=native"],
    "fast-math": ["-O3", "-march=native", "-ffast-math"],
    "narrow": ["-O2", "-DSTUDENT_LOOPS=1"],
    "small": ["-Os"],
}


def defined(model, X):
    """Outputs by the definition, in float64."""
    rows = (X.astype(np.float64) - model.scaler.mean_) / model.scaler.scale_
    parameters = model.parameters.astype(np.float64)
    if model._takes_windows:
        return sequence_forward(model._kernel, parameters, rows)
    return mlp_forward(parameters, model._kernel.sizes, model._kernel.activation, rows)


@pytest.mark.parametrize("flags", FLAGS)
def test_c_answers_as_the_definition(tools, tmp_path, every_kind, flags):
    model = tools.network(every_kind)
    export_c(model, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student", *FLAGS[flags])
    X = tools.rows_for(model, 200)
    Z = defined(model, X)
    if every_kind == "values":
        codes, y = tools.call(c.student_value, X, 3)
        np.testing.assert_allclose(y, Z, atol=4e-6 * np.abs(Z).max())
        assert not codes.any()
        return
    codes, p = tools.call(c.student_predict, X, 3)
    assert not codes.any()
    np.testing.assert_allclose(p, softmax(Z), atol=2e-6)
    np.testing.assert_allclose(p, Predictor(model)(X.astype(model.dtype)), atol=2e-5)
    top = np.sort(Z, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-4
    assert clear.sum() > 100
    np.testing.assert_array_equal(tools.classify(c.student_classify, X)[clear], Z.argmax(axis=1)[clear])


@pytest.mark.parametrize("flags", ["debug", "fast-math", "narrow", "small"])
@pytest.mark.parametrize("kind", ["relu", "tanh", "gelu", "values", "lstm_max", "cnn", "cnn_mean"])
def test_what_is_no_number_gives_nan_under_every_flag(tools, tmp_path, kind, flags):
    model = tools.network(kind)
    export_c(model, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student", *FLAGS[flags])
    function = c.student_value if kind == "values" else c.student_predict
    rng = np.random.default_rng(0)
    X = tools.rows_for(model, 600)
    flat = X.reshape(len(X), -1)
    for row in flat[:300]:  # each bad number in random places, the last 300 rows stay good
        row[rng.integers(0, len(row), rng.integers(1, 4))] = rng.choice(tools.HOSTILE)
    for row in flat[300:450]:
        row[rng.integers(0, len(row))] = rng.choice(tools.EDGES)
    codes, out = tools.call(function, X, 3)
    np.testing.assert_array_equal(codes, np.r_[np.ones(300), np.zeros(300)])
    assert (out[:300].view(np.uint32) == 0x7FC00000).all()
    assert np.isfinite(out[300:]).all()
    if kind != "values":
        assert (tools.classify(c.student_classify, X[:300]) == -1).all()
        np.testing.assert_allclose(out[300:].sum(axis=1), 1.0, atol=1e-5)


def test_an_lstm_goes_step_by_step(tools, tmp_path):
    model = tools.network("lstm_mean")
    export_c(model, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student")
    state = ctypes.create_string_buffer(4096)
    stream, rows = model.predictor().stream(), tools.rows_for(model, 3).reshape(-1, 6)
    pointer = ctypes.POINTER(ctypes.c_float)
    p = np.empty(3, np.float32)
    c.student_reset(state)
    for k, row in enumerate(rows):  # 21 steps, thrice the window
        bad = row.copy()
        bad[k % 6] = tools.HOSTILE[k % len(tools.HOSTILE)]
        assert c.student_push(state, bad.ctypes.data_as(pointer), p.ctypes.data_as(pointer)) == 1
        assert np.isnan(p).all()
        assert c.student_push(state, row.ctypes.data_as(pointer), p.ctypes.data_as(pointer)) == 0
        np.testing.assert_allclose(p, stream.push(row), atol=2e-5)


def test_exits_leave_where_python_leaves(tools, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
    net = BeYourOwnTeacher(MLPClassifier((8, 8, 8), learning_rate=0.01, epochs=10), random_state=0).fit(X, y)
    export_c(net, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student")
    rows = X.astype(np.float32)
    _, p = tools.call(c.student_predict, rows, 3)
    np.testing.assert_allclose(p, net.predict_proba(rows), atol=1e-5)
    c.student_predict_early.argtypes = [ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p]
    _, exits = net.predict_early(rows, 0.8)
    out = np.empty(3, np.float32)
    taken = []
    for k, row in enumerate(rows):
        taken.append(c.student_predict_early(row.ctypes.data, 0.8, out.ctypes.data))
        np.testing.assert_allclose(out, net.exits_[taken[-1]].predict_proba(rows[k : k + 1])[0], atol=1e-5)
    assert len(set(exits)) == 3
    assert np.mean(np.array(taken) != exits) < 0.01  # a confidence of 0.8 within rounding
    assert c.student_predict_early(rows[0].ctypes.data, float("nan"), out.ctypes.data) == -1
    net.predict_with = "ensemble"
    with pytest.raises(ExportError, match="ensemble"):
        export_c(net, tmp_path / "other.c", check=False)


@pytest.mark.parametrize("kind", ["relu", "gelu", "values", "lstm_mean", "cnn"])
def test_the_checks_of_an_export_pass(tools, tmp_path, kind):
    tools.need("gcc")
    report = export_c(tools.network(kind), tmp_path / "student.c", check=True, cc="gcc", vectors=8)
    assert {"-O0", "LOOPS=0", "LOOPS=1", "LOOPS=2", "sanitizers", "C++17"} <= set(report.checks)
    assert report.sizes["static_ram_bytes"] == 0
    assert report.error < 2e-6
    assert all((tmp_path / f"student{end}").exists() for end in (".c", ".h", "_test.c"))


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_standard_c_gives_the_same_bits_with_every_compiler(tools, tmp_path, every_kind, cc):
    tools.need(cc)
    report = export_c(tools.network(every_kind), tmp_path / "student.c", strict=True, check=False, vectors=40)
    assert report.error == "bitwise"
    for optimize in ("-O0", "-O3"):
        program = tmp_path / "a.out"
        source = [str(tmp_path / "student.c"), str(tmp_path / "student_test.c")]
        subprocess.run([cc, "-std=c99", optimize, "-march=native", *source, "-o", str(program)], check=True)
        done = subprocess.run([program], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_wrong_bit_in_a_weight_is_found_and_nothing_is_written(tools, tmp_path, monkeypatch):
    tools.need("gcc")
    from fastkd.deploy.export import c as module

    original = module.source

    def off(*arguments):
        text = original(*arguments)
        at = text.index("static const float student_B0")
        return text[:at] + text[at:].replace("0.", "1.", 1)

    monkeypatch.setattr(module, "source", off)
    with pytest.raises(ExportError, match="read back"):
        export_c(tools.network("relu"), tmp_path / "student.c")
    monkeypatch.setattr(module, "source", lambda *a: original(*a).replace("+= v * w[1]", "+= v * w[0]"))
    with pytest.raises(ExportError, match="LOOPS=1"):
        export_c(tools.network("relu"), tmp_path / "student.c")
    monkeypatch.setattr(module, "source", lambda *a: original(*a).replace("bad |=", "bad &="))
    with pytest.raises(ExportError, match="fails"):
        export_c(tools.network("relu"), tmp_path / "student.c")
    assert list(tmp_path.iterdir()) == []


def test_old_files_stay_if_an_export_fails(tools, tmp_path):
    export_c(tools.network("relu"), tmp_path / "student.c", check=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ExportError):
        export_c(tools.network("tanh"), tmp_path / "student.c", cc="no-such-compiler")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_several_students_in_one_program(tools, tmp_path):
    tools.need("gcc")
    for name, kind in (("first", "relu"), ("second", "gelu"), ("third", "lstm")):
        export_c(tools.network(kind), tmp_path / f"{name}.c", check=False)
    everything = "".join(f'#include "{name}.c"\n' for name in ("first", "second", "third"))
    (tmp_path / "all.c").write_text(everything + "int main(void) { return 0; }\n")  # one unit: not even statics collide
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "all.c"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("kind", ["relu", "int8"])
def test_the_name_is_the_prefix_and_the_path_the_files(tools, tmp_path, kind):
    tools.need("gcc")
    model = tools.network("relu")
    student = FixedPredictor(model, tools.rows_for(model, 100)) if kind == "int8" else model
    report = export_c(student, tmp_path / "of-2.c", name="signal", vectors=5, check=True, cc="gcc")
    files = ["of-2.c", "of-2.h", "of-2_test.c"]
    assert sorted(report.files) == sorted(str(tmp_path / file) for file in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert "int signal_classify(" in (tmp_path / "of-2.h").read_text()
    with pytest.raises(ExportError, match="stem"):
        export_c(student, tmp_path / "of-2.c", check=False)
    with pytest.raises(ValueError, match="stem"):
        export_c(student, tmp_path / '"; x.c', name="signal", check=False)


def test_a_compiler_that_never_ends_is_an_error(tools, tmp_path, monkeypatch):
    from fastkd.deploy.export import compiling

    def late(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    tools.need("gcc")
    monkeypatch.setattr(compiling.subprocess, "run", late)
    with pytest.raises(ExportError, match="not done after"):
        export_c(tools.network("relu"), tmp_path / "student.c", cc="gcc")
    assert list(tmp_path.iterdir()) == []


def test_names_from_data_cannot_leave_their_comment(tools, tmp_path):
    import pandas as pd

    tools.need("gcc")
    names = ["*/ int evil; /*", "a\nb", '\\" ??/', "$x @y", "é"]
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 5)), columns=names)
    y = np.where(X.iloc[:, 0] > 0, "*/ up ??/", "down\\")
    model = MLPClassifier((4,), epochs=1, random_state=0).fit(X, y)
    export_c(model, tmp_path / "student.c", check=True, vectors=4)
    assert not hasattr(tools.built(tmp_path, "student"), "evil")


def test_the_first_layer_keeps_the_digits_of_prices(tmp_path):
    model = MLPClassifier((8,), random_state=0).initialize(2, 2)
    model.scaler = Standardizer.from_numbers([60000.1, 1.0], [3.0, 1e-3])
    report = export_c(model, tmp_path / "student.c", check=False)
    assert report.error < 1e-6


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"name": "int"}, ExportError, "identifier"),
        ({"name": "a-b"}, ExportError, "identifier"),
        ({"check": "maybe"}, ValueError, "check"),
        ({"check": 1}, ValueError, "check must be"),
        ({"check": np.array([True])}, ValueError, "check must be"),
        ({"check": False, "cc": "gcc"}, ValueError, "check=False"),
        ({"vectors": 0}, ValueError, "at least 1"),
        ({"vectors": np.zeros((3, 5))}, ValueError, r"\(n, 6\)"),
        ({"vectors": np.full((3, 6), np.nan)}, ValueError, "finite"),
        ({"vectors": np.full((3, 6), 3e38)}, ValueError, "limit"),
        ({"cc": "no-such-compiler"}, ExportError, "no-such-compiler"),
    ],
)
def test_wrong_arguments_are_named(tools, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        export_c(tools.network("relu"), tmp_path / "student.c", **change)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_student_is_named(tools, tmp_path):
    with pytest.raises(TypeError, match="got int"):
        export_c(3, tmp_path / "student.c")
    with pytest.raises(ValueError, match="no weights"):
        export_c(LSTMClassifier(4), tmp_path / "student.c")
    with pytest.raises(ValueError, match=r"end in \.c"):
        export_c(tools.network("relu"), tmp_path / "student.cpp")
    with pytest.raises(FileNotFoundError):
        export_c(tools.network("relu"), tmp_path / "nowhere" / "student.c")


def test_weights_that_overflow_are_an_error(tmp_path):
    model = MLPClassifier((4, 4), random_state=0).initialize(2, 2)
    model.parameters = np.full(model.n_parameters, 1e20)
    with pytest.raises(ExportError, match="overflow"):
        export_c(model, tmp_path / "student.c", check=False)
    model.scaler = Standardizer.from_numbers([0.0, 0.0], [1e-30, 1.0])
    with pytest.raises(ExportError, match="overflow float32"):
        export_c(model, tmp_path / "student.c", check=False)


def test_a_cross_compiler_is_measured(tools, tmp_path):
    tools.need("arm-none-eabi-gcc")
    cc = "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
    report = export_c(tools.network("relu"), tmp_path / "student.c", cc=cc)
    assert report.sizes["static_ram_bytes"] == 0
    assert 2000 < report.sizes["text_and_rodata_bytes"] < 12000
    assert Path(next(iter(report.files))).read_text().startswith("/* student.c")
