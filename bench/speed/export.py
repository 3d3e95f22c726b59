"""Exported students: one row at a time, back to back, in C by several exporters and compilers; and on a Cortex-M4.

The C is called in a loop in C, what is Python in a loop in Python. Errors are those of a probability against float64;
"nan" is the largest probability that a row with NaN or infinity is given, 0 where it is refused. On the Cortex-M4
(QEMU) seconds stand for executed instructions. onnx2c, which neither PyPI nor Debian has, is taken from PATH.
Run: ``python -m bench.speed.export --json PATH [--quick]``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender, optional

ROWS = 256
KINDS = ("MLP, relu", "MLP, tanh", "MLP, gelu", "LSTM 30 x 8", "CNN 30 x 8")
COMPILERS = (("gcc", "-O2"), ("gcc", "-O3 -march=native"), ("clang", "-O3 -march=native"))
BOARD = Path(__file__).parents[2] / "tests" / "deploy" / "export" / "board"
M4 = "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
M0 = "-mcpu=cortex-m0plus -mthumb"
LOOP = """
{declare}
float run(const float *x, float *p, int rows);
float run(const float *x, float *p, int rows)
{{
    float sum = 0.0f;
    for (int k = 0; k < rows; ++k) {{
        const float *r = x + (long){n_in} * k;
        float *q = p + (long){n_out} * k;
        {call};
        sum += q[0];
    }}
    return sum;
}}
"""


def student(kind: str) -> Any:
    """An untrained network of the usual size behind a scaler; what it says does not matter here."""
    from fastkd.features import Standardizer
    from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier

    spreads = np.array([0.002, 0.5, 3.0, 40.0, 1.0, 1.0, 2.0, 0.1])
    if kind.startswith("MLP"):
        model: Any = MLPClassifier((32, 16), activation=kind.split()[1], random_state=0).initialize(4, 3)
    elif kind.startswith("LSTM"):
        model = LSTMClassifier(32, random_state=0).initialize((30, 8), 3)
    else:
        model = CNNClassifier((16, 16), hidden=(16,), random_state=0).initialize((30, 8), 3)
    n = model._kernel.input_shape[-1]
    model.scaler = Standardizer.from_numbers(spreads[:n] / 2, spreads[:n])
    return model


def library(
    folder: Path, name: str, declare: str, call: str, shape: tuple[int, int], sources: list[str], flags: str, cc: str
) -> Any:
    """A shared library whose `run` calls the C `call` for each row."""
    (folder / f"{name}_run.c").write_text(LOOP.format(declare=declare, call=call, n_in=shape[0], n_out=shape[1]))
    out = folder / f"{name}.so"
    command = [cc, *flags.split(), "-shared", "-fPIC", "-w", f"-I{folder}", *sources, str(folder / f"{name}_run.c")]
    subprocess.run([*command, "-lm", "-o", str(out)], check=True)
    function = ctypes.CDLL(str(out)).run
    function.restype = ctypes.c_float
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    return function


def contender(
    name: str,
    run: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    bad: np.ndarray,
    exact: np.ndarray,
    call: Any,
    args: tuple[Any, ...],
) -> Contender:
    found = Contender(name, call, args)
    found.errors["probability"] = float(np.abs(run(X) - exact).max())
    answered = run(bad)
    found.notes["nan"] = float(np.where(np.isnan(answered), 0.0, answered).max())
    return found


def in_c(name: str, function: Any, n_out: int, X: np.ndarray, bad: np.ndarray, exact: np.ndarray) -> Contender:
    def run(rows: np.ndarray) -> np.ndarray:
        p = np.zeros((len(rows), n_out), np.float32)
        function(rows.ctypes.data, p.ctypes.data, len(rows))
        return p

    out = np.zeros((len(X), n_out), np.float32)
    return contender(name, run, X, bad, exact, lambda: function(X.ctypes.data, out.ctypes.data, len(X)), ())


def emlearn_header(folder: Path, model: Any) -> list[str] | None:
    """emlearn's C of the same MLP by way of scikit-learn, and where its own headers are."""
    emlearn, sklearn = optional("emlearn"), optional("sklearn.neural_network")
    if emlearn is None or sklearn is None:
        return None
    from fastkd.deploy.export.student import read_student

    layers = read_student(model).entering().layers
    twin = sklearn.MLPClassifier((32, 16), activation=model._kernel.activation, max_iter=1)
    twin.fit(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3)
    twin.coefs_ = [np.asarray(W, np.float32) for W, _ in layers]
    twin.intercepts_ = [np.asarray(b, np.float32) for _, b in layers]
    here = os.getcwd()
    os.chdir(folder)  # it leaves objects in a folder tmp of where it is
    try:
        emlearn.convert(twin, dtype="float", method="loadable").save(file="eml.h", name="net")
        return [f"-I{emlearn.includedir}"]
    except Exception as error:
        common.SKIPPED["emlearn"] = f"{type(error).__name__}: {error}"
        return None
    finally:
        os.chdir(here)


