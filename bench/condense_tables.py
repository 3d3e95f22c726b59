"""Write the results of bench/condense_experiments.py and bench/condense_scale.py into docs/condense.md.

They go between ``<!-- condense:NAME -->`` and ``<!-- /condense:NAME -->``. NAME is ``scale``, ``linear``,
``crash before``, ``crash after``, ``environment``, or the title of a table of images or candles.
Run: ``python -m bench.condense_tables [--check]``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.common import format_seconds
from bench.tables import footer

MARK = re.compile(r"(<!-- condense:([^>]+?) -->\n)(.*?)(<!-- /condense:\2 -->)", re.DOTALL)
SIMPLE = ("random", "herding", "kcenter", "kmedoids", "centroids")
PUBLISHED = {  # ConvNet, 60,000 images: Zhao, Mopuri and Bilen 2021, Table 1
    "random": "64.9 / 95.1 / 97.9",
    "herding": "89.2 / 93.7 / 94.8",
    "kcenter": "89.3 / 84.4 / 97.4",
    "gradient_matching": "91.7 / 97.4 / 98.8 (perceptron, 1: 70.5)",
    "all rows": "99.6",
}
Case = dict[str, Any]


def plain(name: str) -> str:
    return name.replace("_", " ").replace("kcenter", "k-center").replace("kmedoids", "k-medoids").replace("kip", "KIP")


def cell(figure: dict[str, Any] | None) -> str:
    """.912 ± .004"""
    if figure is None:
        return ""
    spread = f" ± {figure['sd']:.3f}" if len(figure["values"]) > 1 else ""
    return re.sub(r"(?<!\d)0\.", ".", f"{figure['mean']:.3f}{spread}")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(r) + " |" for r in rows)]


def image_table(cases: list[Case]) -> list[str]:
    """Methods down, rows a class across; what is published beside MNIST."""
    by_size = {int(c["row"].split()[0]): c["cells"] for c in cases if c["row"] != "all rows"}
    whole = next((c["cells"] for c in cases if c["row"] == "all rows"), {})
    mnist = cases[0]["table"] == "MNIST"
    head = ["rows from", *(f"{n} a class" for n in by_size), "10, softmax regression", "seconds at 10"]
    rows = []
    for method in [*dict.fromkeys(m for cells in by_size.values() for m in cells), "all rows"]:
        found = [cells.get(method, whole.get(method)) for cells in by_size.values()]
        ten = by_size.get(10, {}).get(method, whole.get(method))
        row = [plain(method), *(cell(f and f["accuracy"]) for f in found), cell(ten and ten["linear"])]
        row.append("" if method == "all rows" or ten is None else f"{ten['seconds']['mean']:.1f}")
        rows.append(row + [PUBLISHED.get(method, "")] * mnist)
    lines = table(head + ["published: ConvNet, 1 / 10 / 50"] * mnist, rows)
    said = [verdict(f"{n} a class", cells, "accuracy") for n, cells in by_size.items() if set(cells) - set(SIMPLE)]
    return [*lines, "", *said]


def verdict(where: str, cells: dict[str, Any], metric: str) -> str:
    """The best learnt method against the best simple one, beyond twice the standard error of seeds or not."""
    learnt = max((m for m in cells if m not in SIMPLE), key=lambda m: cells[m][metric]["mean"])
    simple = max((m for m in SIMPLE if m in cells), key=lambda m: cells[m][metric]["mean"])
    a, b = cells[learnt][metric], cells[simple][metric]
    gap = a["mean"] - b["mean"]
    error = ((a["sd"] ** 2 + b["sd"] ** 2) / len(a["values"])) ** 0.5
    count = len(set(cells) - set(SIMPLE))
    names = plain(learnt) + (f", the best of {count} learnt sets" if count > 1 else "")
    numbers = f"{100 * gap:+.1f} points, standard error {100 * error:.1f}"
    if abs(gap) <= 2 * error:
        return f"- {where}: no difference can be seen between {names}, and {plain(simple)} ({numbers})."
    if gap > 0:
        return f"- {where}: {names}, wins over {plain(simple)} ({numbers})."
    return f"- {where}: {plain(simple)} win over {names} ({numbers}): learning is not worth its cost here."


def candle_table(cases: list[Case]) -> list[str]:
    """Balanced accuracy and accuracy of both models in walk-forward order, and the report's own words."""
    cells, facts = cases[0]["cells"], cases[0]["facts"]
    columns = ("mlp balanced", "mlp accuracy", "linear balanced", "linear accuracy")
    head = ["rows from", "perceptron: balanced", "accuracy", "linear: balanced", "accuracy", "seconds"]
    rows = [
        [plain(m), *(cell(c[k]) for k in columns), f"{c['seconds']['mean']:.1f}" if m != "all rows" else ""]
        for m, c in cells.items()
    ]
    told = f"{facts['test_rows']:,} test rows; the majority class has {facts['majority']:.3f} of them."
    return [*table(head, rows), "", f"{told} In the words of the report:", "", *(f"- {v}" for v in facts["verdict"])]


