"""Write the benchmark results into README.md, between ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``.

NAME is that of a result file, bench/results/NAME.json. Rows in which a peer is faster are kept and marked.
Run: ``python -m bench.tables [--readme README.md] [--results bench/results] [--check]``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.common import format_seconds

# What we set out for: times faster than the best peer, or than the one named. A row that misses its aim says so.
AIMS = {
    "softmax T=3 (1000, 3)": 7.0,
    "softmax T=3 (100000, 3)": 8.0,
    "softmax T=3 (100000, 10)": 4.5,
    "softmax T=3 (10000, 100)": 1.8,
    "KD loss + gradient (1000, 3)": 6.5,
    "KD loss + gradient (100000, 3)": 9.0,
    "KD loss + gradient (100000, 10)": 8.0,
    "KD loss + gradient (10000, 100)": 7.0,
    "8-64-32-3, 32 rows": 3.0,
    "8-64-32-3, 1024 rows": 2.0,
    "8-64-32-3, 100000 rows": 2.0,
    "16-128-64-3, 100000 rows": 1.4,
    "4-32-16-3, batch 32, Adam, CE": 10.0,
    "4-32-16-3, batch 256, Adam, CE": 12.0,
    "8-64-32-3, batch 32, Adam, KD": 5.0,
    "8-64-32-3, batch 256, Adam, CE": 5.0,
    "16-128-64-3, batch 256, Adam, CE": 2.4,
    "64-512-256-3, batch 256, Adam, CE": 1.1,
    "10 students, batches of 64": 20.0,
    "10 students, batches of 256": 20.0,
    "gradient matching, softmax regression 8-3, 30 rows": 9.0,
    "gradient matching, MLP 8-64-32-3, 30 rows": 3.0,
    "gradient matching, MLP 8-64-32-3, 60 rows": 3.0,
    "gradient matching with 3 x 256 real rows, MLP 8-64-32-3, 30 rows": 3.0,
    "distribution matching, MLP 8-64-32-3, 60 rows": 3.0,
    "kip rbf, 5000 targets, 100 support rows": 1.0,
    "kip ntk, 5000 targets, 100 support rows": 2.0,
    "median (10, 1000) float32": 5.0,
    "median (32, 10000) float32": 15.0,
    "median (50, 100000) float32": 12.0,
    "median (50, 100000) float64": 10.0,
    "median (100, 1000000) float32": 8.0,
    "trimmed mean (32, 10000) float32": 15.0,
    "trimmed mean (50, 100000) float32": 12.0,
    "krum (10, 1000) float32": 1.3,
    "krum (32, 10000) float32": 2.0,
    "krum (50, 100000) float32": 1.7,
    "krum (100, 1000000) float32": 2.0,
    "multi-krum (50, 100000) float32": 2.0,
    "bulyan (50, 100000) float32": 100.0,
    "geometric median (50, 100000) float32": 6.0,
    "mean (50, 100000) float32": 1.0,
}
LATENCY_AIMS = {  # against one call of onnxruntime's run
    "4-32-16-3, 1 row": 25.0,
    "8-64-32-3, 1 row": 20.0,
    "16-128-64-3, 1 row": 12.0,
    "lstm, 95853 parameters, one window of 30 steps": 3.0,
    "cnn, 47939 parameters, one window of 30 steps": 3.0,
}

MARK = re.compile(r"(<!-- bench:(\w+) -->\n)(.*?)(<!-- /bench:\2 -->)", re.DOTALL)


def best_peer(contenders: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest peer of those that do the same work; of all if each has a definition of its own."""
    peers = [c for c in contenders if not c["ours"]]
    same = [c for c in peers if "own definition, off by" not in c.get("notes", {})]
    return min(same or peers, key=lambda c: c["seconds"]) if peers else None


def headline(contenders: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Ours to be compared: the first, the plain call. Variants (out=, the kernel alone) only stand in their columns."""
    return next((c for c in contenders if c["ours"]), None)


def error(contender: dict[str, Any]) -> str:
    """The largest of the contender's errors: 1e-07."""
    values = contender.get("errors", {}).values()
    return f"{max(values):.0e}" if values else ""


def ratio(theirs: float, ours: float) -> str:
    """How many times faster we are; below 1 the row is lost, and says so."""
    value = theirs / ours
    text = f"{value:.2f}" if value < 2 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
    return f"{text}x" if value >= 1 else f"**{text}x, slower**"


def against_aim(reached: float, aim: float | None) -> str:
    return "" if aim is None else f"{aim:g}x" if reached >= aim else f"{aim:g}x, missed"


def throughput_table(cases: list[dict[str, Any]]) -> list[str]:
    """A row a case: ours, the best peer, the ratio, then every other contender; each with its error."""
    names = list(dict.fromkeys(c["name"] for case in cases for c in case["contenders"]))
    mine = next((n for n in names if n.startswith("fastkd")), "fastkd")
    others = [n for n in names if n != mine]
    compare = any(case["compare"] for case in cases)  # import times have no peer that does the same work
    aims = any(case["row"] in AIMS for case in cases)
    head = [mine, "best peer", "ratio", *(["aim"] if aims else []), *others] if compare else [mine, *others]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (1 + len(head)) + "|"]
    for case in cases:
        by_name = {c["name"]: c for c in case["contenders"]}
        ours, peer = headline(case["contenders"]), best_peer(case["contenders"])
        cells = [case["row"], _cell(ours)]
        if compare:
            cells.append(f"{peer['name']} {format_seconds(peer['seconds'])}" if peer else "")
            cells.append(ratio(peer["seconds"], ours["seconds"]) if ours and peer else "")
            if aims:
                aim = AIMS.get(case["row"])
                cells.append(against_aim(peer["seconds"] / ours["seconds"], aim) if ours and peer else "")
        lines.append("| " + " | ".join(cells + [_cell(by_name.get(n)) for n in others]) + " |")
    return lines


