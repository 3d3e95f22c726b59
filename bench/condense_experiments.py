"""What condensation is worth: images at 1, 10 and 50 rows a class, the linear model, BTC candles, a crash.

Every cell is a mean and a standard deviation over seeds. Candles are read from the folder FASTKD_DATA. Run:
``python -m bench.condense_experiments --json bench/results/condense_experiments.json``; with ``--only TEXT`` the other
cases of that file stay as they are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bench import common
from bench import condense_data as data
from fastkd.condense import Condensed, condense, condense_regimes, evaluate_walk_forward
from fastkd.evaluation import evaluate
from fastkd.models import MLPClassifier

METHODS = ("random", "herding", "kcenter", "kmedoids", "centroids", "gradient_matching", "distribution_matching",
           "feature_alignment", "trajectory_matching", "unrolled", "kip", "gradient_matching from centroids",
           "unrolled from centroids",
           "kip from centroids")  # fmt: skip
Figures = dict[str, list[float]]
Case = tuple[str, str, str, Callable[[bool], dict[str, Any]]]


def downstream(hidden: tuple[int, ...] = (64,)) -> MLPClassifier:
    """Trained on a condensed set: nothing is tuned to the method."""
    return MLPClassifier(hidden=hidden, epochs=300, learning_rate=0.01, n_iter_no_change=20, l2=1e-4)


def summary(figures: Figures) -> dict[str, Any]:
    return {
        name: {
            "mean": round(float(np.mean(v)), 5),
            "sd": round(float(np.std(v, ddof=1)) if len(v) > 1 else 0.0, 5),
            "values": [round(float(x), 5) for x in v],
        }
        for name, v in figures.items()
    }


def way(name: str) -> dict[str, Any]:
    """Options of `condense`: "kip from centroids" is kip whose rows begin as centroids, not as real rows."""
    method, _, init = name.partition(" from ")
    return {"method": method, "init": init} if init else {"method": method}


def image_case(name: str, per_class: int, method: str, seeds: int, **options: Any) -> Figures:
    """Accuracy of a perceptron and of softmax regression on real images; condensed and trained anew for each seed.

    The learning rate is searched for with the first seed, whose time is given, and kept for the others.
    """
    X, y, X_test, y_test = data.images(name)
    figures: Figures = {"accuracy": [], "linear": [], "seconds": []}
    for seed in range(seeds):
        began = time.perf_counter()
        if method == "all rows":
            small = Condensed(X, y)
        else:
            small = condense(X, y, **way(method), per_class=per_class, random_state=seed, **options)
        if seed == 0:
            figures["seconds"].append(time.perf_counter() - began)
            if "learning_rate" in small.history:
                options["learning_rate"] = small.history["learning_rate"]
        for key, hidden in (("accuracy", (64,)), ("linear", ())):
            model = small.fit(downstream(hidden).set_params(random_state=seed))
            figures[key].append(float((model.predict(X_test) == y_test).mean()))
    return figures


def image_cases(name: str, seeds: int) -> Iterator[Case]:
    """A case a method, so that a long run can be stopped and go on with ``--only``."""
    for per_class in (1, 10, 50):
        for method in METHODS:

            def run(quick: bool, per_class: int = per_class, method: str = method) -> dict[str, Any]:
                options = {"iterations": 10} if quick and METHODS.index(method) > 4 else {}
                cell = summary(image_case(name, per_class, method, 2 if quick else seeds, **options))
                shown(method, cell)
                return {method: cell}

            yield name, f"{per_class} a class", method, run
    yield (
        name,
        "all rows",
        "",
        lambda quick: {"all rows": summary(image_case(name, 0, "all rows", 2 if quick else seeds))},
    )


def walk_case(file: str, rows: int, quick: bool) -> dict[str, Any]:
    """Condensed in each training part, judged on the rows after it; 7 rows a class."""
    X, y = data.directions(file)
    X, y = X[-rows:], y[-rows:]
    if quick:
        X, y = X[-3000:], y[-3000:]
    steps: dict[str, Any] = {"iterations": 10} if quick else {}
    wanted = {
        "herding": {},
        "kcenter": {},
        "gradient_matching": steps,
        "gradient_matching softmax": {"method": "gradient_matching", "model": "softmax", **steps},
        "distribution_matching": steps,
        "feature_alignment": steps,
        "trajectory_matching": steps,
        "unrolled": steps,
        "unrolled from centroids": way("unrolled from centroids") | steps,
        "kip": {"kernel": "rbf", **steps},
    }
    seeds = 1 if quick else 2
    report = evaluate_walk_forward(wanted, X, y, folds=3, purge=1, per_class=7, seeds=seeds, random_state=0)
    cells: dict[str, Any] = {}
    for t in report.trials:
        cell = cells.setdefault("all rows" if t.full else t.name, {})
        balanced = t.scores @ report.weights()
        cell |= summary(
            {f"{t.model} balanced": balanced.tolist(), f"{t.model} accuracy": t.scores.mean(axis=1).tolist()}
        )
        cell |= summary({"seconds": [t.condense_seconds]})
    facts = {"verdict": report.verdict.splitlines(), "majority": report.majority, "test_rows": len(report.y_test)}
    return cells | {"facts": facts}


def linear_case(quick: bool) -> dict[str, Any]:
    """Least squares on six features: the exact sketch against 20 rows made in other ways."""
    X, y, X_later, y_later = data.ranges()
    w_all = np.linalg.lstsq(X, y, rcond=None)[0]
    cells: dict[str, Any] = {}
    methods = ("linear_sketch", "gradient_matching", "unrolled", "kip", "centroids", "kmedoids", "random")
    for method in methods:
        figures: Figures = {"rows": [], "gradient": [], "weights": [], "r2": [], "seconds": []}
        for seed in range(2 if quick else 5):
            options: dict[str, Any] = {}
            if method in ("gradient_matching", "unrolled"):
                options = {"model": "linear", "learn_labels": True}
            if quick and method in ("gradient_matching", "unrolled", "kip"):
                options["iterations"] = 10
            small = condense(X, y, method=method, per_class=20, random_state=seed, **options)
            figures["seconds"].append(small.info["seconds"])
            figures["rows"].append(len(small))
            w = np.linalg.lstsq(small.X, small.y, rcond=None)[0]
            figures["weights"].append(float(np.linalg.norm(w - w_all) / np.linalg.norm(w_all)))
            figures["gradient"].append(gradient_error(X, y, small, np.random.default_rng(seed)))
            residual = ((X_later @ w - y_later) ** 2).mean() / y_later.var()
            figures["r2"].append(float(1 - residual))
        cells[method] = summary(figures) | {"gradient": {"mean": float(np.mean(figures["gradient"]))}}
        cells[method]["weights"] = {"mean": float(np.mean(figures["weights"]))}
        shown(method, cells[method])
    full = 1 - ((X_later @ w_all - y_later) ** 2).mean() / y_later.var()
    return cells | {"all rows": summary({"r2": [float(full)], "rows": [len(X)]})}


def gradient_error(X: np.ndarray, y: np.ndarray, small: Condensed, rng: np.random.Generator) -> float:
    """Relative error of the least-squares gradient, mean over random weights, whatever its length."""
    errors = []
    for _ in range(20):
        w = rng.normal(size=X.shape[1])
        g, s = X.T @ (X @ w - y), small.X.T @ (small.X @ w - small.y)
        errors.append(np.linalg.norm(g - s * (g @ s) / (s @ s)) / np.linalg.norm(g))
    return float(np.mean(errors))


def crash_case(which: str, quick: bool) -> dict[str, Any]:
    """18 rows: 6 of each class, or 2 of each class in each regime; with and without the weights of the shares."""
    task = data.crash(which)
    cells: dict[str, Any] = {}
    for method in ("random", "centroids", "kmedoids", "distribution_matching", "gradient_matching", "kip",
                   "unrolled from centroids"):  # fmt: skip
        options: dict[str, Any] = way(method) | ({"kernel": "rbf"} if method == "kip" else {})
        if quick and method not in ("random", "centroids", "kmedoids"):
            options["iterations"] = 10
        found: dict[str, Figures] = {}
        for seed in range(2):
            one = condense(task.X, task.y, per_class=6, random_state=seed, class_weights="prior", **options)
            by_regime = condense_regimes(task.X, task.y, task.regimes, per_class=2, random_state=seed, **options)
            for how, small in (("classes", one), ("regimes", by_regime)):
                for weighted, rows in (("equal", replace(small, sample_weight=None)), ("weighted", small)):
                    judge(found.setdefault(f"{method}, {how}, {weighted}", {}), rows, task, seed)
        for name, figures in found.items():
            cells[name] = summary(figures)
            shown(name, cells[name])
    figures = {}
    for seed in range(1 if quick else 2):
        judge(figures, Condensed(task.X, task.y), task, seed)
    shares = np.bincount(task.y) / len(task.y)
    facts = {test: class_facts(y, shares) for test, (_, y) in task.tests.items()}
    return cells | {"all rows": summary(figures), "facts": {"train_rows": len(task.y), "tests": facts}}


def judge(figures: Figures, small: Condensed, task: data.CrashTask, seed: int) -> None:
    model = small.fit(downstream(()).set_params(random_state=seed, l2=1e-2))
    for test, (X, y) in task.tests.items():
        p = np.maximum(model.predict_proba(X), 1e-6)  # on wild candles some are 0, and their log-loss infinite
        report = evaluate(y, p / p.sum(axis=1, keepdims=True))
        for metric in ("accuracy", "balanced_accuracy", "log_loss"):
            figures.setdefault(f"{test} {metric}", []).append(float(getattr(report, metric)))


def class_facts(y: np.ndarray, shares: np.ndarray) -> dict[str, Any]:
    constant = evaluate(y, np.tile(shares, (len(y), 1)))
    return {"rows": len(y), "shares": (np.bincount(y, minlength=3) / len(y)).tolist(),
            "majority": float(constant.majority or 0), "log_loss_of_training_shares": constant.log_loss}  # fmt: skip


def shown(name: str, cell: dict[str, Any]) -> None:
    print(f"  {name:<44}" + "  ".join(f"{k} {v['mean']:.4g}" for k, v in cell.items()), flush=True)


def cases(seeds: int) -> Iterator[Case]:
    yield from image_cases("digits", seeds)
    yield from image_cases("MNIST", seeds)
    yield "linear", "BTC 1 h, log range of the next candle", "", linear_case
    yield "BTC 1 h", "walk forward", "", lambda quick: walk_case("BTCUSDT_1h", 20_000, quick)
    yield "BTC 5 min", "walk forward", "", lambda quick: walk_case("BTCUSDT_5m", 20_000, quick)
    yield "crash", "before", "", lambda quick: crash_case("before", quick)
    yield "crash", "after", "", lambda quick: crash_case("after", quick)


def main() -> None:
    options = common.arguments(__doc__)
    kept: list[dict[str, Any]] = []
    if options.json is not None and options.json.exists() and options.only:
        kept = json.loads(options.json.read_text())["cases"]
    for table, row, name, run in cases(3):
        if options.only not in f"{table} {row} {name}":
            continue
        reason = data.unavailable("BTC 1 h" if table == "linear" else table)
        if reason is not None:
            common.SKIPPED.setdefault(table, reason)
            continue
        print(f"\n{table}: {row}", flush=True)
        cells = run(options.quick)
        case = next((c for c in kept if (c["table"], c["row"]) == (table, row)), None)
        if case is None:
            kept.append(case := {"table": table, "row": row, "facts": {}, "cells": {}})
        case["facts"] |= cells.pop("facts", {})
        case["cells"] |= cells
        common.write("condense_experiments", options, kept)


if __name__ == "__main__":
    sys.exit(main())
