"""fastkd export, from a model file to files that the report names."""

import json

import numpy as np
import pytest

from fastkd.cli import main
from fastkd.models import MLPClassifier


@pytest.fixture
def student(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 4))
    MLPClassifier((8,), epochs=2, random_state=0).fit(X, (X[:, 0] > 0).astype(int)).save(tmp_path / "s.safetensors")
    np.save(tmp_path / "rows.npy", X)
    np.savetxt(tmp_path / "rows.csv", X, delimiter=",", header="a,b,c,d", comments="")
    return tmp_path / "s.safetensors"


@pytest.mark.parametrize(
    ("to", "files", "more"),
    [
        ("c", ["s.c", "s.h", "s_test.c"], []),
        ("c", ["s.c", "s.h", "s_test.c"], ["--strict"]),
        ("c-fixed", ["s.c", "s.h", "s_test.c"], ["--calibrate", "rows.npy", "--weights", "int16"]),
        ("c-fixed", ["s.c", "s.h", "s_test.c"], ["--calibrate", "rows.csv", "--tune", "2"]),
        ("verilog", ["s.v", "s_tb.v"], ["--calibrate", "rows.csv"]),
        ("onnx", ["s.onnx"], []),
    ],
)
def test_every_target(student, monkeypatch, capsys, to, files, more):
    monkeypatch.chdir(student.parent)
    assert main(["export", "s.safetensors", "--to", to, "--no-check", "--json", "-", *more]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sorted(report["files"]) == sorted(files)
    for file, size in report["files"].items():
        assert (student.parent / file).stat().st_size == size
    assert report["target"] == to


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "c-fixed"], "--calibrate"),
        (["--to", "onnx", "--strict"], "does not take --strict"),
        (["--to", "c", "--tune", "3"], "does not take --tune"),
        (["--to", "verilog", "--calibrate", "rows.txt"], ".npy and .csv"),
        (["--name", "while"], "identifier"),
        (["-o", "s.safetensors"], "overwrite"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(student, monkeypatch, capsys, options, words):
    monkeypatch.chdir(student.parent)
    before = sorted(student.parent.iterdir())
    assert main(["export", "s.safetensors", *options]) == 2
    assert words in capsys.readouterr().err
    assert sorted(student.parent.iterdir()) == before


def test_the_report_reads_as_text(student, monkeypatch, capsys):
    monkeypatch.chdir(student.parent)
    assert main(["export", "s.safetensors", "--no-check", "--name", "signal", "-o", "signal.c"]) == 0
    said = capsys.readouterr().out
    assert "signal_test.c" in said
    assert "are refused" in said
