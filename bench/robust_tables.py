"""Write the results of bench/robust.py into docs/robust.md.

They go between ``<!-- robust:NAME -->`` and ``<!-- /robust:NAME -->``.
NAME is ``chapter`` (rule by share of attackers), ``worse`` (where the plain mean is better), ``gap``, ``scores DATA``,
``environment``, or the title of a table of the results. Run: ``python -m bench.robust_tables [--check]``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.tables import footer

MARK = re.compile(r"(<!-- robust:([^>]+?) -->\n)(.*?)(<!-- /robust:\2 -->)", re.DOTALL)
LOSS = 0.02  # a rule is called worse than the mean beyond this, and beyond twice the standard error of the difference
TITLES = {
    "digits": "digits (1,437 images for training)",
    "mnist": "MNIST (4,000 images)",
    "synthetic": "synthetic market",
    "bybit": "Bybit, hourly candles",
}


def cell(figures: dict[str, Any] | None, metric: str, mean: dict[str, Any] | None = None) -> str:
    """0.912 ± 0.004, bold where the rule is worse than the plain mean; why not, where there is no figure."""
    if figures is None:
        return ""
    if "none" in figures:
        return "*too few*"
    value = figures[metric]
    text = f"{value['mean']:.3f} ± {value['sd']:.3f}"
    if figures.get("ended_early", {}).get("mean", 0) > 0:
        text += " (overflow)"
    return f"**{text}**" if mean is not None and worse(value, mean.get(metric)) else text


def worse(value: dict[str, Any], mean: dict[str, Any] | None) -> bool:
    """Whether an accuracy lies clearly below that of the mean."""
    if mean is None:
        return False
    n = len(value["values"])
    error = ((value["sd"] ** 2 + mean["sd"] ** 2) / n) ** 0.5
    return mean["mean"] - value["mean"] > max(LOSS, 2 * error)


def metric_of(title: str) -> str:
    return "success" if "success" in title else "accuracy"


def attack_table(rows: list[dict[str, Any]]) -> list[str]:
    """Attacks down, rules across."""
    metric = metric_of(rows[0]["table"])
    columns = list(dict.fromkeys(name for row in rows for name in row["cells"]))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for row in rows:
        mean = row["cells"].get("mean") if metric == "accuracy" else None
        cells = [cell(row["cells"].get(c), metric, mean if c != "mean" else None) for c in columns]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    return lines


def chapter_table(cases: list[dict[str, Any]]) -> list[str]:
    """The chapter's own table: rules down; 0, 10 and 30 % of sign-flipping clients across; one block a data set."""
    found = {(c["table"], c["row"]): c["cells"] for c in cases if "cells" in c}
    lines = []
    for data, title in TITLES.items():
        columns = [
            found.get((f"{data}: nobody attacks", "the rule expects f = 0")),
            found.get((f"{data}: nobody attacks", "the rule expects f = 6")),
            found.get((f"{data}: 10 % attack", "sign flip x10")),
            found.get((f"{data}: 30 % attack", "sign flip x10")),
        ]
        if columns[0] is None:
            continue
        lines += [f"| {title} | 0 % | 0 %, but f = 6 | 10 % | 30 % |", "|---" * 5 + "|"]
        for rule in columns[0]:
            shown = [cell((c or {}).get(rule), "accuracy") for c in columns]
            lines.append(f"| {rule} | " + " | ".join(shown) + " |")
        lines += ["", *facts_line(cases, data), ""]
    return lines[:-1]


def facts_line(cases: list[dict[str, Any]], data: str) -> list[str]:
    facts = next((c for c in cases if c["table"] == "facts" and c["row"] == data), None)
    if facts is None:
        return []
    known = facts["facts"]
    text = f"Means and standard deviations over {facts['seeds']} seeds."
    if known:
        shares = " / ".join(f"{100 * s:.1f}" for s in known["class_shares"])
        text += (
            f" Test rows: {known['rows']:,}, class shares down / flat / up {shares} %, "
            f"majority {known['majority']:.3f}, log-loss of the class shares {known['no_skill_log_loss']:.3f}."
        )
        if "best_possible_accuracy" in known:
            text += f" No forecast can be better than {known['best_possible_accuracy']:.3f}."
    return [text]


