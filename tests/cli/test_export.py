"""fastkd export, from a model file to files that the report names."""

import json

import numpy as np
import pytest

import fastkd
from fastkd.cli import main
from fastkd.deploy import export_c
from fastkd.market import synthetic_market
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
        ("c", ["s.c", "s.h", "s_test.c"], ["--no-check"]),
        ("c", ["s.c", "s.h", "s_test.c"], ["--no-check", "--strict"]),
        ("c-fixed", ["s.c", "s.h", "s_test.c"], ["--no-check", "--calibrate", "rows.npy", "--weights", "int16"]),
        ("c-fixed", ["s.c", "s.h", "s_test.c"], ["--no-check", "--calibrate", "rows.csv", "--tune", "2"]),
        ("verilog", ["s.v", "s_tb.v"], ["--no-check", "--calibrate", "rows.csv", "--vectors", "3"]),
        ("onnx", ["s.onnx"], []),
    ],
)
def test_every_target(student, monkeypatch, capsys, to, files, more):
    monkeypatch.chdir(student.parent)
    assert main(["export", "s.safetensors", "--to", to, "--json", "-", *more]) == 0
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
        (["--to", "c", "--tune", "0"], "does not take --tune"),
        (["--to", "c", "--weights", "int8"], "does not take --weights"),
        (["--to", "onnx", "--vectors", "64"], "does not take --vectors"),
        (["--to", "onnx", "--no-check"], "does not take --check"),
        (["--to", "onnx", "--check"], "does not take --check"),
        (["--to", "onnx", "--name", "signal"], "does not take --name"),
        (["--to", "verilog", "--calibrate", "rows.csv", "--cc", "gcc"], "does not take --cc"),
        (["--to", "c-fixed", "--calibrate", "rows.csv", "--strict"], "does not take --strict"),
        (["--to", "c-fixed", "--calibrate", "rows.csv", "--on-gap", "reset"], "does not take --on-gap"),
        (["--on-gap", "reset"], "is for a Forecaster"),
        (["--no-check", "--cc", "gcc"], "check=False"),
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


@pytest.mark.filterwarnings("ignore:only .* rows to train")
def test_a_forecaster_goes_to_c_as_a_whole_and_elsewhere_its_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = MLPClassifier((8,), epochs=2, random_state=0)
    forecaster = fastkd.Forecaster("ohlcv4", student=small, kd_weight=0.0, random_state=0)
    forecaster.fit(synthetic_market(600, random_state=0, interval="5m")).save("f.safetensors")
    said = ["export", "f.safetensors", "--no-check", "--vectors", "5", "--json", "-"]
    assert main([*said, "--on-gap", "reset"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "c-forecaster"
    assert "int f_push(f_state *m, const f_candle *c, float p[F_OUTPUTS])" in (tmp_path / "f.c").read_text()
    written = {end: (tmp_path / f"f{end}").read_text() for end in (".c", ".h", "_test.c")}
    assert "Missing candles: all begins anew" in written[".h"]
    export_c(forecaster, "f.c", vectors=5, check=False, on_gap="reset")
    assert written == {end: (tmp_path / f"f{end}").read_text() for end in written}
    np.save("rows.npy", np.random.default_rng(0).normal(size=(50, len(forecaster.feature_names_))))
    assert main(["export", "f.safetensors", "--to", "c-fixed", "--calibrate", "rows.npy", "--no-check"]) == 0
    assert "f_classify_q" in (tmp_path / "f.c").read_text()
    assert main(["export", "f.safetensors", "--to", "onnx"]) == 0
