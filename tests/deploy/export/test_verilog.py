"""The Verilog core in Icarus: every row as in Python; a wrong bit is found."""

import subprocess

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
    model = tools.network("linear")
    fixed = FixedPredictor(model, tools.rows_for(model, 50))
    for word in ("module", "reg", "endcase", "wand"):
        with pytest.raises(ExportError, match="keyword"):
            export_verilog(fixed, tmp_path / f"{word}.v", check=False)
    with pytest.raises(ValueError, match="check must be"):
        export_verilog(fixed, tmp_path / "core.v", check=1)
    assert list(tmp_path.iterdir()) == []


def test_the_name_is_the_module_and_the_path_the_files(tools, tmp_path):
    model = tools.network("linear")
    fixed = FixedPredictor(model, tools.rows_for(model, 50))
    report = export_verilog(fixed, tmp_path / "core.v", 7, name="signal", check=False)
    assert sorted(report.files) == [str(tmp_path / "core.v"), str(tmp_path / "core_tb.v")]
    assert report.rows == 7
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert "module signal (" in (tmp_path / "core.v").read_text()
    tools.need("iverilog")
    subprocess.run(["iverilog", "-g2001", "-o", "sim", "core.v", "core_tb.v"], cwd=tmp_path, check=True)
    said = subprocess.run(["vvp", "sim"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("7 rows, 0 differ")


# -- what yosys says ---------------------------------------------------------------------------------------------------

OLD = """
=== core ===

   Number of wires:               1203
   Number of wire bits:           9188
   Number of cells:               1474
     BUFG                            1
     CARRY4                        107
     DSP48E1                         9
     FDRE                          401
     FDSE                            3
     LUT2                          118
     LUT6                          120
     MUXF7                          12

   Estimated number of LCs:        412
"""
NEW = """
=== core ===

        +----------Local Count, excluding submodules.
        |
     1203 wires
     9188 wire bits
        2 memories
     1474 cells
        1   BUFG
      107   CARRY4
        9   DSP48E1
      401   FDRE
        3   FDSE
      118   LUT2
      120   LUT6
       12   MUXF7

   Estimated number of LCs:        412
"""


@pytest.mark.parametrize("text", [OLD, NEW], ids=["cell first", "number first"])
def test_cells_in_either_order(text):
    from fastkd.deploy.export.verilog import _cells

    assert _cells(text) == {"dsp": 9, "lut": 238, "ff": 404}
    assert _cells(text.replace("LUT", "ALM").replace("FD", "DFF").replace("DSP", "MUL")) == {}
    assert _cells("") == {}


@pytest.mark.parametrize("said", ["late", "nothing known"])
def test_yosys_that_says_nothing_is_no_zero(tools, tmp_path, monkeypatch, said):
    from fastkd.deploy.export import verilog

    def run(command, cwd, **options):
        if said == "late":
            raise subprocess.TimeoutExpired(command, options["timeout"])
        (verilog.Path(cwd) / "cells").write_text("a list of another kind\n")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(verilog.shutil, "which", lambda name: name if name == "yosys" else None)
    monkeypatch.setattr(verilog.subprocess, "run", run)
    model = tools.network("linear")
    report = export_verilog(FixedPredictor(model, tools.rows_for(model, 50)), tmp_path / "core.v")
    assert set(report.sizes) == {"clocks"}
    assert report.checks["yosys, Xilinx 7"].startswith("not measured")
    assert len(report.files) == 2
