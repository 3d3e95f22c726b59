"""`fastkd export`: a saved student as C, fixed-point C, ONNX or Verilog."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from fastkd.deploy import ExportReport

__all__ = ["TARGETS", "add_export", "export_student"]

OK = 0
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


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    command = commands.add_parser(
        "export",
        help="a saved student as C, fixed-point C, ONNX or Verilog, checked",
        description="Write a saved student as source code that needs no Python, check it against the student, and say "
        "what was checked. A failed check writes nothing.",
    )
    add = command.add_argument
    add("student", type=Path, metavar="STUDENT", help="model file, as model.save writes it")
    add("--to", choices=list(TARGETS), default="c", help="what is written (%(default)s)")
    add("-o", "--output", type=Path, metavar="FILE", help="(STUDENT with the suffix .c, .onnx or .v)")
    add("--name", metavar="NAME", help="prefix of all symbols, or the module (the stem of FILE)")
    add("--weights", choices=["int8", "int16"], default="int8", help="of c-fixed and verilog (%(default)s)")
    add("--calibrate", type=Path, metavar="ROWS", help="raw rows for c-fixed and verilog: .npy, or .csv")
    add("--tune", type=int, default=0, metavar="N", help="epochs of distillation into the grid (%(default)s)")
    add("--vectors", type=int, default=64, metavar="N", help="rows of the test (%(default)s)")
    add("--check", action=argparse.BooleanOptionalAction, default="auto", help="insist on compiling, or do without")
    add("--cc", metavar="CC", help="compiler and its flags, also a cross compiler")
    add("--strict", action="store_true", help="vectors of c hold every bit, for -std=c99 on any machine")
    add("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    names = ("output", "name", "weights", "calibrate", "tune", "vectors", "check", "cc", "strict")
    report = export_student(options.student, options.to, **{name: getattr(options, name) for name in names})
    print(json.dumps(report.to_dict(), indent=1) if options.json else report)
    return OK