def linear_table(cases: list[Case]) -> list[str]:
    rows = []
    for m, c in cases[0]["cells"].items():
        errors = [f"{c[k]['mean']:.2g}" if k in c else "" for k in ("gradient", "weights")]
        time = format_seconds(c["seconds"]["mean"]) if "seconds" in c else ""
        rows.append([plain(m), f"{c['rows']['mean']:,.0f}", *errors, cell(c["r2"]), time])
    return table(["rows from", "rows", "error of the gradient", "error of the weights", "R2, later rows", "time"], rows)


def crash_table(case: Case) -> list[str]:
    """One block a part of the later candles: methods down, ways of making and weighing the rows across."""
    cells, lines = case["cells"], [f"{case['facts']['train_rows']:,} rows to train."]
    ways = ("classes, equal", "classes, weighted", "regimes, equal", "regimes, weighted")
    methods = list(dict.fromkeys(name.split(", ")[0] for name in cells if name != "all rows"))
    for test, facts in case["facts"]["tests"].items():

        def shown(name: str, test: str = test) -> str:
            found = cells[name]
            return f"{cell(found[f'{test} balanced_accuracy'])} ({found[f'{test} log_loss']['mean']:.2f})"

        rows = [[plain(m), *(shown(f"{m}, {way}") for way in ways)] for m in methods]
        shares = " / ".join(f"{100 * share:.0f}" for share in facts["shares"])
        lines += [
            "",
            f"{test[0].upper()}{test[1:]}: {facts['rows']:,} rows, {shares} % down / flat / up. Balanced accuracy, and "
            f"log-loss in parentheses; all rows give {shown('all rows')}, the shares in training "
            f"{facts['log_loss_of_training_shares']:.2f}.",
            "",
            *table(["rows from", *ways], rows),
            "",
            f"On average over these methods, {_gain(cells, methods, test, 'regimes', 'classes')}; "
            f"{_gain(cells, methods, test, 'weighted', 'equal')}.",
        ]
    return lines


def _gain(cells: dict[str, Any], methods: list[str], test: str, this: str, than: str) -> str:
    """What one way gives beyond the other, everything else alike."""
    kept = ("equal", "weighted") if this == "regimes" else ("classes", "regimes")
    gaps: dict[str, list[float]] = {"balanced_accuracy": [], "log_loss": []}
    for method in methods:
        for other in kept:
            names = [
                f"{method}, {w}, {other}" if this == "regimes" else f"{method}, {other}, {w}" for w in (this, than)
            ]
            for metric, found in gaps.items():
                one, two = (cells[name][f"{test} {metric}"]["mean"] for name in names)
                found.append(one - two)
    points, loss = (sum(found) / len(found) for found in gaps.values())
    return f"`{this}` has {100 * points:+.1f} points and {loss:+.2f} of log-loss against `{than}`"


def scale_table(cases: list[Case]) -> list[str]:
    rows = []
    for case in cases:
        if case["row"] == "all rows":
            for c in case["contenders"]:
                kind, n = c["name"].split(", ")[1], c["notes"]
                scores = [f"{n[k]:.3f}".lstrip("0") if k in n else "" for k in ("mlp", "linear")]
                time = f"{format_seconds(c['seconds'])} to train"
                rows.append([f"all rows, {kind}", time, "", "", "", "", "", *scores])
            continue
        times = [format_seconds(c["seconds"]) for c in case["contenders"]]
        extra = [f"{c['notes']['extra_mb']:.1f}" if "extra_mb" in c["notes"] else "" for c in case["contenders"]]
        notes = case["contenders"][0]["notes"]
        scores = [f"{notes[k]:.3f}".lstrip("0") if k in notes else "" for k in ("mlp", "linear")]
        rows.append([plain(case["row"]), *times, *extra, *scores])
    head = ["rows from", "array", "map", "stream", "MB: array", "map", "stream", "perceptron", "linear"]
    return table(head, rows)


def render(name: str, results: dict[str, dict[str, Any]]) -> list[str]:
    if name == "scale":
        return scale_table(results["scale"]["cases"])
    if name == "environment":
        return [line for r in results.values() for line in footer(r | {"cases": []})]
    cases = [c for c in results["experiments"]["cases"] if name in (c["table"], f"{c['table']} {c['row']}")]
    if not cases:
        raise SystemExit(f"the results hold no table {name!r}")
    if cases[0]["table"] == "crash":
        return crash_table(cases[0])
    return {"linear": linear_table, "digits": image_table, "MNIST": image_table}.get(name, candle_table)(cases)


def update(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The text with every marked block replaced."""
    return MARK.sub(lambda m: m[1] + "\n".join(render(m[2], results)) + "\n" + m[4], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--document", type=Path, default=Path("docs/condense.md"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the document is out of date")
    options = parser.parse_args()
    results = {
        name: json.loads((options.results / f"condense_{name}.json").read_text()) for name in ("experiments", "scale")
    }
    old = options.document.read_text()
    new = update(old, results)
    if options.check:
        sys.exit(
            f"{options.document} is not what the results say: run python -m bench.condense_tables" if new != old else 0
        )
    if new != old:
        options.document.write_text(new)
        print(f"updated {options.document}")


if __name__ == "__main__":
    main()