def peers_in_c(folder: Path, kind: str, model: Any, add: Callable[..., None]) -> None:
    """emlearn and onnx2c; m2cgen has no networks, and TensorFlow Lite Micro comes as sources from elsewhere."""
    n_in, n_out = int(np.prod(model._kernel.input_shape)), 3
    if kind in ("MLP, relu", "MLP, tanh"):
        include = emlearn_header(folder, model)
        if include is not None:
            flags = " ".join(["-O3 -march=native", *include])
            call = f"eml_net_predict_proba(&net, r, {n_in}, q, {n_out})"
            add(
                "emlearn, gcc -O3 -march=native",
                library(folder, "eml", '#include "eml.h"', call, (n_in, n_out), [], flags, "gcc"),
            )
    converter = shutil.which("onnx2c")
    if converter is None:
        common.SKIPPED["onnx2c"] = "not on PATH, and neither PyPI nor Debian has it: build it from its sources"
        return
    from fastkd.deploy import export_onnx

    export_onnx(model, folder / "student.onnx", batch=1, nan_guard=False)
    text = subprocess.run([converter, str(folder / "student.onnx")], capture_output=True, text=True, check=True).stdout
    (folder / "onnx2c.c").write_text(text)
    declare = "void entry(const void *x, void *p);"
    for flags in ("-O2", "-O3 -march=native", "-O3 -march=native -ffast-math"):
        sources = [str(folder / "onnx2c.c")]
        add(
            f"onnx2c, gcc {flags}",
            library(folder, f"o2c{len(flags)}", declare, "entry(r, q)", (n_in, n_out), sources, flags, "gcc"),
        )


def m2cgen_refusal() -> None:
    m2cgen, sklearn = optional("m2cgen"), optional("sklearn.neural_network")
    if m2cgen is not None and sklearn is not None:
        try:
            m2cgen.export_to_c(sklearn.MLPClassifier((2,), max_iter=1).fit([[0.0], [1.0]], [0, 1]))
        except Exception as error:
            common.SKIPPED["m2cgen"] = f"{type(error).__name__}: {error}"


def machine_case(kind: str, rounds: int) -> dict[str, Any]:
    from fastkd.deploy import FixedPredictor, export_c, export_onnx
    from fastkd.deploy.export.student import read_student
    from fastkd.losses import softmax

    model = student(kind)
    read = read_student(model)
    X = read.draw(ROWS)
    exact = softmax(read.outputs(X))
    bad = X[:64].copy()
    bad.reshape(64, -1)[np.arange(64), np.arange(64) % bad[0].size] = np.resize([np.nan, np.inf, -np.inf], 64)
    found: list[Contender] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def add(name: str, function: Any) -> None:
            found.append(in_c(name, function, 3, X, bad, exact))

        for number, (label, exported) in enumerate(
            (("fastkd C", model), *((f"fastkd C, {w}", FixedPredictor(model, X, weights=w)) for w in ("int8", "int16")))
        ):
            for cc, flags in COMPILERS[: 3 if number == 0 else 2]:
                if shutil.which(cc) is None:
                    common.SKIPPED[cc] = "not installed"
                    continue
                export_c(exported, folder / "student.c", check=False)
                unique = f"ours{len(found)}"
                source = [str(folder / "student.c")]
                shape = (read.n_inputs, 3)
                add(
                    f"{label}, {cc} {flags}",
                    library(
                        folder, unique, '#include "student.h"', "(void)student_predict(r, q)", shape, source, flags, cc
                    ),
                )
        order = [k for k, c in enumerate(found) if c.name == "fastkd C, gcc -O3 -march=native"]
        found.insert(0, found.pop(order[0]))
        peers_in_c(folder, kind, model, add)
        predict, out = model.predictor(), np.empty(3, np.float32)
        found.append(
            contender("fastkd Predictor, Python", predict, X, bad, exact, lambda: [predict(x, out) for x in X], ())
        )
        if (ort := optional("onnxruntime")) is not None:
            export_onnx(model, folder / "student.onnx")
            options = ort.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = ort.InferenceSession(str(folder / "student.onnx"), options, providers=["CPUExecutionProvider"])
            run = lambda rows: session.run(None, {"x": rows})[0]  # noqa: E731
            one = [X[k : k + 1] for k in range(ROWS)]
            found.append(contender("onnxruntime, our file", run, X, bad, exact, lambda: [run(x) for x in one], ()))
        common.throughput(found, rounds=rounds)
    for c in found:
        c.seconds = [s / ROWS for s in c.seconds]
    return common.case("export", f"{kind}, one row", found)


