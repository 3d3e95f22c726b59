"""export_verilog: a FixedPredictor as a streaming core in Verilog-2001, bit for bit its Python, with a testbench.

A layer takes one input a clock into all its sums at once; then one multiplier scales them one after the other, which is
the stream of inputs of the next layer. A row enters when `start` is high; `done` says when `z` and `best` are there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.c import checked_option
from fastkd.deploy.export.files import about
from fastkd.deploy.export.fixed import FixedPredictor
from fastkd.deploy.export.fixed_net import FixedNet
from fastkd.deploy.export.report import ExportReport
from fastkd.deploy.export.student import ExportError
from fastkd.deploy.export.text import Name, put, target_path
from fastkd.deploy.export.vectors import vector_rows
from fastkd.deploy.export.writing import write_all

TIMEOUT = 600

CORE = """\
/* <<file>>.v: written by fastkd <<version>>; do not edit. <<clocks>> clocks from start to done.
 * x: <<n_in>> features of 16 bits, the first lowest: round((x - mean) 2^<<x_bits>> / spread), saturated.
 * z: <<n_out>> outputs of 16 bits, 1.0 is 2^<<out_bits>>; best: index of the largest. No sum overflows, for any x.
 *
<<about>>
 * This file is data of whoever trained the model; fastkd's license does not extend to it. */
`default_nettype none
module <<name>> (
  input wire clk, input wire rst, input wire start, input wire signed [<<x_top>>:0] x,
  output reg done, output reg signed [<<z_top>>:0] z, output reg [15:0] best
);
  // features, one a clock
  reg signed [15:0] d0; reg v0; reg [15:0] i0; reg signed [<<x_top>>:0] xr;
  always @(posedge clk) begin
    v0 <= 1'b0;
    if (rst) i0 <= 16'd<<n_in>>;
    else if (start) begin xr <= x; i0 <= 16'd0; end
    else if (i0 < 16'd<<n_in>>) begin d0 <= xr[15:0]; xr <= xr >>> 16; v0 <= 1'b1; i0 <= i0 + 16'd1; end
  end
<<layers>>
  // outputs as they come, and the largest
  reg [15:0] c; reg signed [15:0] top;
  always @(posedge clk) begin
    done <= 1'b0;
    if (rst | start) c <= 16'd0;
    else if (v<<last>>) begin
      z <= <<shifted>>; c <= c + 16'd1;
      if (c == 16'd0 || d<<last>> > top) begin top <= d<<last>>; best <= c; end
      done <= c == 16'd<<n_out_less>>;
    end
  end
endmodule
`default_nettype wire
"""
LAYER = """
  // layer <<k>>: <<n_in>> inputs, <<n_out>> outputs, sums of <<bits>> bits
  reg [15:0] n<<k>>; reg [<<w_top>>:0] w<<k>>;
  always @(*) case (n<<k>>)
<<rows>>    default: w<<k>> = <<width>>'h0;
  endcase
  reg [15:0] q<<k>>; reg full<<k>>; reg signed [16:0] m<<k>>;
  always @(*) case (q<<k>>)
<<scales>>    default: m<<k>> = 17'sd0;
  endcase
  reg signed [<<s_top>>:0] a<<k>> [0:<<o_top>>]; reg signed [<<s_top>>:0] h<<k>> [0:<<o_top>>];
  wire signed [<<p_top>>:0] p<<k>> = h<<k>>[0] * m<<k>>;
  wire signed [<<p_top>>:0] y<<k>> = p<<k>> >>> <<down>>;
  reg signed [15:0] d<<next>>; reg v<<next>>; integer o<<k>>;
  always @(posedge clk) begin
    v<<next>> <= 1'b0; full<<k>> <= 1'b0;
    if (rst | start) begin
      n<<k>> <= 16'd0; q<<k>> <= 16'd<<n_out>>;
<<start>>    end else begin
      if (v<<k>>) begin
        n<<k>> <= n<<k>> + 16'd1; full<<k>> <= n<<k>> == 16'd<<n_in_less>>;