def _cell(contender: dict[str, Any] | None) -> str:
    if contender is None:
        return ""
    return f"{format_seconds(contender['seconds'])} ({error(contender)})".removesuffix(" ()")


def latency_table(case: dict[str, Any]) -> list[str]:
    """A row a contender, the fastest first: quantiles of single calls, and the median back to back."""
    ours = headline(case["contenders"])
    lines = [f"| {case['row']} | p50 | p99 | p99.9 | back to back | fastkd is faster, p50 | error |", "|---" * 7 + "|"]
    for c in sorted(case["contenders"], key=lambda c: c["latency_ns"]["p50"]):
        ns = c["latency_ns"]
        times = [format_seconds(ns[q] * 1e-9) for q in ("p50", "p99", "p99.9")] + [format_seconds(c["seconds"])]
        against = ratio(ns["p50"], ours["latency_ns"]["p50"]) if ours and not c["ours"] else ""
        if ours and c["name"] == "onnxruntime run" and case["row"] in LATENCY_AIMS:
            reached = ns["p50"] / ours["latency_ns"]["p50"]
            against += f" (aim {against_aim(reached, LATENCY_AIMS[case['row']])})"
        name = f"**{c['name']}**" if c["ours"] else c["name"]
        lines.append("| " + " | ".join([name, *times, against, error(c)]) + " |")
    return lines


def footer(result: dict[str, Any]) -> list[str]:
    env = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items() if name != "numpy")
    lines = [
        f"{env['cpu']}, {env['logical_cpus']} logical CPUs, {env['os']}; {env['threads']} thread, ISA {env['isa']}; "
        f"{env['python']} ({env['python_compiler']}), C compiler {env['c_compiler']}; "
        f"numpy {env['versions']['numpy']} with {env['numpy_blas']}, {versions}. "
        f"Load average before and after: {env['load_before_and_after'][0]}, {env['load_before_and_after'][1]}. "
        f"{result['date']}, `{result['command']}`."
    ]
    busy = [f"{c['name']} in {case['row']} ({c['cpu_per_wall']:.1f} cores)" for case in result["cases"]
            for c in case["contenders"] if c.get("cpu_per_wall", 0) > 1.2]  # fmt: skip
    if busy:
        lines.append("Used more than one core: " + "; ".join(busy) + ".")
    if result["skipped"]:
        lines.append("Not installed and left out: " + ", ".join(result["skipped"]) + ".")
    if result["quick"]:
        lines.append("**Quick run: the numbers only show that the benchmark works.**")
    return lines


def render(result: dict[str, Any]) -> str:
    """Markdown of one result file. Times are medians; the largest error against float64 stands in parentheses."""
    clocked = [c for c in result["cases"] if "latency_ns" in c["contenders"][0]]
    plain = [c for c in result["cases"] if c not in clocked]
    blocks = [latency_table(case) for case in clocked]
    if plain:
        blocks.append(throughput_table(plain))
    return "\n\n".join(["\n".join(block) for block in blocks] + footer(result)) + "\n"


def update(text: str, results: Path) -> str:
    """The README text with every marked block replaced whose result file exists."""

    def block(match: re.Match[str]) -> str:
        path = results / f"{match[2]}.json"
        if not path.exists():
            print(f"no {path}: block {match[2]} left as it is", file=sys.stderr)
            return match[0]
        return match[1] + render(json.loads(path.read_text())) + match[4]

    return MARK.sub(block, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the README is out of date")
    options = parser.parse_args()
    old = options.readme.read_text()
    new = update(old, options.results)
    if options.check:
        sys.exit(f"{options.readme} is not what the results say: run python -m bench.tables" if new != old else 0)
    if new != old:
        options.readme.write_text(new)
        print(f"updated {options.readme}")


if __name__ == "__main__":
    main()
