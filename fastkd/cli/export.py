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


def export_student(
    student: Path,
    to: str,
    output: Path | None = None,
    *,
    name: str | None = None,
    weights: str = "int8",
    calibrate: Path | None = None,
    tune: int = 0,
    vectors: int = 64,
    check: bool | str = "auto",
    cc: str | None = None,
    strict: bool = False,
) -> ExportReport:
    """Export a model file as the command does; `output` is the student's name with the target's suffix if not given.

    Raises
    ------
    ValueError
        If an option does not fit the target, or a check of the export fails. No file has been written.
    OSError
        If a file cannot be read or written.
    """
    import fastkd
    from fastkd.deploy import FixedPredictor, export_c, export_onnx, export_verilog

    if to not in TARGETS:
        raise ValueError(f"--to must be one of {', '.join(TARGETS)}; got {to!r}")
    fixed = to in ("c-fixed", "verilog")
    _refuse(to, {"--calibrate": (calibrate is not None, fixed), "--tune": (tune != 0, fixed)})
    _refuse(to, {"--strict": (strict, to == "c"), "--cc": (cc is not None, to in ("c", "c-fixed"))})
    _refuse(to, {"--name": (name is not None, to != "onnx")})
    if fixed and calibrate is None:
        raise ValueError(f"--to {to} needs --calibrate ROWS.npy or ROWS.csv: raw rows like those to come")
    target = student.with_suffix(TARGETS[to]) if output is None else output
    if target.resolve() == student.resolve():
        raise ValueError(f"{target} would overwrite the student; name another file")
    model: Any = fastkd.load(student)
    model = getattr(model, "student_", model)
    if fixed:
        assert calibrate is not None
        model = FixedPredictor(model, read_rows(calibrate), weights=weights, tune=tune, random_state=0)
    if to == "onnx":
        return export_onnx(model, target)
    if to == "verilog":
        return export_verilog(model, target, name=name, vectors=vectors, check=check)
    return export_c(model, target, name=name, vectors=vectors, check=check, cc=cc, strict=strict)


def _refuse(to: str, options: dict[str, tuple[bool, bool]]) -> None:
    for option, (given, taken) in options.items():
        if given and not taken:
            raise ValueError(f"--to {to} does not take {option}")


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
    weights: Literal["int8", "int16"] = "int8",
    calibrate: Path | None = None,
    tune: int = 0,
    vectors: int = 64,
    check: Annotated[bool | None, Parameter(negative="--no-check")] = None,
    cc: str | None = None,
    strict: bool = False,
    json: Json = None,
) -> int:
    """Write a saved student as source code that needs no Python; it is checked against the student.

    A failed check writes nothing.

    Parameters
    ----------
    student
        A model file, or a forecaster.
    to
        What is written: C, fixed-point C, ONNX or Verilog.
    output
        The student's name with the suffix .c, .onnx or .v if not given.
    name
        Prefix of all symbols, or the module; the stem of the file if not given.
    weights
        Of c-fixed and verilog.
    calibrate
        Raw rows for c-fixed and verilog, .npy or .csv.
    tune
        Of c-fixed and verilog: epochs of distillation into the grid.
    vectors
        Rows of the test.
    check
        Insist on compiling, or do without; if not given, where there is a compiler.
    cc
        Compiler and its flags, also a cross compiler.
    strict
        Vectors of c hold every bit, for -std=c99 on any machine.
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
        check="auto" if check is None else check,
        cc=cc,
        strict=strict,
    )
    write_json(json, report.to_dict())
    if str(json) != STDIN:
        print(report)
    return 0
