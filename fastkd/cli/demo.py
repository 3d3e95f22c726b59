"""`fastkd demo`: the whole road on a market made up, or on candles of your own."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastkd._defaults import KD_WEIGHT, TEMPERATURE
from fastkd.cli.common import Json, Source, check, need, read_all, say_steps, shown, write_json

__all__ = ["demo"]


def demo(
    candles: Annotated[list[Path] | None, Parameter(negative="")] = None,
    /,
    *,
    source: Source = Source(),  # noqa: B008 - frozen
    output: Path = Path("fastkd-report.html"),
    rows: int = 40_000,
    seed: int = 0,
    threshold: float | None = None,
    temperature: float = TEMPERATURE,
    kd_weight: float = KD_WEIGHT,
    few_labels: int = 200,
    json: Json = None,
    quiet: bool = False,
) -> int:
    """Teach a large network on candles, distil it into a small one, compare, time, and write a report.

    Parameters
    ----------
    candles
        CSV, Parquet, a store of candles, or - for standard input; else a synthetic market.
    output
        The report, .html.
    rows
        Candles of the synthetic market, or how many of the file, counted from the end.
    seed
        Of everything random.
    threshold
        A larger relative move is UP or DOWN; if not given, past volatility, and 0.001 on the synthetic market.
    temperature
        Of the soft labels.
    kd_weight
        Of the soft labels, against the hard ones.
    few_labels
        Labelled rows of the second comparison.
    json
        Also write the figures; - for standard output.
    quiet
        Print errors only.
    """
    need("rich", "matplotlib")
    from fastkd.experiments.demo import run_demo
    from fastkd.experiments.findings import findings, headline
    from fastkd.experiments.report import write_report
    from fastkd.experiments.result import Settings
    from fastkd.experiments.tables import print_result

    for name, value, low in (("rows", rows, 1), ("seed", seed, 0), ("few-labels", few_labels, 1)):
        if value < low:
            raise ValueError(f"--{name} must be at least {low}; got {value}")
    if not ((threshold is None or 0 < threshold < math.inf) and 0 < temperature < math.inf and 0 <= kd_weight <= 1):
        raise ValueError("--threshold and --temperature must be finite and above 0, --kd-weight from 0 to 1")
    check({"--output": output, "--json": json}, {"the candles": candles or []})
    settings = Settings(
        rows=rows, seed=seed, threshold=threshold, temperature=temperature, kd_weight=kd_weight, few_labels=few_labels
    )
    table = None
    if candles:
        if len(candles) > 1:
            raise ValueError("the demo is of one market: give one file of candles")
        (table,) = read_all(candles, source)
        if len(table) > rows and not quiet:
            print(f"fastkd: the last {rows:,} of {len(table):,} candles are used (--rows)", file=sys.stderr)
        table = table[-rows:].named(table.symbol or Path(shown(candles[0])).name)
    say = say_steps(quiet)
    result = run_demo(table, settings=settings, progress=lambda title, done, n: say(f"[{done + 1}/{n}] {title}"))
    say("the report")
    write_report(result, output)
    write_json(json, {"headline": headline(result), "findings": findings(result), "seconds": result.seconds})
    if not quiet:
        print_result(result, str(output))
    return 0
