"""Does self-distillation help? Test accuracy over seeds, against one training and ensembles of the same cost.

Tasks: handwritten digits with 0, 20 and 40 % of the training labels wrong, the synthetic market with 1,000 labelled
candles, and with ``--data FOLDER`` regimes of recorded BTC candles. All methods get the same training rows; the
validation part only picks generations. Run: ``python -m bench.selfdistill --json bench/results/selfdistill.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
from fastkd.distill import (
    BeYourOwnTeacher,
    BornAgain,
    PeriodicLabels,
    SnapshotDistillation,
    TemperatureSchedule,
)
from fastkd.distill.comparison import mean_over_seeds
from fastkd.evaluation import calibration_error, evaluate, selective_curve
from fastkd.models import MLPClassifier

GENERATIONS = 5
FALLING = TemperatureSchedule("exponential", start=4.0, end=1.0, decay=0.7)
PLAIN: dict[str, dict[str, Any]] = {  # what regularizes without any teacher
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "early stopping": {"early_stopping": True, "patience": 5},
    "l2 = 0.01": {"l2": 0.01},
}
BORN_AGAIN: dict[str, dict[str, Any]] = {
    "BAN+L (defaults)": {},
    "BAN+L, T = 1 (paper)": {"temperature": 1.0, "kd_weight": 0.5},
    "BAN, T = 1 (paper)": {"variant": "ban", "temperature": 1.0},
    "CWTM": {"variant": "cwtm"},
    "DKPP, T = 1": {"variant": "dkpp", "temperature": 1.0},
    "BAN+L, T falls 4 to 1": {"temperature": FALLING},
    "BAN+L, noise 0.5": {"noise": 0.5},
    "BAN+L, averaged targets": {"average_targets": True},
    "BAN+L, labels every 3rd": {"kd_weight": PeriodicLabels(every=3, kd_weight=0.9, with_labels=0.3)},
}


@dataclass(frozen=True)
class Task:
    """Parts of one seed: (X, y) to train on, to pick by, and to judge by."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def digits(noise: float) -> Callable[[int], Task]:
    def make(seed: int) -> Task:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(X))
        X, y = X[order] / 16.0, y[order]
        wrong = rng.random(1100) < noise  # validation labels are as noisy as those of training: nobody has better ones
        labels = np.where(wrong, (y[:1100] + rng.integers(1, 10, size=1100)) % 10, y[:1100])
        return Task((X[:900], labels[:900]), (X[900:1100], labels[900:]), (X[1100:], y[1100:]))

    return make


def market(seed: int) -> Task:
    """1,000 candles to learn from, the last fifth of which picks the generation; other 6,000 of the market judge."""
    from fastkd.features import FeatureSet, Standardizer, direction_labels
    from fastkd.market import synthetic_market

    def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        candles = synthetic_market(n, random_state=seed)
        X, _ = FeatureSet("ohlcv4").transform(candles)
        y = direction_labels(candles)[n - len(X) :]
        return X[y >= 0], y[y >= 0]

    X, y = rows(1000, seed)
    cut = round(0.8 * len(y))
    scaler = Standardizer().fit(X[: cut - 1])  # the label of row cut - 1 is known only in row cut
    X_test, y_test = rows(6000, 1000 + seed)
    return Task(
        (scaler.transform(X[: cut - 1]), y[: cut - 1]),
        (scaler.transform(X[cut:]), y[cut:]),
        (scaler.transform(X_test), y_test),
    )


def bitcoin(folder: Path) -> Callable[[int], Task]:
    """Regimes of the next 12 hours, a window of 6,000 candles a seed; windows do not overlap."""
    from fastkd.experiments.generations import parts_in_time
    from fastkd.market import Candles

    found = sorted(folder.glob("*BTCUSDT_1h.csv*"))
    if not found:
        raise FileNotFoundError(f"{folder} has no file *BTCUSDT_1h.csv*")
    candles = Candles.read_csv(found[0])

    def make(seed: int) -> Task:
        first = 6000 * seed
        if first + 6000 > len(candles):
            raise ValueError(f"{len(candles)} candles hold no window number {seed} of 6,000")
        return Task(*parts_in_time(candles[first : first + 6000], "regime", "rich"))

    return make


