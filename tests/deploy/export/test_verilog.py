"""The Verilog core in Icarus: every row as in Python; a wrong bit is found."""

import numpy as np
import pytest

from fastkd.deploy import ExportError, FixedPredictor, export_verilog


@pytest.mark.parametrize("weights", ["int8", "int16"])
@pytest.mark.parametrize("kind", ["relu", "identity", "linear"])
def test_every_row_in_icarus_is_that_of_python(tools, tmp_path, kind, weights, monkeypatch):
    tools.need("iverilog")
    from fastkd.deploy.export import verilog

    here = verilog.shutil.which
    monkeypatch.setattr(verilog.shutil, "which", lambda name: None if name == "yosys" else here(name))
    model = tools.network(kind)
    X = tools.rows_for(model, 2000 if kind == "relu" else 200)
    X[:40] *= 500  # saturates
    fixed = FixedPredictor(model, tools.rows_for(model, 200, seed=1), weights=weights)
    report = export_verilog(fixed, tmp_path / "core.v", vectors=X, check=True)
    assert report.checks["Icarus Verilog"] == f"{len(X)} rows, 0 differ, {report.sizes['clocks']} clocks a row"
    assert report.checks["yosys"].startswith("not installed")


def test_a_wrong_bit_is_found(tools, tmp_path, monkeypatch):
    tools.need("iverilog")
    from fastkd.deploy.export import verilog

    model = tools.network("linear")
    fixed = FixedPredictor(model, tools.rows_for(model, 100))
    original = verilog._core
    monkeypatch.setattr(verilog, "_core", lambda *a: original(*a).replace("17'sd", "17'sd1", 1))
    with pytest.raises(ExportError, match="differs"):
        export_verilog(fixed, tmp_path / "core.v")
    assert list(tmp_path.iterdir()) == []


def test_the_vectors_are_those_of_the_predictor(tools, tmp_path):
    model = tools.network("relu")
    fixed = FixedPredictor(model, tools.rows_for(model, 100))
    export_verilog(fixed, tmp_path / "core.v", vectors=5, check=False)
    lines = [line for line in (tmp_path / "core_tb.v").read_text().split("\n") if line.startswith("    row(")]
    rows = fixed.calibration[np.linspace(0, 99, 5).astype(int)]
    assert [int(line.split("16'd")[1].split(")")[0]) for line in lines] == fixed.predict(rows).tolist()


def test_what_has_no_core_is_named(tools, tmp_path):
    model = tools.network("tanh")
    with pytest.raises(ExportError, match="relu"):
        export_verilog(FixedPredictor(model, tools.rows_for(model, 50)), tmp_path / "core.v")
    with pytest.raises(TypeError, match="FixedPredictor"):
        export_verilog(model, tmp_path / "core.v")