<<add>>      end
      if (full<<k>>) begin
        q<<k>> <= 16'd0;
        for (o<<k>> = 0; o<<k>> < <<n_out>>; o<<k>> = o<<k>> + 1) h<<k>>[o<<k>>] <= a<<k>>[o<<k>>];
      end else if (q<<k>> < 16'd<<n_out>>) begin
        d<<next>> <= y<<k>> < <<low>> ? <<low>> : y<<k>> > 32767 ? 16'sd32767 : y<<k>>[15:0];
        v<<next>> <= 1'b1; q<<k>> <= q<<k>> + 16'd1;
        for (o<<k>> = 0; o<<k>> < <<o_top>>; o<<k>> = o<<k>> + 1) h<<k>>[o<<k>>] <= h<<k>>[o<<k>> + 1];
      end
    end
  end
"""
BENCH = """\
/* <<file>>_tb.v: vectors of <<file>>.v; every bit must agree.
 * iverilog <<file>>.v <<file>>_tb.v && vvp a.out */
module <<name>>_tb;
  reg clk, rst, start; reg signed [<<x_top>>:0] x; wire done; wire signed [<<z_top>>:0] z; wire [15:0] best;
  integer rows, differ, clocks, most;
  <<name>> core(clk, rst, start, x, done, z, best);
  always #5 clk = ~clk;
  task row(input [<<x_top>>:0] given, input [<<z_top>>:0] wanted, input [15:0] largest);
    begin
      @(negedge clk); x = given; start = 1'b1;
      @(negedge clk); start = 1'b0; clocks = 1;
      while (!done && clocks < <<limit>>) begin @(negedge clk); clocks = clocks + 1; end
      rows = rows + 1;
      if (!done || z !== wanted || best !== largest) differ = differ + 1;
      if (clocks > most) most = clocks;
    end
  endtask
  initial begin
    clk = 1'b0; rst = 1'b1; start = 1'b0; x = 0; rows = 0; differ = 0; most = 0;
    repeat (4) @(negedge clk);
    rst = 1'b0;
<<vectors>>    $display("%0d rows, %0d differ, %0d clocks a row", rows, differ, most);
    $finish;
  end
endmodule
"""


def export_verilog(
    fixed: Any, path: Any, vectors: Any = 64, *, name: str | None = None, check: bool | str = "auto"
) -> ExportReport:
    """Write a fixed-point MLP as a Verilog core, `student.v`, and its testbench, `student_tb.v`.

    Parameters
    ----------
    fixed : FixedPredictor
        Of an MLPClassifier or MLPRegressor with relu or identity.
    path : path that ends in ".v"
    vectors : int or (n, n_features) raw rows
        Rows of the testbench: so many of the calibration rows, or these.
    name : str, optional
        Of the module; the file's stem if not given. The files are named by `path` alone.
    check : {"auto", True, False}
        Simulate with Icarus Verilog and synthesize with yosys: what is installed of them; Icarus at least; nothing.

    Returns
    -------
    ExportReport
        `sizes` holds clocks a row and, where yosys is installed, its cells for Xilinx 7: DSP, LUT, FF.

    Raises
    ------
    ExportError
        If the network has no such form, or one row of the simulation differs. No file has been written.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from fastkd.deploy import FixedPredictor, export_verilog
    >>> from fastkd.models import MLPClassifier
    >>> model = MLPClassifier((8,), random_state=0).initialize(4, 3)
    >>> fixed = FixedPredictor(model, np.random.default_rng(0).normal(size=(50, 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export_verilog(fixed, Path(folder) / "student.v", check=False)
    >>> report.sizes["clocks"]
    21
    """
    if not isinstance(fixed, FixedPredictor):
        raise TypeError(f"export_verilog takes a FixedPredictor; got {type(fixed).__name__}")
    checked_option(check)
    target, names = target_path(path, ".v", name)
    net = fixed.net
    unfit = net.student.kind != "mlp" or not {layer.activation for layer in net.layers} <= {"relu", "linear"}
    if unfit:
        raise ExportError("export_verilog takes MLPs with relu or identity; distill this student into one")
    rows = vector_rows(net.student, vectors, fixed.calibration)
    texts = {f"{names.file}.v": _core(net, names), f"{names.file}_tb.v": _bench(net, names, rows)}
    checks: dict[str, str] = {}
    sizes = {"clocks": _clocks(net)}
    if check:
        checks, measured = _simulated(texts, names, len(rows), sizes["clocks"], must=check is True)
        sizes |= measured
    write_all({target.parent / file: text.encode() for file, text in texts.items()})
    return ExportReport(
        target="verilog",
        files={str(target.parent / file): len(text.encode()) for file, text in texts.items()},
        sha256=net.student.sha256,
        rows=len(rows),
        error="bitwise",
        agreement=fixed.agreement_,
        sizes=sizes,
        checks={"no sum overflows": "proven for any input"} | checks,
    )


def _clocks(net: FixedNet) -> int:
    return net.student.n_features + sum(len(layer.B) + 2 for layer in net.layers) + 2


def _word(values: Any, bits: int) -> str:
    """The numbers side by side as one hexadecimal constant, the first lowest."""
    word = 0
    for k, number in enumerate(values):
        word |= (int(number) & ((1 << bits) - 1)) << (bits * k)
    return f"{bits * len(values)}'h{word:x}"


def _core(net: FixedNet, name: Name) -> str:
    layers = ""
    for k, layer in enumerate(net.layers):
        n_in, n_out = layer.W.shape
        wide = net.weight_bits
        worst = int((np.abs(layer.W).sum(axis=0) * 32768 + np.abs(layer.B)).max())
        bits = worst.bit_length() + 1
        part = "d{0} * $signed(w{0}[{1}:{2}])"
        adds = [
            f"        a{k}[{o}] <= a{k}[{o}] + {part.format(k, wide * o + wide - 1, wide * o)};\n" for o in range(n_out)
        ]
        starts = [f"      a{k}[{o}] <= {bits}'h{int(b) & ((1 << bits) - 1):x};\n" for o, b in enumerate(layer.B)]
        layers += put(
            LAYER,
            k=k,
            next=k + 1,
            n_in=n_in,
            n_out=n_out,
            n_in_less=n_in - 1,
            o_top=n_out - 1,
            bits=bits,
            s_top=bits - 1,
            p_top=bits + 16,
            width=n_out * wide,
            w_top=n_out * wide - 1,
            rows="".join(f"    16'd{i}: w{k} = {_word(row, wide)};\n" for i, row in enumerate(layer.W)),
            scales="".join(f"    16'd{o}: m{k} = 17'sd{int(m)};\n" for o, m in enumerate(layer.M)),
            start="".join(starts),
            add="".join(adds),
            down=layer.down,
            low="16'sd0" if layer.activation == "relu" else "-32768",
        )
    n_in, n_out = net.student.n_features, net.student.n_outputs
    last = len(net.layers)
    return put(
        CORE,
        file=name.file,
        name=name.prefix,
        version=__version__,
        clocks=_clocks(net),
        about=about(net.student, {}),
        n_in=n_in,
        n_out=n_out,
        n_out_less=n_out - 1,
        x_bits=net.x_bits,
        out_bits=net.out_bits,
        x_top=16 * n_in - 1,
        z_top=16 * n_out - 1,
        last=last,
        shifted=f"{{d{last}, z[{16 * n_out - 1}:16]}}" if n_out > 1 else f"d{last}",
        layers=layers,
    )


def _bench(net: FixedNet, name: Name, rows: np.ndarray) -> str:
    Q = net.quantize(rows)
    Z = net.logits(Q)
    lines = [f"    row({_word(q, 16)}, {_word(z, 16)}, 16'd{int(z.argmax())});\n" for q, z in zip(Q, Z, strict=True)]
    n_in, n_out, limit = net.student.n_features, net.student.n_outputs, 4 * _clocks(net)
    part = {"file": name.file, "name": name.prefix, "vectors": "".join(lines)}
    return put(BENCH, x_top=16 * n_in - 1, z_top=16 * n_out - 1, limit=limit, **part)


def _simulated(
    texts: dict[str, str], name: Name, rows: int, clocks: int, must: bool
) -> tuple[dict[str, str], dict[str, int]]:
    checks: dict[str, str] = {}
    sizes: dict[str, int] = {}
    if must and shutil.which("iverilog") is None:
        raise ExportError("check=True needs Icarus Verilog: install iverilog")
    with tempfile.TemporaryDirectory() as folder:
        for file, text in texts.items():
            (Path(folder) / file).write_text(text)
        if shutil.which("iverilog") is None:
            checks["Icarus Verilog"] = "not installed: the core has not been simulated"
        else:
            sources = [f"{name.file}.v", f"{name.file}_tb.v"]
            _run(["iverilog", "-g2001", "-Wall", "-Wno-timescale", "-o", "sim", *sources], folder)
            said = _run(["vvp", "sim"], folder).strip().split("\n")[-1]
            checks["Icarus Verilog"] = said
            if said != f"{rows} rows, 0 differ, {clocks} clocks a row":
                raise ExportError(f"the simulation differs from Python: {said}")
        if shutil.which("yosys") is None:
            checks["yosys"] = "not installed: resources not measured"
        else:
            sizes, checks["yosys, Xilinx 7"] = _synthesized(name, folder)
    return checks, sizes


def _synthesized(name: Name, folder: str) -> tuple[dict[str, int], str]:
    """The cells of a Xilinx 7 by yosys, and the same in words."""
    script = f"read_verilog {name.file}.v; synth_xilinx -top {name.prefix}; tee -o cells stat"
    try:
        _run(["yosys", "-q", "-p", script], folder)
    except _Late as late:
        return {}, f"not measured: {late}"
    sizes = _cells((Path(folder) / "cells").read_text())
    return sizes, ", ".join(f"{n} {kind.upper()}" for kind, n in sizes.items()) or "not measured: its list is unknown"


class _Late(ExportError):
    """A program that did not come to its end."""


def _run(command: list[str], folder: str) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise _Late(f"{command[0]} was not done after {TIMEOUT} seconds") from None
    if done.returncode:
        raise ExportError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _cells(text: str) -> dict[str, int]:
    """DSP, LUT and FF in a list of yosys, where cell and number stand in either order; {} if it has none of them."""
    counts: dict[str, int] = {}
    lines = re.findall(r"^\s+([A-Z]\w+)\s+(\d+)$", text, re.MULTILINE)
    lines += [(cell, n) for n, cell in re.findall(r"^\s+(\d+)\s+(?:\S+\s+)?([A-Z]\w+)$", text, re.MULTILINE)]
    for kind, pattern in (("dsp", "DSP48E1"), ("lut", r"LUT\d"), ("ff", "FD[RSCP]E")):
        counts[kind] = sum(int(n) for cell, n in lines if re.fullmatch(pattern, cell))
    return counts if any(counts.values()) else {}