def methods(task: Task, model: MLPClassifier, seed: int) -> Iterator[tuple[str, float, np.ndarray, dict[str, Any]]]:
    """(name, seconds, test probabilities, further figures) of every method; networks are as many as generations."""
    (X, y), validation, (X_test, y_test) = task.train, task.validation, task.test
    classes = np.unique(np.concatenate([y, validation[1], y_test]))

    def fresh(k: int, **params: Any) -> np.ndarray:
        state = np.random.default_rng([seed, k])
        network = MLPClassifier(**{**model.get_params(), **params, "random_state": state})
        held_out = validation if network.early_stopping else None
        return network.fit(X, y, eval_set=held_out, classes=classes).predict_proba(X_test)

    begin = time.perf_counter()
    networks = [fresh(k) for k in range(GENERATIONS)]
    spent = (time.perf_counter() - begin) / GENERATIONS
    yield "one training", spent, networks[0], {}
    yield f"{GENERATIONS} independent networks", GENERATIONS * spent, np.mean(networks, axis=0), {}
    for name, params in PLAIN.items():
        begin = time.perf_counter()
        networks = [fresh(k, **params) for k in range(GENERATIONS)]
        spent = (time.perf_counter() - begin) / GENERATIONS
        yield f"one training, {name}", spent, networks[0], {}
        yield f"{GENERATIONS} independent, {name}", GENERATIONS * spent, np.mean(networks, axis=0), {}
    for name, params in BORN_AGAIN.items():
        ban = BornAgain(model, GENERATIONS, random_state=seed, **params)
        begin = time.perf_counter()
        ban.fit(X, y, eval_set=validation, classes=classes)
        spent = time.perf_counter() - begin
        probas = ban.member_probas(X_test)
        accuracy = (probas.argmax(axis=2) == y_test).mean(axis=1).tolist()
        more: dict[str, Any] = {"by_generation": accuracy, "best_generation": ban.best_generation_}
        if not params:
            variance = ban.uncertainty(X_test).variance
            more["selective_gain"] = {
                "variance over generations": selective_curve(y_test, probas[-1], variance).gain,
                "own probability": selective_curve(y_test, probas[-1]).gain,
            }
        yield name, spent, probas[ban.best_generation_], more
        if not params:
            yield "BANE: mean of its generations", spent, probas.mean(axis=0), {}
    for way in ("cycles", "average"):
        run = SnapshotDistillation(model, way=way, snapshots=GENERATIONS, random_state=seed)
        begin = time.perf_counter()
        run.fit(X, y, classes=classes)
        spent = time.perf_counter() - begin
        yield f"snapshots, {way}: last", spent, run.predict_proba(X_test), {}
        yield f"snapshots, {way}: mean", spent, run.ensemble_proba(X_test), {}
    for direction in ("deepest", "shallow"):
        net = BeYourOwnTeacher(model, direction=direction, random_state=seed)
        begin = time.perf_counter()
        net.fit(X, y, classes=classes)
        spent = time.perf_counter() - begin
        yield f"exits, {direction} teaches: deepest", spent, net.predict_proba(X_test), {}
        yield f"exits, {direction} teaches: shallowest", spent, net.exits_[0].predict_proba(X_test), {}
        yield f"exits, {direction} teaches: all", spent, net.ensemble_proba(X_test), {}


def run_task(name: str, make: Callable[[int], Task], model: MLPClassifier, seeds: int) -> dict[str, Any]:
    """All methods on all seeds of a task, printed as a table."""
    results: dict[str, dict[str, list[Any]]] = {}
    shares = []
    for seed in range(seeds):
        task = make(seed)
        y_test = task.test[1]
        for method, seconds, proba, more in methods(task, model, seed):
            figures = evaluate(y_test, proba)
            row = results.setdefault(method, {})
            values = {
                "accuracy": figures.accuracy,
                "balanced_accuracy": figures.balanced_accuracy,
                "mcc": figures.mcc,
                "log_loss": figures.log_loss,
                "calibration_error": calibration_error(y_test, proba),
                "seconds": seconds,
                **more,
            }
            for key, value in values.items():
                row.setdefault(key, []).append(value)
        shares.append(figures.shares)
    mean_shares = np.mean(shares, axis=0)
    base = np.array(results["one training"]["accuracy"])
    print(f"\n{name}, {seeds} seeds; majority {100 * np.max(shares, axis=1).mean():.2f} %")
    records = []
    for method, row in results.items():
        accuracy, gain = mean_over_seeds(row["accuracy"]), mean_over_seeds(np.array(row["accuracy"]) - base)
        record: dict[str, Any] = {"name": method, "accuracy": list(accuracy), "gain": list(gain)}
        names = ("balanced_accuracy", "mcc", "log_loss", "calibration_error", "seconds")
        record |= {key: float(np.mean(row[key])) for key in names}
        if "by_generation" in row:
            columns = np.array(row["by_generation"]).T
            record["by_generation"] = [list(mean_over_seeds(column)) for column in columns]
            record["best_generation"] = row["best_generation"]
        if "selective_gain" in row:
            record["selective_gain"] = {
                key: list(mean_over_seeds([part[key] for part in row["selective_gain"]]))
                for key in row["selective_gain"][0]
            }
        records.append(common.rounded(record))
        print(
            f"  {method:<40}{accuracy!s:<15} gain {100 * gain.value:+.2f} ± {100 * gain.half:.2f}  "
            f"log-loss {record['log_loss']:.3f}  ECE {record['calibration_error']:.3f}  {record['seconds']:.3f} s"
        )
    return {
        "task": name,
        "seeds": seeds,
        "class_shares": np.round(mean_shares, 4).tolist(),
        "majority": round(float(np.max(shares, axis=1).mean()), 4),
        "model": repr(model),
        "methods": records,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with recorded candles *BTCUSDT_1h.csv.gz")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="repetitions (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="2 seeds: to see that all of it runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the tasks whose name contains TEXT")
    options = parser.parse_args()
    seeds = 2 if options.quick else options.seeds
    model = MLPClassifier((64, 64), learning_rate=3e-3, epochs=50)
    small = MLPClassifier((32, 16), learning_rate=3e-3, epochs=50)
    tasks: list[tuple[str, Callable[[int], Task], MLPClassifier, int]] = [
        (f"digits, {100 * noise:.0f} % of labels wrong", digits(noise), model, seeds) for noise in (0.0, 0.2, 0.4)
    ]
    tasks.append(("synthetic market, 1,000 labelled candles", market, small, seeds))
    if options.data is not None:
        tasks.append(("BTC regimes, 12 hours ahead", bitcoin(options.data), small, min(seeds, 8)))
    else:
        common.SKIPPED["BTC regimes"] = "needs --data FOLDER with recorded candles"
    cases = [run_task(*task) for task in tasks if options.only in task[0]]
    common.write("selfdistill", options, cases)


if __name__ == "__main__":
    main()
