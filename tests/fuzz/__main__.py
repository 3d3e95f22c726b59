"""Random calls in random guises: python tests/fuzz [--seconds 600] [--seed 7] [--only 1234]; see README.md."""

import argparse
import faulthandler
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH may be set

import numpy as np
from fuzz_calls import NATIVE, PUBLIC
from fuzz_checks import attack

import fastkd
from fastkd._core import _native


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description="Random calls of fastkd in random guises.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="by default the time")
    parser.add_argument("--only", type=int, help="run this one check of that seed")
    parser.add_argument("--log", type=Path, help="file that says which check runs, for when the process dies")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    tables = {**PUBLIC, **NATIVE}
    counts: Counter[str] = Counter()
    failures, end, i = 0, time.monotonic() + options.seconds, options.only or 0
    while time.monotonic() < end or i == options.only:
        rng = np.random.default_rng([options.seed, i])
        name = str(rng.choice(list(tables)))
        _native._use_isa(str(rng.choice(_native.available_isas())))
        said = name

        def note(what: str, number: int = i) -> None:
            nonlocal said
            said = f"--seed {options.seed} --only {number}: {what}, {fastkd.isa()}"
            if options.log:
                options.log.write_text(said + "\n", encoding="utf-8")

        note(name)
        try:
            attack(tables[name](rng), name in NATIVE, rng, note)
        except Exception as error:
            failures += 1
            print(f"{said}\n    {type(error).__name__}: {error}", flush=True)
        counts[name] += 1
        if i == options.only:
            break
        i += 1
    print(f"{sum(counts.values())} checks of {len(counts)} calls from seed {options.seed}: {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
