"""Accuracy of federated training by share of attackers, attack and rule: where robust rules help, and where they hurt.

Run: ``python -m bench.robust --json bench/results/robust.json``, then ``python -m bench.robust_tables``. Nothing is
timed here, so the cases are shared out to all cores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench import common
from bench.robust_data import N_CLIENTS, available, workload
from fastkd.evaluation import evaluate
from fastkd.federated import (
    ALittleIsEnough,
    Backdoor,
    FederationError,
    InnerProductManipulation,
    LabelFlip,
    Mimic,
    MinMax,
    MinSum,
    NonFinite,
    RandomNoise,
    RobustFL,
    SignFlip,
    Targeted,
)
from fastkd.losses import softmax
from fastkd.models import MLPClassifier

NNM = "nearest_neighbor_mixing"
RULES: dict[str, dict[str, Any]] = {
    "mean": {"aggregator": "mean"},
    "Krum": {"aggregator": "krum"},
    "Multi-Krum": {"aggregator": "multi_krum"},
    "trimmed mean": {"aggregator": "trimmed_mean"},
    "median": {"aggregator": "median"},
    "geometric median": {"aggregator": "geometric_median"},
    "Bulyan": {"aggregator": "bulyan"},
    "NNM + trimmed mean": {"aggregator": "trimmed_mean", "pre": NNM},
}
MORE: dict[str, dict[str, Any]] = {
    "mean": RULES["mean"],
    "MeaMed": {"aggregator": "meamed"},
    "centered clipping": {"aggregator": ("centered_clipping", {"radius": 1.0})},
    "bucketing + median": {"aggregator": "median", "pre": "bucketing"},
}
SHORT = ("mean", "Krum", "Multi-Krum", "trimmed mean", "median", "NNM + trimmed mean")
TARGETED = Targeted(source=2, target=0)
CHAPTER = {
    "random noise": RandomNoise(10.0),
    "sign flip x10": SignFlip(10.0),
    "label flip": LabelFlip(),
    "targeted": TARGETED,
}
LATER = {
    "ALIE": ALittleIsEnough(),
    "IPM 0.1": InnerProductManipulation(0.1),
    "min-max": MinMax(),
    "mimic": Mimic(),
}
LATEST = {"min-sum": MinSum(), "not a number": NonFinite()}  # on the digits only
SEEDS = {"digits": 3, "mnist": 2, "synthetic": 3, "bybit": 2}
BACKDOOR = Backdoor(target=0, columns=(0, 7, 56), value=2.0, boost=3.0)  # three pixels of the rim of a digit


@dataclass(frozen=True)
class Case:
    """One cell of a table: a federation, run once for each seed."""

    table: str
    row: str
    column: str
    data: str
    rule: str
    f: int  # what the rule is told
    attack: Any = None
    n_attackers: int = 0
    how: str = "iid"
    extra: tuple[tuple[str, Any], ...] = ()
    seeds: int | None = None  # None for those of the data
    success: bool = False  # measure whether the attack got its way, rather than accuracy


def cases() -> Iterator[Case]:
    """All cells, table by table."""
    for data in SEEDS:
        yield from _attack_tables(data)
    yield from _unequal("digits", "label", "one class a client")
    yield from _unequal("mnist", "label", "one class a client")
    yield from _unequal("digits", "dirichlet", "Dirichlet(0.5)")
    yield from _momentum()
    yield from _success()
    yield from _more_rules()
    yield from _little_that_bites()


def _attack_tables(data: str) -> Iterator[Case]:
    market = data in ("synthetic", "bybit")
    for rule in SHORT if market else RULES:
        for f in (0, 6):
            yield Case(f"{data}: nobody attacks", f"the rule expects f = {f}", rule, data, rule, f)
        for n_attackers in (2, 6):
            table = f"{data}: {100 * n_attackers // N_CLIENTS} % attack"
            late = LATEST if data == "digits" and n_attackers == 6 else {}
            for name, attack in (CHAPTER | LATER | late).items():
                few = n_attackers == 2 and data != "digits" and name != "sign flip x10"
                if not few and not (market and name in ("random noise", "targeted", "mimic")):
                    yield Case(table, name, rule, data, rule, n_attackers, attack, n_attackers)


def _unequal(data: str, how: str, title: str) -> Iterator[Case]:
    """Clients with different data: nobody attacks, or 30 % do."""
    table = f"{data}: {title}"
    for rule in RULES:
        yield Case(table, "nobody, f = 2", rule, data, rule, 2, how=how)
        yield Case(table, "nobody, f = 6", rule, data, rule, 6, how=how)
        for name in ("sign flip x10", "ALIE", "IPM 0.1", "mimic"):
            yield Case(table, f"{name}, 30 %", rule, data, rule, 6, (CHAPTER | LATER)[name], 6, how)


def _momentum() -> Iterator[Case]:
    """The same as among 30 % attackers, with client momentum."""
    for rule in RULES:
        for name in ("sign flip x10", "ALIE", "IPM 0.1", "min-max"):
            attack = (CHAPTER | LATER)[name]
            row = f"{name}, momentum 0.9"
            yield Case("digits: client momentum", row, rule, "digits", rule, 6, attack, 6, extra=(("momentum", 0.9),))


def _success() -> Iterator[Case]:
    """How often attackers get their way, and how often they would without doing anything."""
    table = "digits: success of the attacker"
    for rule in RULES:
        yield Case(table, "targeted, nobody attacks", rule, "digits", rule, 6, TARGETED, success=True)
        yield Case(table, "backdoor, nobody attacks", rule, "digits", rule, 6, BACKDOOR, success=True)
        for name, attack in (("targeted", TARGETED), ("targeted, x3", replace(TARGETED, boost=3.0)),
                             ("backdoor, x3", BACKDOOR)):  # fmt: skip
            yield Case(table, name, rule, "digits", rule, 6, attack, 6, success=True)


def _more_rules() -> Iterator[Case]:
    """Rules that are recommended less often: equal data, then one class a client."""
    attacks = CHAPTER | LATER | LATEST
    for rule in MORE:
        for how, where in (("iid", ""), ("label", "one class a client: ")):
            yield Case("digits: more rules", f"{where}nobody, f = 6", rule, "digits", rule, 6, how=how, seeds=2)
            for name in ("sign flip x10", "ALIE", "IPM 0.1", "min-max", "min-sum", "mimic", "not a number"):
                if how == "iid" or name in ("sign flip x10", "IPM 0.1", "mimic"):
                    row = f"{where}{name}, 30 %"
                    yield Case("digits: more rules", row, rule, "digits", rule, 6, attacks[name], 6, how, seeds=2)
        row, attack = "sign flip x10, 10 %", attacks["sign flip x10"]
        yield Case("digits: more rules", row, rule, "digits", rule, 2, attack, 2, seeds=2)


def _little_that_bites() -> Iterator[Case]:
    """ALIE among 45 % attackers and gradients of single rows, with and without client momentum."""
    for network, hidden in (("logistic", ()), ("32 hidden", (32,))):
        for attack, name in ((None, "nobody"), (ALittleIsEnough(), "ALIE"), (ALittleIsEnough(z=1.5), "ALIE, z = 1.5")):
            for momentum in (0.0, 0.9):
                if hidden and (name != "ALIE" and (name != "nobody" or momentum)):
                    continue
                for rule in ("mean", "median", "trimmed mean", "centered clipping", "NNM + trimmed mean"):
                    extra = (("batch_size", 1), ("momentum", momentum), ("hidden", hidden))
                    row = f"{network}: {name}, momentum {momentum:g}"
                    n = 0 if attack is None else 9
                    yield Case("digits: ALIE, 45 %", row, rule, "digits", rule, 9, attack, n, extra=extra, seeds=2)


def run_case(case: Case, quick: bool) -> dict[str, Any]:
    """The figures of a cell: mean and standard deviation over seeds, or why there are none."""
    seeds = range(1 if quick else case.seeds or SEEDS[case.data])
    try:
        runs = [_run(case, seed, quick) for seed in seeds]
    except FederationError as error:
        if "needs n >" not in str(error):
            raise
        return {"none": str(error).partition(": ")[2]}
    cell: dict[str, Any] = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 and all(map(math.isfinite, values)) else 0.0
        cell[name] = {
            "mean": round(float(np.mean(values)), 5),
            "sd": round(spread, 5),
            "values": [round(v, 5) for v in values],
        }
    return cell


def _run(case: Case, seed: int, quick: bool) -> dict[str, float]:
    work = workload(case.data, case.how, seed)
    assert work is not None
    names = [client.name for client in work.clients]
    bad = np.random.default_rng([seed, 1]).choice(names, case.n_attackers, replace=False)
    options = work.training | dict(case.extra) | (RULES | MORE)[case.rule]
    hidden = options.pop("hidden", work.hidden)
    if quick:
        options["rounds"] = 5
    federation = RobustFL(
        MLPClassifier(hidden=hidden, random_state=seed), work.clients, f=case.f, random_state=seed,
        attacks=dict.fromkeys(bad.tolist(), case.attack), **options,
    )  # fmt: skip
    ended_early = 0.0
    try:
        result = federation.run()
    except FederationError as error:
        if error.result is None or not error.result.history:
            raise
        result, ended_early = error.result, 1.0  # the numbers ran over; judged by its last good weights
    model = result.server_model
    if case.success:
        return {"success": _success_rate(case.attack, model, work)}
    logits = model.predict_logits(work.X_test).astype(np.float64)
    if not np.isfinite(logits).all():  # weights are finite, but so large that what they give is not
        logits, ended_early = np.nan_to_num(logits, nan=0.0), 1.0
    figures = evaluate(work.y_test, softmax(logits))
    return {
        "accuracy": figures.accuracy,
        "balanced_accuracy": figures.balanced_accuracy,
        "mcc": figures.mcc,
        "log_loss": figures.log_loss,
        "ended_early": ended_early,
        "gap": float(np.median(result.series("gap_to_mean")[:20])),
    }


def _success_rate(attack: Any, model: Any, work: Any) -> float:
    """Share of rows in which the model does what the attacker wants, among those in which it should not."""
    if isinstance(attack, Targeted):
        rows = work.X_test[work.y_test == attack.source]
    else:
        rows = attack.stamp(work.X_test[work.y_test != attack.target])
    return float((model.predict(rows) == attack.target).mean())


def main() -> None:
    options = common.arguments(__doc__)
    chosen = [c for c in cases() if options.only in f"{c.table} {c.row}"]
    for data in SEEDS:
        if (reason := available(data)) is not None:
            common.SKIPPED[data] = reason
            chosen = [c for c in chosen if c.data != data]
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for case, cell in zip(chosen, pool.map(run_case, chosen, [options.quick] * len(chosen), chunksize=4)):
            row = tables.setdefault((case.table, case.row), {"table": case.table, "row": case.row, "cells": {}})
            row["cells"][case.column] = cell
            shown = "  ".join(f"{name} {value['mean']:.3f}" for name, value in cell.items() if name != "none")
            print(f"{case.table:<36} {case.row:<32} {case.column:<20} {shown or cell['none']}", flush=True)
    facts = {data: found.facts for data in SEEDS if data not in common.SKIPPED and (found := workload(data, "iid", 0))}
    entries = [{"table": "facts", "row": data, "facts": found, "seeds": SEEDS[data]} for data, found in facts.items()]
    common.write("robust", options, [*tables.values(), *entries])


if __name__ == "__main__":
    main()
