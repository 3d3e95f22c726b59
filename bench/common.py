"""Timing, environment information and JSON output shared by all benchmarks.

All contenders of a case are timed in one process in alternating rounds, so that whatever else the machine does
hits all of them alike; the medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench import THREADS

PACKAGES = ("fastkd", "numpy", "scipy", "scikit-learn", "numba", "jax", "torch", "onnxruntime")
SKIPPED: dict[str, str] = {}


def load_average() -> float | None:
    """Runnable processes over the last minute; the benchmark itself is one of them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


LOAD_BEFORE = load_average()


@dataclass
class Contender:
    """One way of doing the work of a case: ``call(*args)``, its errors, and what the clock said."""

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    errors: dict[str, float] = field(default_factory=dict)  # what is compared -> its error
    notes: dict[str, float] = field(default_factory=dict)  # further numbers worth keeping
    seconds: list[float] = field(default_factory=list)  # per call, one entry a round
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    latency_ns: list[int] = field(default_factory=list)  # one entry a call

    def record(self, timer_ns: float = 0.0) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "ours": self.name.startswith("fastkd")}
        if self.seconds:
            low, median, high = np.percentile(self.seconds, [25, 50, 75])
            out |= {"seconds": float(median), "seconds_q25": float(low), "seconds_q75": float(high)}
            out |= {"seconds_min": min(self.seconds)}
        if self.wall_seconds:
            out["cpu_per_wall"] = round(self.cpu_seconds / self.wall_seconds, 2)  # above 1: it used more than one core
        if self.latency_ns:
            p50, p99, p999 = (max(float(q) - timer_ns, 0.0) for q in np.percentile(self.latency_ns, [50, 99, 99.9]))
            out["latency_ns"] = {"p50": p50, "p99": p99, "p99.9": p999, "calls": len(self.latency_ns)}
        if self.errors:
            out["errors"] = self.errors
        if self.notes:
            out["notes"] = self.notes
        return rounded(out)


def rounded(value: Any) -> Any:
    """Keep four significant digits: timings hold no more, and result files stay readable."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def optional(name: str, attribute: str | None = None) -> ModuleType | None:
    """Import a library with one thread; None, and a note in the results, where it (or the attribute) is missing."""
    try:
        module = importlib.import_module(name)
        if attribute is not None and not hasattr(module, attribute):
            raise ImportError(f"{name} has no {attribute}")
    except ImportError as error:
        SKIPPED.setdefault(name, str(error))
        return None
    if name == "torch":
        module.set_num_threads(THREADS)
    if name == "jax":  # run in the calling thread: one thread indeed, and faster on small work
        module.config.update("jax_cpu_enable_async_dispatch", False)
    return module


# ---------------------------------------------------------------------------------------------- timing


def _timer(contender: Contender) -> timeit.Timer:
    names = [f"a{i}" for i in range(len(contender.args))]
    scope = dict(zip(names, contender.args, strict=True)) | {"call": contender.call}
    return timeit.Timer(f"call({', '.join(names)})", globals=scope)


def throughput(contenders: Sequence[Contender], *, rounds: int, sample_seconds: float = 0.01) -> None:
    """Time every contender once a round; a sample repeats the call until it fills `sample_seconds`."""
    timers = [_timer(c) for c in contenders]
    repeats = [_repeats(timer, sample_seconds) for timer in timers]
    for turn in range(rounds):
        for i in rotated(len(contenders), turn):
            cpu = time.process_time()
            wall = timers[i].timeit(repeats[i])
            contenders[i].cpu_seconds += time.process_time() - cpu
            contenders[i].wall_seconds += wall
            contenders[i].seconds.append(wall / repeats[i])


def _repeats(timer: timeit.Timer, sample_seconds: float) -> int:
    """How many calls fill a sample; the calls made to find out also compile and warm up."""
    timer.timeit(1)
    number = 1
    while (spent := timer.timeit(number)) < sample_seconds / 4:
        number *= 4
    return max(1, round(number * sample_seconds / spent))


def rotated(n: int, turn: int) -> list[int]:
    """Another contender begins each round, and every second round runs backwards, so that neighbors change."""
    order = [(i + turn) % n for i in range(n)]
    return order[::-1] if turn % 2 else order


def _latency_loop(n_args: int) -> Callable[..., None]:
    """A loop that reads the clock around every call; generated, because ``call(*args)`` would cost tens of ns."""
    names = ", ".join(f"a{i}" for i in range(n_args))
    source = f"""
def loop(n, store, call, {names}):
    clock = now
    for i in range(n):
        begin = clock()
        call({names})
        end = clock()
        store(end - begin)
