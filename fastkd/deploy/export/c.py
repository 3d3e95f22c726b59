"""export_c: a student as C99."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastkd.deploy.export.bounds import largest_feature
from fastkd.deploy.export.compiling import Compiler, compile_and_run, find_compiler, jobs, sizes
from fastkd.deploy.export.files import header, source
from fastkd.deploy.export.forecaster_c import ON_GAP, forecaster_files, is_forecaster
from fastkd.deploy.export.maths import softmax32
from fastkd.deploy.export.networks import twin
from fastkd.deploy.export.report import ExportReport
from fastkd.deploy.export.student import ExportError, Student, read_student
from fastkd.deploy.export.text import Name, target_path
from fastkd.deploy.export.vectors import vector_rows, vectors_file
from fastkd.deploy.export.writing import write_all
from fastkd.losses import softmax

TOLERANCE = 2e-6
CHECK_ROWS = 1000


def export_c(
    model: Any,
    path: Any,
    *,
    name: str | None = None,
    vectors: Any = 64,
    check: bool | str = "auto",
    cc: str | None = None,
    strict: bool = False,
    on_gap: str | None = None,
) -> ExportReport:
    """Write a student as C99: `student.c`, `student.h`, and `student_test.c`, whose `main` returns 0 if all is well.

    The C takes raw features (the scaler is inside), has no heap, no libm, nothing static that is written to, and may be
    called from any thread. A feature that is NaN, infinite or so large that a sum could overflow gives NaN and the
    return code 1, also under -ffast-math. Nothing appears before all checks have passed.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, LSTMClassifier, CNNClassifier, BeYourOwnTeacher, FixedPredictor or Forecaster
        Fitted. Of a BeYourOwnTeacher the exit it predicts with, and those before it (`student_predict_early`).
        A float64 model is exported in float32. Of a Forecaster features and gap policy, too: candle in, forecast out.
    path : path of the C file
        It ends in ".c"; the other two files lie beside it.
    name : str, optional
        Prefix of all symbols; the file's stem if not given. The files are named by `path` alone.
    vectors : int or (n, ...) rows, or Candles for a Forecaster
        Raw rows for the test, or how many to draw from the scaler's mean and spread. NaN, infinity and absurd
        numbers in every place are tested besides.
    check : {"auto", True, False}
        Compile and run the test in every way that is promised: if there is a compiler; in any case; not.
    cc : str, optional
        The compiler, with its flags, such as "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb"; $CC, cc, gcc or clang if not
        given. What a cross compiler makes is not run, but measured. Not with check=False.
    strict : bool
        The vectors hold every bit of the outputs: compiled as -std=c99, the file gives the same bits on every machine
        with IEEE arithmetic. Costs about a quarter of the speed. Not of a FixedPredictor,
        whose integers agree in every bit anyway.
    on_gap : {"raise", "reset", "bridge"}, optional
        Of a Forecaster, where candles are missing: refuse the next one (-4; if not given), begin anew, or step over.

    Returns
    -------
    ExportReport
        Files, sizes, largest error against float64 and the checks that were made.

    Raises
    ------
    ExportError
        A ValueError: a check failed, or the model cannot be exported. No file has been written.
    TypeError, ValueError
        Arguments of the wrong kind.

    Notes
    -----
    `int student_predict(const float x[], float p[])` and `int student_classify(const float x[])` for classifiers,
    `int student_value(const float x[], float y[])` for regressors; an LSTM also goes step by step with
    `student_state`, `student_reset` and `student_push`. A window's rows follow each other, the oldest first.
    Of a Forecaster `int student_push(student_state *, const student_candle *, float p[])`: 0 forecast, 1 warming up,
    negative refused; the features have the library's float64 bits.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastkd.deploy import export_c
    >>> from fastkd.models import MLPClassifier
    >>> model = MLPClassifier(hidden=(8,), random_state=0).initialize(4, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export_c(model, Path(folder) / "student.c", check=False)
    >>> [Path(file).name for file in report.files]
    ['student.c', 'student.h', 'student_test.c']
    >>> report.error < 2e-6
    True
    """
    target, names = target_path(path, ".c", name)
    if checked_option(check) is False and cc is not None:
        raise ValueError(f"check=False compiles nothing, so it does not go with cc={cc!r}")
    compiler = find_compiler(cc) if check else None
    if check is True and compiler is None:
        raise ExportError("check=True needs a C compiler: install gcc or clang, or name one by cc=")
    from fastkd.deploy.export.fixed import FixedPredictor

    if on_gap is not None and (on_gap not in ON_GAP or not is_forecaster(model)):
        raise ValueError(f"on_gap must be one of {', '.join(ON_GAP)}, and is for a Forecaster; got {on_gap!r}")
    if is_forecaster(model):
        texts, report = forecaster_files(model, names, vectors, strict, on_gap or "raise")
    elif isinstance(model, FixedPredictor):
        from fastkd.deploy.export.fixed_c import fixed_files

        if strict:
            raise ValueError("strict is for networks in float; a FixedPredictor's vectors hold every bit anyway")
        texts, report = fixed_files(model, names, vectors)
    else:
        texts, report = _float_files(read_student(model), names, vectors, strict)
    outcome, measured = _compiled(compiler, texts, names, strict, report["target"])
    write_all({target.parent / file: text.encode() for file, text in texts.items()})
    report["checks"] |= outcome
    report["sizes"] |= measured
    written = {str(target.parent / file): len(text.encode()) for file, text in texts.items()}
    return ExportReport(files=written, compiler=None if compiler is None else str(compiler), **report)


def checked_option(check: bool | str) -> bool | str:
    """`check` if it is one of its three values, by identity: 1 and numpy's True are none."""
    if check is True or check is False or (isinstance(check, str) and check == "auto"):
        return check
    raise ValueError(f'check must be "auto", True or False; got {check!r}')


def _float_files(student: Student, name: Name, vectors: Any, strict: bool) -> tuple[dict[str, str], dict[str, Any]]:
    rounded = student.rounded()
    limit = largest_feature(rounded)
    rows = vector_rows(student, vectors)
    if np.abs(rows).max() > limit:
        raise ValueError(f"vectors must not reach beyond {limit:.3g}, the limit of this network")
    classifier = student.classes is not None

    def outputs(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        exact, near = student.outputs(X), twin(rounded, X)
        return exact, *((softmax(exact), softmax32(near)) if classifier else (exact, near))

    exact, expected, bits = outputs(np.concatenate([student.draw(CHECK_ROWS, seed=1), rows]))
    unit = np.ones(student.n_outputs) if classifier else np.maximum(np.abs(expected).max(axis=0), np.finfo(float).tiny)
    tolerance = TOLERANCE * max(1.0, np.abs(exact).max() / 16) if classifier else TOLERANCE * 2
    error = float(np.abs((bits - expected) / unit).max())
    if not error <= tolerance:
        raise ExportError(
            f"float32 differs from the float64 reference by {error:.2g}, more than {tolerance:.2g}: the features or "
            "weights are too far from 1; train on features of similar size, or with l2 > 0"
        )
    facts = {
        "Largest error against float64, of 1,000 rows": f"{error:.2g}",
        "Constants, in bytes": 4 * student.n_parameters,
    }
    texts = {f"{name.file}.c": source(student, rounded, name, strict, facts), f"{name.file}.h": header(student, name)}
    _read_back(texts[f"{name.file}.c"], rounded)
    own = bits[CHECK_ROWS:] if strict else None
    texts[f"{name.file}_test.c"] = vectors_file(student, rows, expected[CHECK_ROWS:], name, own, unit, tolerance)
    checks = {
        "numbers read back": "the same bits",
        "NumPy twin against float64": f"{error:.2g} at most, {CHECK_ROWS + len(rows)} rows",
        "no sum overflows float32": f"for features up to {limit:.3g}",
    }
    return texts, {
        "target": "c",
        "sha256": student.sha256,
        "rows": len(rows),
        "error": "bitwise" if strict else error,
        "limit": limit,
        "sizes": {"rodata_bytes": 4 * student.n_parameters},
        "checks": checks,
    }


def _read_back(text: str, rounded: Student) -> None:
    """The numbers in the tables, parsed, have the bits of the weights."""
    found: list[float] = []
    for body in re.findall(r"static const float \w+(?:\[\d+\])+ = \{(.*?)\};", text, re.DOTALL):
        found += [float(word.rstrip("f")) for word in re.findall(r"[-+.\de]+f", body)]
    from fastkd.deploy.export.dense import padded

    arrays = [vector for vector in (rounded.mean, rounded.edge) if vector.any()]
    arrays += [a for layer in rounded.body for a in layer]
    arrays += [a for layer in (*rounded.layers, *rounded.heads) for a in padded(*layer)]
    wanted = np.concatenate([a.ravel() for a in arrays]).astype(np.float32)
    if not np.array_equal(np.array(found, np.float32).view(np.uint32), wanted.view(np.uint32)):
        raise ExportError("the numbers in the C file do not read back to the weights; please report this")


def _compiled(
    compiler: Compiler | None, texts: dict[str, str], name: Name, strict: bool, target: str
) -> tuple[dict[str, str], dict[str, int]]:
    if compiler is None:
        return {"compiler": "none was found or asked for: the C has not been compiled"}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file, text in texts.items():
            (folder / file).write_text(text)
        measured = sizes(compiler, folder, name.file)
        if not compiler.native:
            return {"cross compiler": "compiled without a warning; not run on this machine"}, measured
        forms = (0,) if strict else (0, 1) if target == "c-fixed" else (0, 1, 2)
        work = jobs(f"{name.prefix.upper()}_", forms, strict)
        if target == "c-forecaster" and "clang" in compiler.version:  # its -ffast-math cannot be kept from the recipe
            work = [job for job in work if "-ffast-math" not in job.flags]
        return compile_and_run(compiler, folder, name.file, work), measured
