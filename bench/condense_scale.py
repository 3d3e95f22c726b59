"""Condensing 1.3 million rows of 6 features to 20 rows, by every method: time, memory, accuracy on later rows.

The rows are candles of the synthetic market (features "condense6"), the label is whether the next candle closes higher.
Each method runs in a process of its own, on an array, on a memory map and on a stream of blocks. Memory is the peak of
the process's own pages during the call, beyond those before it: pages of the mapped file are the system's cache and do
not count. `python -m bench.condense_scale --json bench/results/condense_scale.json` writes the results.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender

ROWS, LATER, PER_CLASS, BLOCK, SEEDS = 1_300_000, 100_000, 10, 65_536, 3
SOURCES = ("array", "memory map", "stream")
STATM = "/proc/{}/statm"  # Linux only: elsewhere memory is not measured


def make_rows(folder: Path, rows: int, later: int) -> float:
    """Files of features and labels, standardized by the first part; returns the best possible balanced accuracy."""
    from fastkd.features import FeatureSet, Standardizer, direction_labels
    from fastkd.market import synthetic_market

    market = synthetic_market(rows + later + 100, random_state=0, threshold=0.0, interval="1m")
    X, _ = FeatureSet("condense6").transform(market)
    y = direction_labels(market, threshold=0.0)[len(market) - len(X) :]
    best = market.bayes_proba[len(market) - len(X) :]
    first, last = slice(0, rows), slice(rows + 1, rows + 1 + later)  # the label of row `rows` is the next one's move
    scaler = Standardizer().fit(X[first])
    for name, part in (("train", first), ("later", last)):
        np.save(folder / f"{name}_X.npy", scaler.transform(X[part]).astype(np.float32))
        np.save(folder / f"{name}_y.npy", (y[part] > 0).astype(np.int8))
    right = best[last].argmax(axis=1) == y[last]
    return float(np.mean([right[y[last] == c].mean() for c in (0, 2)]))


def job(folder: Path, method: str, source: str) -> dict[str, Any]:
    """Run in a process of its own: says "ready" before the call, "done" after it."""
    from fastkd.condense import condense

    X: Any = np.load(folder / "train_X.npy", mmap_mode=None if source == "array" else "r")
    y: Any = np.load(folder / "train_y.npy")
    if method == "linear_sketch":
        y = 2.0 * y - 1
    warm = np.random.default_rng(0).normal(size=(200, X.shape[1])).astype(np.float32)
    target = np.arange(200.0) / 7 if method == "linear_sketch" else np.arange(200) % 2
    condense(warm, target, method=method, per_class=2, random_state=0, **({} if _chosen(method) else {"iterations": 5}))
    blocks, labels = X, y

    def stream() -> Any:
        return ((blocks[i : i + BLOCK], labels[i : i + BLOCK]) for i in range(0, len(blocks), BLOCK))

    if source == "stream":
        X, y = stream, None
    print("ready", flush=True)
    began = time.perf_counter()
    small = condense(X, y, method=method, per_class=PER_CLASS, random_state=0)
    seconds = time.perf_counter() - began
    print("done", flush=True)
    found = {"seconds": seconds, "rows": len(small), "bytes": small.n_bytes}
    X_later, y_later = np.load(folder / "later_X.npy"), np.load(folder / "later_y.npy")
    if method == "linear_sketch":
        w = np.linalg.lstsq(small.X, small.y, rcond=None)[0]
        return found | {"linear": balanced(X_later @ w > 0, y_later)}
    return found | scores(small, X_later, y_later)


def scores(small: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Balanced accuracy of models trained on the rows, mean over seeds."""
    from fastkd.condense.evaluating import _models

    found = {}
    for name, model in _models(None, False).items():
        fitted = [small.fit(model.set_params(random_state=seed)).predict(X) for seed in range(SEEDS)]
        found[name] = float(np.mean([balanced(p, y) for p in fitted]))
    return found


def balanced(answer: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean([(answer[y == c] == c).mean() for c in (0, 1)]))


def all_rows(folder: Path, epochs: int) -> list[Contender]:
    """What the condensed rows are measured against: the same models trained on every row."""
    from fastkd.models import MLPClassifier

    X, y, X_later, y_later = (np.load(folder / f"{n}.npy") for n in ("train_X", "train_y", "later_X", "later_y"))
    found = []
    for name, hidden in (("mlp", (64,)), ("linear", ())):
        model = MLPClassifier(hidden=hidden, epochs=epochs, batch_size=1024, learning_rate=0.003, random_state=0)
        began = time.perf_counter()
        model.fit(X, y)
        entry = Contender(f"all rows, {name}", model.fit, seconds=[time.perf_counter() - began])
        entry.notes = {name: balanced(model.predict(X_later), y_later), "rows": len(X), "bytes": X.nbytes + len(y)}
        found.append(entry)
    return found


def run(folder: Path, method: str, source: str) -> Contender:
    """Start the process, watch its memory between "ready" and "done", and read what it found."""
    command = [sys.executable, "-m", "bench.condense_scale", "--job", str(folder), method, source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        _expect(process.stdout.readline(), "ready")
        before = peak = own_memory(process.pid)
        while not select.select([process.stdout], [], [], 0.002)[0]:
            peak = max(peak, own_memory(process.pid))
        _expect(process.stdout.readline(), "done")
        found = json.loads(process.stdout.readline())
    entry = Contender(f"fastkd, {source}", print, seconds=[found.pop("seconds")])
    entry.notes = found | ({"extra_mb": (peak - before) / 1e6} if peak else {})
    return entry


def own_memory(pid: int) -> int:
    """Resident pages that belong to no file, in bytes; 0 where the system does not say."""
    try:
        _, resident, shared = Path(STATM.format(pid)).read_text().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * 4096


def _expect(line: str, word: str) -> None:
    if line.strip() != word:
        raise RuntimeError(f"the job ended before it was {word}")


def _chosen(method: str) -> bool:
    from fastkd.condense.condensing import LEARNT

    return method not in LEARNT


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        print(json.dumps(job(Path(sys.argv[2]), sys.argv[3], sys.argv[4])))
        return
    from fastkd.condense import METHODS

    options = common.arguments(__doc__)
    rows, later = (20_000, 5_000) if options.quick else (ROWS, LATER)
    cases = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        best = make_rows(folder, rows, later)
        for method in METHODS:
            if options.only not in method:
                continue
            found = [run(folder, method, source) for source in SOURCES]
            cases.append(common.case("condense_scale", method, found))
        if not options.only:
            found = all_rows(folder, 1 if options.quick else 10)
            found[0].notes["best_possible"] = best
            cases.append(common.case("condense_scale", "all rows", found))
    common.write("condense_scale", options, cases)


if __name__ == "__main__":
    main()