"""
    scope: dict[str, Any] = {"now": time.perf_counter_ns}
    exec(source, scope)
    return scope["loop"]


def timer_overhead_ns(n: int = 20_000) -> float:
    """Median of two clock readings with nothing between them: taken off every latency."""
    clock = time.perf_counter_ns
    gaps = []
    for _ in range(n):
        begin = clock()
        end = clock()
        gaps.append(end - begin)
    return float(statistics.median(gaps))


def latency(contenders: Sequence[Contender], *, calls: int, rounds: int = 20, budget: float = 4.0) -> None:
    """Clock single calls in alternating blocks; the first calls of a block warm caches and do not count.

    Each contender gets `calls` calls; those that would need more than `budget` seconds get fewer, at least a tenth.
    """
    warm = 100
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for i in rotated(len(contenders), turn):
                c = contenders[i]
                loop = _latency_loop(len(c.args))
                affordable = int(budget / statistics.median(c.seconds)) if c.seconds else calls
                block = max(1, min(calls, max(affordable, calls // 10)) // rounds)
                loop(warm, [].append, c.call, *c.args)
                loop(block, c.latency_ns.append, c.call, *c.args)
    finally:
        gc.enable()


# ---------------------------------------------------------------------------------------- results, JSON


def require(contenders: Sequence[Contender], tolerance: float) -> None:
    """Refuse to time a contender that does not do the work."""
    for c in contenders:
        for what, error in c.errors.items():
            if not error <= tolerance:
                raise ValueError(f"{c.name}: error of {what} is {error:.1e}, above {tolerance:.0e}: not the same work")


def case(
    table: str, row: str, contenders: Sequence[Contender], *, timer_ns: float = 0.0, compare: bool = True
) -> dict[str, Any]:
    """One row of a table, printed as it is made. The first contender of ours is the one that is compared."""
    records = [c.record(timer_ns) for c in contenders]
    print(f"\n{table}: {row}")
    for r in sorted(records, key=lambda r: r.get("seconds", 0.0)):
        errors = "  ".join(f"{k} {v:.1e}" for k, v in r.get("errors", {}).items())
        tail = "  ".join(f"{k} {v:.0f} ns" for k, v in r.get("latency_ns", {}).items() if k != "calls")
        notes = "  ".join(f"{k} {v:.2g}" for k, v in r.get("notes", {}).items())
        print(f"  {r['name']:<34}{format_seconds(r.get('seconds', 0.0)):>10}  {errors}  {tail}  {notes}".rstrip())
    return {"table": table, "row": row, "compare": compare, "contenders": records}


def format_seconds(seconds: float) -> str:
    """Three significant digits with the unit that fits: 0.123 us, 45.6 ms."""
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)) if seconds >= s), ("us", 1e-6))
    value = seconds / scale
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not found"
    return (done.stdout or done.stderr).splitlines()[0] if done.stdout or done.stderr else "no answer"


def environment() -> dict[str, Any]:
    """Machine, compilers, versions and load: what a reader needs to judge or repeat the numbers."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        cpu = next((line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                    if line.startswith("model name")), cpu)  # fmt: skip
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    fastkd = optional("fastkd") if optional("fastkd._core._native") else None
    if fastkd is not None:
        versions["fastkd"] = fastkd.__version__
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index,call-overload]
    return {
        "cpu": cpu,
        "logical_cpus": os.cpu_count(),
        "threads": THREADS,
        "isa": fastkd.isa() if fastkd is not None else None,
        "os": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_compiler": platform.python_compiler(),
        "c_compiler": _first_line(os.environ.get("CC", "cc"), "--version"),
        "numpy_blas": f"{blas.get('name')} {blas.get('version')}",
        "versions": versions,
        "load_before_and_after": [LOAD_BEFORE, load_average()],
    }


def arguments(description: str | None, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line every benchmark shares."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there")
    parser.add_argument("--quick", action="store_true", help="few rounds and small data: to see that all of it runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose table or row contains TEXT")
    return parser.parse_args(argv)


def write(name: str, options: argparse.Namespace, cases: list[dict[str, Any]]) -> None:
    """Print what was skipped; write the JSON result if a path was given."""
    for library, reason in SKIPPED.items():
        print(f"skipped: {library} ({reason})", file=sys.stderr)
    if options.json is None:
        return
    flags = (" --quick" if options.quick else "") + (f" --only '{options.only}'" if options.only else "")
    result = {
        "bench": name,
        "command": f"python -m bench.{name} --json bench/results/{name.rpartition('.')[2]}.json{flags}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "quick": options.quick,
        "environment": environment(),
        "skipped": SKIPPED,
        "cases": cases,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {options.json}")
