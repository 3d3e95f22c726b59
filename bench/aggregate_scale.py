"""Aggregation of updates that do not fit in memory, and how time grows with clients and parameters.

Writes n clients of d float32 numbers to files (in --folder), takes rules over them by blocks of columns, and tells the
time and the largest resident memory of this process; then times rules in memory for growing n and d.
Run: ``python -m bench.aggregate_scale [--clients 1000] [--parameters 1000000] [--folder DIR] [--curve]``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastkd import aggregate

WIDTH = 1 << 16
CURVE = [(10, 1000), (100, 1000), (1000, 1000), (10_000, 1000), (100, 10_000), (100, 100_000), (1000, 100_000)]


def write(folder: Path, n: int, d: int) -> list[Path]:
    paths = [folder / f"client{i}.f32" for i in range(n)]
    for i, path in enumerate(paths):
        rng = np.random.default_rng(i)
        with path.open("wb") as file:
            for c in range(0, d, 1 << 20):
                file.write(rng.standard_normal(min(1 << 20, d - c), np.float32).tobytes())
    return paths


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def from_files(folder: Path, n: int, d: int, workers: int) -> None:
    paths = write(folder, n, d)

    def blocks() -> Iterator[np.ndarray]:
        block = np.empty((n, WIDTH), np.float32)
        for c in range(0, d, WIDTH):
            have = min(WIDTH, d - c)
            for row, path in zip(block, paths):
                row[:have] = np.fromfile(path, np.float32, have, offset=4 * c)
            yield block[:, :have]

    f = n // 10
    for name, options in (
        ("mean", {}),
        ("median", {}),
        ("trimmed_mean", {"f": f}),
        ("krum", {"f": f}),
        ("multi_krum", {"f": f, "m": n // 2}),
    ):
        begin = time.perf_counter()
        aggregate.by_blocks(name, blocks, workers=workers, **options)
        seconds = time.perf_counter() - begin
        print(f"{name:14} {n} x {d} float32, {4 * n * d / 2**30:.2f} GiB in files: {seconds:.1f} s, "
              f"at most {peak():.2f} GiB resident", flush=True)  # fmt: skip


def curve(workers: int) -> None:
    for n, d in CURVE:
        X = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
        f = (n - 3) // 4
        for name, options in (("mean", {}), ("median", {}), ("krum", {"f": f}), ("bulyan", {"f": f}),
                              ("geometric_median", {})):  # fmt: skip
            best = np.inf
            for _ in range(3):
                begin = time.perf_counter()
                aggregate.get(name, **options)(X, workers=workers)
                best = min(best, time.perf_counter() - begin)
            print(f"{name:16} {n:6} x {d:7}: {best * 1e3:10.3f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to write the updates (a temporary folder by default)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--curve", action="store_true", help="time against n and d, in memory, instead")
    options = parser.parse_args()
    if options.curve:
        curve(options.workers)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        from_files(Path(folder), options.clients, options.parameters, options.workers)


if __name__ == "__main__":
    main()