def instructions(folder: Path, machine: str, flags: str, fixed: bool) -> dict[str, int]:
    """Executed by a call on QEMU's board, by function; and bytes of the object."""
    base = ["arm-none-eabi-gcc", *machine.split(), *flags.split(), "-std=gnu11", "-I."]
    more = ["-DFIXED"] if fixed else []
    link = ["-nostartfiles", "-T", str(BOARD / "cortex_m.ld"), str(BOARD / "count.c"), str(BOARD / "cortex_m.c")]
    subprocess.run([*base, *more, "student.c", *link, "-o", "count.elf"], cwd=folder, check=True)
    board = ["qemu-system-arm", "-M", "mps2-an386", "-icount", "shift=3", "-nographic", "-monitor", "none"]
    host = ["-semihosting-config", "enable=on,target=native", "-kernel", "count.elf"]
    said = subprocess.run([*board, *host], cwd=folder, capture_output=True, text=True, timeout=300)
    words = (said.stdout + said.stderr).split()
    found = {name: int(n) for name, n in zip(words[::2], words[1::2], strict=True)}
    subprocess.run([*base, "-c", "student.c", "-o", "student.o"], cwd=folder, check=True)
    size = subprocess.run(["arm-none-eabi-size", "student.o"], cwd=folder, capture_output=True, text=True, check=True)
    text, data, bss = (int(word) for word in size.stdout.split("\n")[1].split()[:3])
    return found | {"bytes": text, "ram": data + bss}


def board_case(kind: str) -> dict[str, Any] | None:
    from fastkd.deploy import FixedPredictor, export_c
    from fastkd.deploy.export.student import read_student

    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            common.SKIPPED[program] = "not installed"
            return None
    model, found = student(kind), []
    rows = read_student(model).draw(500)
    with tempfile.TemporaryDirectory() as folder:
        for label in ("float", "int8", "int16"):
            export_c(
                model if label == "float" else FixedPredictor(model, rows, weights=label),
                Path(folder) / "student.c",
                check=False,
            )
            for core, machine in (("Cortex-M4F", M4), ("M0+ code", M0)):
                for flags in ("-O2", "-O3", "-Os"):
                    counted = instructions(Path(folder), machine, flags, label != "float")
                    c = Contender(f"fastkd C, {label}, {core} {flags}", lambda: None)
                    c.seconds = [float(counted["predict"])]
                    c.notes = {key: float(n) for key, n in counted.items()}
                    found.append(c)
                    print(f"  {c.name:<40} " + "  ".join(f"{key} {n}" for key, n in counted.items()))
    return common.case("export_board", f"{kind}, instructions of a call", found, compare=False)


def main() -> None:
    options = common.arguments(__doc__)
    m2cgen_refusal()
    common.SKIPPED["TensorFlow Lite Micro"] = "its C++ is not on PyPI or in Debian"
    kinds = KINDS[:1] if options.quick else KINDS
    cases = [machine_case(kind, 3 if options.quick else 15) for kind in kinds]
    cases += [case for kind in (kinds[0],) if (case := board_case(kind)) is not None]
    common.write("speed.export", options, cases)


if __name__ == "__main__":
    main()
