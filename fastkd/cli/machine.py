"""`fastkd doctor` and `fastkd bench`: what is installed here, whether it computes right, and how fast it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import textwrap
from typing import Any

import numpy as np

from fastkd.cli.common import STDIN, Json, check, say_steps, write_json

__all__ = ["bench", "doctor"]

USED = ("numpy", "safetensors", "scipy", "requests")
EXTRAS = {
    "cli": ("cyclopts", "rich", "matplotlib"),
    "live": ("websockets",),
    "parquet": ("pyarrow",),
    "flower": ("flwr",),
    "others": ("pandas", "polars", "scikit-learn", "torch", "onnxruntime", "lightgbm", "xgboost"),
}


def doctor(*, json: Json = None) -> int:
    """What is installed: version, instruction sets, packages; and whether the kernels compute what they should here.

    Exits with 1 if something is wrong.

    Parameters
    ----------
    json
        Also write it as JSON; - for standard output.
    """
    import fastkd
    from fastkd._core._native import available_isas
    from fastkd._core.info import notice

    check({"--json": json}, {})
    packages = {name: _version(name) for name in USED}
    extras = {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()}
    faults = [*_wrong_results(), *_environment(), *filter(None, [notice()])]
    found: dict[str, Any] = {
        "fastkd": fastkd.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "isa": fastkd.isa(),
        "available": list(available_isas()),
        "forced": os.environ.get("FASTKD_ISA") or None,
        "where": os.path.dirname(fastkd.__file__),
        "packages": packages,
        "extras": extras,
        "problems": faults,
    }
    write_json(json, found)
    if str(json) != STDIN:
        print(f"fastkd {found['fastkd']}, Python {found['python']}, {found['system']}, {found['cores']} cores")
        forced = " (forced by FASTKD_ISA)" if found["forced"] else ""
        print(f"kernels   {found['isa']}{forced}; this build and CPU have {', '.join(found['available'])}")
        print(f"installed {found['where']}")
        print("needs     " + ", ".join(f"{name} {version or 'MISSING'}" for name, version in packages.items()))
        for extra, versions in extras.items():
            has = ", ".join(f"{name} {version or '-'}" for name, version in versions.items())
            print(textwrap.fill(f"{extra:9} {has}", 80, subsequent_indent=" " * 10))
        for fault in faults:
            print(f"problem   {fault}")
        print("All is well." if not faults else f"{len(faults)} problem(s).")
    return 1 if faults else 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _wrong_results() -> list[str]:
    """Kernels against NumPy's definition, in both types, and a model through a file."""
    import fastkd
    from fastkd import aggregate, losses
    from fastkd.models import MLPClassifier

    rng = np.random.default_rng(0)
    faults = []
    for dtype, bound in ((np.float32, 1e-5), (np.float64, 1e-12)):
        z = rng.normal(size=(100, 7)).astype(dtype)
        want = np.exp(z.astype(np.float64))
        want /= want.sum(axis=1, keepdims=True)
        updates = rng.normal(size=(9, 1001)).astype(dtype)
        pairs = {
            "softmax": (losses.softmax(z), want),
            "median": (aggregate.median(updates), np.median(updates.astype(np.float64), axis=0)),
            "mean": (aggregate.mean(updates), updates.astype(np.float64).mean(axis=0)),
        }
        for name, (got, right) in pairs.items():
            error = float(np.abs(got - right).max())
            if not error <= bound:
                faults.append(f"{name} in {np.dtype(dtype).name} is wrong by {error:.2g}")
    X = rng.normal(size=(50, 4)).astype(np.float32)
    model = MLPClassifier((8,), random_state=0).initialize(4, 3)
    if not np.allclose(model.predictor()(X), model.predict_proba(X), atol=1e-5):
        faults.append("the predictor disagrees with its model")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path)
        if not np.array_equal(fastkd.load(path).parameters, model.parameters):
            faults.append("a model does not come back from its file")
    return faults


def _environment() -> list[str]:
    import sqlite3

    from fastkd._core._native import available_isas, isa

    faults = []
    best = available_isas()[0]
    if isa() != best:
        faults.append(f"the kernels are {isa()}, though {best} is there: FASTKD_ISA={os.environ.get('FASTKD_ISA', '')}")
    if best == "scalar" or (platform.machine().lower() in ("x86_64", "amd64") and best == "baseline"):
        faults.append(f"only {best} kernels: the CPU, or a virtual machine, has no AVX2; several times slower")
    if sqlite3.sqlite_version_info < (3, 24):
        faults.append(f"SQLite {sqlite3.sqlite_version} is too old for a store of candles; 3.24 is needed")
    if sys.flags.optimize:
        faults.append("Python runs with -O: assertions are off")
    return faults


def bench(*, seconds: float = 60.0, json: Json = None, quiet: bool = False) -> int:
    """Speed on this machine against NumPy and what else is installed; both take turns, so that they meet the same load.

    Parameters
    ----------
    seconds
        About how long it may take.
    json
        Also write the figures; - for standard output.
    quiet
        Print errors only.
    """
    from fastkd.experiments.speed import WORKLOADS, measure

    check({"--json": json}, {})
    if not seconds > 0:
        raise ValueError(f"--seconds must be above 0; got {seconds}")
    say = say_steps(quiet)
    rows = []
    for name, make in WORKLOADS.items():
        say(name)
        rows += measure(name, make, seconds / len(WORKLOADS))
    write_json(json, rows)
    if not quiet and str(json) != STDIN:
        print(f"\n{'':34}{'fastkd':>10}  {'other':22}{'':>9}{'ratio':>5}")
        for row in rows:
            line = f"{row['what']:34}{_time(row['fastkd']):>10}"
            print(f"{line}  {row['other']:22}{_time(row['theirs']):>9}{row['theirs'] / row['fastkd']:>5.1f}")
        print("Smallest times; a ratio above 1: fastkd is that many times faster.")
    return 0


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns"
