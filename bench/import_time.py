"""What importing fastkd costs beyond NumPy, which nearly every user has loaded already.

Each sample is a fresh interpreter that imports NumPy, reads the clock, and imports the library; alternating rounds.
Run: ``python -m bench.import_time --json PATH [--quick]``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from bench import common
from bench.common import Contender

LIBRARIES = ("fastkd", "fastkd.models", "fastkd.deploy",
             "numba", "onnxruntime", "sklearn.neural_network", "jax", "torch")  # fmt: skip
HEAVY = ("scipy", "requests", "pandas", "sklearn", "matplotlib", "rich")
PROGRAM = """
import sys, time
t0 = time.perf_counter()
import numpy
t1 = time.perf_counter()
import {library}
t2 = time.perf_counter()
print(t1 - t0, t2 - t1, *[name for name in {heavy} if name in sys.modules])
"""


def sample(library: str) -> tuple[float, float, list[str]]:
    """Seconds for NumPy, seconds for the library after it, and the heavy modules it brought along."""
    program = PROGRAM.format(library=library, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    numpy_seconds, seconds, *heavy = done.stdout.split()
    return float(numpy_seconds), float(seconds), heavy


def main() -> None:
    options = common.arguments(__doc__)
    rounds = 3 if options.quick else 15
    numpy = Contender("numpy itself", lambda: None)
    found = []
    for library in LIBRARIES:
        try:
            if importlib.util.find_spec(library) is None:
                raise ImportError("not installed")
            heavy = sample(library)[2]  # also writes the byte code, so that no round pays for it
        except (ImportError, subprocess.CalledProcessError) as error:
            common.SKIPPED[library] = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
            continue
        if library == "fastkd" and heavy:
            raise SystemExit(f"import fastkd must not import {', '.join(heavy)}")
        found.append(Contender(library, lambda: None))
    for turn in range(rounds):
        for i in common.rotated(len(found), turn):
            numpy_seconds, seconds, _ = sample(found[i].name)
            found[i].seconds.append(seconds)
            numpy.seconds.append(numpy_seconds)
    row = common.case("import_time", "import, NumPy already loaded", [*found, numpy], compare=False)
    common.write("import_time", options, [row])


if __name__ == "__main__":
    main()
