"""What federated distillation gains, loses and withstands, by experiment; nothing is timed here.

few labels    ten clients of ten architectures with two labels a class (digits): alone, FedMD, FedAvg, all labels pooled
              in one place; the same with unequal shares of the classes
unlabelled    one student with 100 labels, and 100 labels and a teacher's view of unlabelled rows (digits)
attacks       the same ten clients, three of them hostile: accuracy of the honest seven by attack and rule
noise         what a privacy budget costs, and what a membership attack finds with and without the noise
venues        each file of candles a client, walk-forward: alone, FedMD, FedAvg, pooled; then one of them hostile

Run: ``python -m bench.fedmd --data FOLDER --json bench/results/fedmd.json``; without --data, no venues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
from fastkd.distill import distill
from fastkd.experiments.venues import FEDMD, VenueSettings, read_venues, run_venues
from fastkd.federated import (
    ClassPrior,
    Client,
    ConstantClass,
    ExpGuard,
    FedMD,
    GaussianMechanism,
    LossMaximization,
    RandomPredictions,
    RobustFL,
    ScaledPredictions,
    membership_audit,
    partition,
)
from fastkd.models import MLPClassifier

HIDDEN = [(16,), (24,), (32,), (24, 12), (), (16, 16), (48,), (12,), (20,), (32, 16)]
RUN: dict[str, Any] = {"rounds": 6, "revisit_epochs": 3, "digest_epochs": 3, "initial_epochs": 40}
ATTACKS = {
    "scaled logits": ScaledPredictions(-100.0),
    "LMA": LossMaximization(),
    "CPA": ClassPrior(),
    "random classes": RandomPredictions(),
    "one class": ConstantClass(1),
}
RULES: dict[str, dict[str, Any]] = {
    "mean of logits": {"space": "logit", "clip_logits": None},
    "mean of logits, clipped": {"space": "logit"},
    "mean": {},
    "median": {"aggregator": "median"},
    "trimmed mean": {"aggregator": "trimmed_mean", "f": 3},
    "geometric median": {"aggregator": "geometric_median"},
    "Multi-Krum": {"aggregator": "multi_krum", "f": 3},
    "ExpGuard": {"aggregator": ExpGuard()},
}
VENUE_RULES = {"mean": 0, "median": 0, "geometric_median": 0, "trimmed_mean": 1}  # Krum needs five clients for f = 1

Rows = tuple[np.ndarray, np.ndarray]


def digits() -> tuple[Rows, np.ndarray, Rows]:
    """Rows with labels to hand out, public rows, test rows."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    return (X[800:1437], y[800:1437]), X[:800], (X[1437:], y[1437:])


def few_label_clients(rows: Rows, seed: int, dirichlet: float | None = None) -> list[Client]:
    """Ten clients with twenty labels each: two of each class, or Dirichlet shares of the classes."""
    X, y = rows
    rng = np.random.default_rng(seed)
    if dirichlet is None:
        mine = [rng.permutation(np.flatnonzero(y == c)) for c in range(10)]
        parts = [np.concatenate([own[2 * k : 2 * k + 2] for own in mine]) for k in range(10)]
    else:
        chosen = rng.choice(len(y), 200, replace=False)
        parts = [chosen[part] for part in partition(y[chosen], 10, how="dirichlet", alpha=dirichlet, random_state=seed)]
    models = [MLPClassifier(h, learning_rate=0.004, batch_size=10, random_state=k) for k, h in enumerate(HIDDEN)]
    return [Client(f"c{k}", models[k], X[part], y[part]) for k, part in enumerate(parts)]


def few_labels(seeds: int) -> list[dict[str, Any]]:
    rows, public, test = digits()
    cases = []
    for name, dirichlet in (("two labels a class each", None), ("unequal classes, Dirichlet 0.3", 0.3)):
        ways: dict[str, list[float]] = {way: [] for way in ("alone", "FedMD", "FedMD, server", "FedAvg", "pooled")}
        for seed in range(seeds):
            clients = few_label_clients(rows, seed, dirichlet)
            options = {**RUN, "eval_set": test, "random_state": seed, "classes": range(10)}
            server = MLPClassifier((64,), learning_rate=0.004, batch_size=32, random_state=0)
            variants = {"alone": {"digest_epochs": 0}, "FedMD": {}, "FedMD, server": {"server_model": server}}
            for way, more in variants.items():
                ways[way].append(FedMD(clients, public, **{**options, **more}).run().history[-1].accuracy)
            shared = MLPClassifier((32,), random_state=0).initialize(64, 10)
            same = [Client(c.name, None, c.X, c.y) for c in clients]
            averaged = RobustFL(shared, same, aggregator="mean", rounds=40, local_epochs=5, batch_size=10,
                                local_learning_rate=0.1, random_state=seed).run()  # fmt: skip
            ways["FedAvg"].append(averaged.server_model.score(*test))
            X, y = (np.concatenate([getattr(c, part) for c in clients]) for part in ("X", "y"))
            each = [c.model.set_params(epochs=60).fit(X, y).score(*test) for c in clients]
            ways["pooled"].append(float(np.mean(each)))
        cases.append(row("few labels", name, {way: float(np.mean(found)) for way, found in ways.items()}))
    return cases


