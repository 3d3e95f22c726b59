"""`fastkd export`: a saved student as C, fixed-point C, ONNX or Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from fastkd.cli.common import STDIN, Json, write_json

if TYPE_CHECKING:
    import numpy as np

    from fastkd.deploy import ExportReport

__all__ = ["TARGETS", "export", "export_student"]

TARGETS = {"c": ".c", "c-fixed": ".c", "onnx": ".onnx", "verilog": ".v"}
TAKES = {
    "c": {"name", "vectors", "check", "cc", "strict", "on_gap"},
    "c-fixed": {"name", "vectors", "check", "cc", "weights", "calibrate", "tune"},
    "onnx": set[str](),
    "verilog": {"name", "vectors", "check", "weights", "calibrate", "tune"},
}


def export_student(student: Path, to: str, output: Path | None = None, **options: Any) -> ExportReport:
    """Export a model file as the command does, with its options, of which None is as good as none.

    `output` is the student's name with the target's suffix if not given. Of a saved Forecaster C holds all, from candle
    to forecast; the other targets its network.

    Raises
    ------
    ValueError
        If an option does not fit the target, or a check of the export fails. No file has been written.
    OSError
        If a file cannot be read or written.
    """
    import fastkd
    from fastkd.deploy import FixedPredictor, export_c, export_onnx, export_verilog
    from fastkd.deploy.export.forecaster_c import is_forecaster

    if to not in TARGETS:
        raise ValueError(f"--to must be one of {', '.join(TARGETS)}; got {to!r}")
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in TAKES[to]:
            raise ValueError(f"--to {to} does not take --{option.replace('_', '-')}")
    fixed = to in ("c-fixed", "verilog")
    if fixed and "calibrate" not in given:
        raise ValueError(f"--to {to} needs --calibrate ROWS.npy or ROWS.csv: raw rows like those to come")
    target = student.with_suffix(TARGETS[to]) if output is None else output
    if target.resolve() == student.resolve():
        raise ValueError(f"{target} would overwrite the student; name another file")
    model: Any = fastkd.load(student)
    if to != "c" or not is_forecaster(model):
        model = getattr(model, "student_", model)
    if fixed:
        grid = {option: given.pop(option) for option in ("weights", "tune") if option in given}
        model = FixedPredictor(model, read_rows(given.pop("calibrate")), **grid, random_state=0)
    write = {"onnx": export_onnx, "verilog": export_verilog}.get(to, export_c)
    return write(model, target, **given)


def read_rows(path: Path) -> np.ndarray:
    """Rows of features from a .npy file, or from a .csv file with or without a line of names."""
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix != ".csv":
        raise ValueError(f"rows are read from .npy and .csv files; got {path}")
    with path.open(encoding="utf-8") as file:
        first = file.readline().split(",")
    try:
        names = not [float(word) for word in first]
    except ValueError:
        names = True
    return np.loadtxt(path, delimiter=",", skiprows=int(names), ndmin=2)


def export(
    student: Path,
    /,
    *,
    to: Literal["c", "c-fixed", "onnx", "verilog"] = "c",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    name: str | None = None,
    weights: Literal["int8", "int16"] | None = None,
    calibrate: Path | None = None,
    tune: int | None = None,
    vectors: int | None = None,
    check: Annotated[bool | None, Parameter(negative="--no-check")] = None,
    cc: str | None = None,
    strict: Annotated[bool | None, Parameter(negative="")] = None,
    on_gap: Literal["raise", "reset", "bridge"] | None = None,
    json: Json = None,
) -> int:
    """Write a saved student as source code that needs no Python; it is checked against the student.

    A failed check writes nothing. A forecaster goes to C as a whole, from candle to forecast; elsewhere its network.

    Parameters
    ----------
    student
        A model file, or a forecaster.
    to
        What is written: C, fixed-point C, ONNX or Verilog.
    output
        The student's name with the suffix .c, .onnx or .v if not given.
    name
        Prefix of all symbols, or the module; the stem of the file if not given. Not of onnx.
    weights
        Of c-fixed and verilog; int8 if not given.
    calibrate
        Raw rows for c-fixed and verilog, .npy or .csv.
    tune
        Of c-fixed and verilog: epochs of distillation into the grid.
    vectors
        Rows of the test, 64 if not given; of a forecaster, forecasts. Not of onnx.
    check
        Insist on compiling, or do without; if not given, where there is a compiler. Not of onnx, always checked.
    cc
        Compiler and its flags, also a cross compiler. Of c and c-fixed.
    strict
        Vectors of c hold every bit, for -std=c99 on any machine.
    on_gap
        Of a forecaster in c, where candles are missing: refuse the next one (if not given), begin anew, or step over.
    json
        Also write the report; - for standard output.
    """
    report = export_student(
        student,
        to,
        output,
        name=name,
        weights=weights,
        calibrate=calibrate,
        tune=tune,
        vectors=vectors,
        check=check,
        cc=cc,
        strict=strict,
        on_gap=on_gap,
    )
    write_json(json, report.to_dict())
    if str(json) != STDIN:
        print(report)
    return 0