def market_table(cases: list[dict[str, Any]], data: str) -> list[str]:
    """What accuracy hides: balanced accuracy, MCC and log-loss under the attacks that matter."""
    rows = [c for c in cases if c["table"] in (f"{data}: nobody attacks", f"{data}: 30 % attack")]
    lines = ["| | rule | accuracy | balanced accuracy | MCC | log-loss |", "|---" * 6 + "|"]
    for row in rows:
        if row["row"] not in ("the rule expects f = 0", "sign flip x10", "IPM 0.1"):
            continue
        name = "nobody attacks" if "expects" in row["row"] else f"{row['row']}, 30 %"
        for rule, figures in row["cells"].items():
            if rule in ("mean", "Krum", "trimmed mean", "median", "NNM + trimmed mean"):
                shown = [cell(figures, m) for m in ("accuracy", "balanced_accuracy", "mcc", "log_loss")]
                lines.append(f"| {name} | {rule} | " + " | ".join(shown) + " |")
    return lines


def gap_table(cases: list[dict[str, Any]]) -> list[str]:
    """Distance of Krum's choice and of the trimmed mean from the plain mean, with and without attackers."""
    rows = (
        ("alike, nobody attacks", "digits: nobody attacks", "the rule expects f = 6"),
        ("alike, 30 % sign flip", "digits: 30 % attack", "sign flip x10"),
        ("alike, 30 % IPM 0.1", "digits: 30 % attack", "IPM 0.1"),
        ("one class a client, nobody attacks", "digits: one class a client", "nobody, f = 6"),
    )
    found = {(c["table"], c["row"]): c["cells"] for c in cases if "cells" in c}
    lines = ["| clients | gap of Krum | gap of the trimmed mean |", "|---" * 3 + "|"]
    for title, table, row in rows:
        cells = found[table, row]
        lines.append(f"| {title} | {cell(cells['Krum'], 'gap')} | {cell(cells['trimmed mean'], 'gap')} |")
    return lines


def worse_table(cases: list[dict[str, Any]]) -> list[str]:
    """All cells in which the plain mean is clearly better, the largest losses first."""
    losses = []
    for case in cases:
        mean = case.get("cells", {}).get("mean", {}).get("accuracy")
        for rule, figures in case.get("cells", {}).items():
            if rule != "mean" and "accuracy" in figures and worse(figures["accuracy"], mean):
                losses.append((mean["mean"] - figures["accuracy"]["mean"], case, rule, figures["accuracy"], mean))
    losses.sort(key=lambda loss: -loss[0])
    lines = [f"{len(losses)} cells in all; the 20 largest losses:", ""]
    lines += ["| data and attackers | attack | rule | its accuracy | mean |", "|---" * 5 + "|"]
    for _, case, rule, value, mean in losses[:20]:
        lines.append(f"| {case['table']} | {case['row']} | {rule} | {value['mean']:.3f} | {mean['mean']:.3f} |")
    return lines


def render(name: str, result: dict[str, Any]) -> Iterable[str]:
    cases = result["cases"]
    if name == "chapter":
        return chapter_table(cases)
    if name == "worse":
        return worse_table(cases)
    if name == "gap":
        return gap_table(cases)
    if name == "environment":
        return footer(result | {"cases": []})
    if name.startswith("scores "):
        return [*market_table(cases, name.split()[1]), "", *facts_line(cases, name.split()[1])]
    rows = [c for c in cases if c["table"] == name]
    if not rows:
        raise SystemExit(f"the results hold no table {name!r}")
    return attack_table(rows)


def update(text: str, result: dict[str, Any]) -> str:
    """The text with every marked block replaced."""
    return MARK.sub(lambda m: m[1] + "\n".join(render(m[2], result)) + "\n" + m[4], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--document", type=Path, default=Path("docs/robust.md"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "robust.json")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the document is out of date")
    options = parser.parse_args()
    old = options.document.read_text()
    new = update(old, json.loads(options.results.read_text()))
    if options.check:
        sys.exit(
            f"{options.document} is not what the results say: run python -m bench.robust_tables" if new != old else 0
        )
    if new != old:
        options.document.write_text(new)
        print(f"updated {options.document}")


if __name__ == "__main__":
    main()