def unlabelled(seeds: int) -> list[dict[str, Any]]:
    """The teacher has all labels; the student gets 100 of them, with or without its soft labels of all rows."""
    (X, y), public, test = digits()
    everything = np.concatenate([X, public])
    found: dict[str, list[float]] = {"100 labels": [], "and a teacher": [], "teacher": []}
    for seed in range(seeds):
        teacher = MLPClassifier((256, 128), epochs=60, random_state=seed).fit(X, y)
        known = np.full(len(everything), -1)
        chosen = np.random.default_rng(seed).choice(len(y), 100, replace=False)
        known[chosen] = y[chosen]
        student = {"hidden": (16,), "learning_rate": 0.01, "epochs": 100, "batch_size": 32, "random_state": seed}
        alone = MLPClassifier(**student).fit(everything[chosen], y[chosen], classes=range(10))
        taught = distill(teacher, MLPClassifier(**student), everything, known)
        for name, model in zip(found, (alone, taught, teacher), strict=True):
            found[name].append(model.score(*test))
    means = {name: float(np.mean(accuracies)) for name, accuracies in found.items()}
    return [row("unlabelled rows", "digits, student of 1,210 parameters", means)]


def attacks(seeds: int) -> list[dict[str, Any]]:
    rows, public, test = digits()
    hostile = ("c0", "c1", "c2")

    def honest(attack: Any, more: dict[str, Any]) -> float:
        accuracies = []
        for seed in range(seeds):
            options = {**RUN, "eval_set": test, "random_state": seed, **more}
            lies = dict.fromkeys(hostile, attack) if attack is not None else {}
            last = FedMD(few_label_clients(rows, seed), public, attacks=lies, **options).run().history[-1]
            accuracies += [a for name, a in last.accuracies.items() if name not in hostile]
        return float(np.mean(accuracies))

    cases = [row("three of ten hostile", "alone", {"no attack": honest(None, {"digest_epochs": 0})})]
    for name, more in RULES.items():
        figures = {"no attack": honest(None, more)} | {a: honest(attack, more) for a, attack in ATTACKS.items()}
        cases.append(row("three of ten hostile", name, figures))
    return cases


def noise(seeds: int) -> list[dict[str, Any]]:
    """With noise 60 public rows a round, so that the noise of a table stays small; delta 1e-5; clip 3."""
    rows, public, test = digits()
    cases = []
    for epsilon, public_rows in ((None, None), (None, 60), (1000.0, 60), (100.0, 60), (30.0, 60), (8.0, 60)):
        mechanism = None if epsilon is None else GaussianMechanism(epsilon, clip=3.0)
        accuracies, found = [], []
        for seed in range(seeds):
            clients = few_label_clients(rows, seed)
            options = {**RUN, "public_rows": public_rows, "eval_set": test, "random_state": seed}
            result = FedMD(clients, public, privacy=mechanism, **options).run()
            accuracies.append(result.history[-1].accuracy)
            for client in result.clients:
                inside, outside = (client.X, client.y), (test[0][:200], test[1][:200])
                audit = membership_audit(
                    client.model, inside, outside, privacy=mechanism, rows=public_rows, random_state=seed
                )
                found.append(audit.auc)
        name = "no noise" if epsilon is None else f"epsilon {epsilon:g}"
        name += f", {public_rows or len(public)} rows a round"
        figures = {"accuracy": float(np.mean(accuracies)), "membership AUC": float(np.mean(found))}
        cases.append(row("noise", name, figures))
    return cases


def venues(folder: Path, quick: bool) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*USDT_1h.csv.gz"))
    if len(files) < 2:
        raise SystemExit(f"{folder} holds fewer than two files *USDT_1h.csv.gz")
    cases, base = [], {"folds": 1 if quick else 3, "rounds": 2 if quick else 5}
    for labels in (0, 300):
        settings = VenueSettings(labels=labels, **base)
        markets = read_venues(files, settings)
        result = run_venues(markets, settings)
        what = "all labels" if labels == 0 else f"{labels} labels each"
        figures = {way: e.accuracy for way, e in result.evaluations.items()}
        figures["majority"] = result.evaluations[FEDMD].majority
        cases.append(row("venues, accuracy", what, figures))
        cases.append(row("venues, log-loss", what, {way: e.log_loss for way, e in result.evaluations.items()}))
        for aggregator, f in VENUE_RULES.items():
            attacker = {markets[-1].name: "LossMaximization"}
            hostile = VenueSettings(labels=labels, aggregator=aggregator, f=f, attacks=attacker, **base)
            e = run_venues(markets, hostile, ways=(FEDMD,)).evaluations[FEDMD]
            figures = {"accuracy": e.accuracy, "log-loss": e.log_loss}
            cases.append(row("venues, one hostile (LMA)", f"{aggregator}, {what}", figures))
    return cases


def row(table: str, name: str, figures: dict[str, float]) -> dict[str, Any]:
    print(f"{table}: {name}: " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items()), flush=True)
    return {"table": table, "row": name, "figures": {what: round(value, 4) for what, value in figures.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with files of candles, *USDT_1h.csv.gz")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there")
    parser.add_argument("--quick", action="store_true", help="one seed, one fold")
    options = parser.parse_args()
    seeds = 1 if options.quick else 3
    cases = [*few_labels(seeds), *unlabelled(seeds), *attacks(seeds), *noise(seeds)]
    if options.data is not None:
        cases += venues(options.data, options.quick)
    if options.json is not None:
        result = {"bench": "fedmd", "quick": options.quick, "environment": common.environment(), "cases": cases}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
