"""The demo's result as tables on the terminal (rich)."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from fastkd.experiments.findings import (
    CONDENSED_COLUMNS,
    condensed_rows,
    distillation_rows,
    findings,
    headline,
    metric_rows,
)
from fastkd.experiments.result import CLASS_NAMES, DemoResult

__all__ = ["print_result"]


def print_result(result: DemoResult, output: str) -> None:
    """Tables and sentences on stdout; the last line names the report."""
    console = Console(highlight=False)
    market = result.market
    console.print(
        f"[bold]{market.source}[/bold]: {market.candles:,} candles of {market.interval}, {market.gaps} gaps; "
        f"{market.train_rows:,} rows to train, then {market.test_rows:,} to test"
    )
    for make in (_shares, _models, _federation, _distillation, _condensed, _latency):
        if (table := make(result)) is not None:
            console.print("", table)
    console.print("\n[bold]Walking forward[/bold]")
    console.print(str(result.walk), markup=False, soft_wrap=True)
    console.print()
    for sentence in findings(result):
        console.print(f"- {sentence}")
    console.print(f"[bold]{headline(result)}[/bold]")
    console.print(f"{result.seconds:.1f} s on {result.isa} kernels. Report: {output}", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table


def _shares(result: DemoResult) -> Table:
    table = _table("Class shares, %", "part", *CLASS_NAMES)
    for part, shares in (("training", result.market.train_shares), ("test", result.market.test_shares)):
        table.add_row(part, *(f"{100 * share:.1f}" for share in shares))
    return table


def _models(result: DemoResult) -> Table:
    headings = [model.name.replace(", ", "\n") for model in result.models()]
    table = _table("Teacher and students on the test part", "", *headings)
    for what, values in metric_rows(result):
        table.add_row(what, *values)
    return table


def _federation(result: DemoResult) -> Table:
    found = result.federation
    title = f"Federation: accuracy, %, when {found.hostile} of {found.clients} desks attack"
    table = _table(title, "attack", *(rule.replace("_", "\n") for rule in found.rules))
    for attack, shares in zip(found.attacks, found.accuracy):
        table.add_row(attack, *(f"{100 * share:.1f}" for share in shares))
    return table


def _distillation(result: DemoResult) -> Table | None:
    found = result.distillation
    if found is None:
        return None
    title = f"Forecasts shared by {found.desks} desks, accuracy, %"
    table = _table(title, "way to learn", "mean", "lowest", "highest")
    for row in distillation_rows(found):
        table.add_row(*row)
    return table


def _condensed(result: DemoResult) -> Table | None:
    if result.condensed is None:
        return None
    table = _table("Student taught with a few rows, %", *CONDENSED_COLUMNS)
    for row in condensed_rows(result.condensed):
        table.add_row(*row)
    return table


def _latency(result: DemoResult) -> Table:
    table = _table("Latency, µs a call", "rows", "by", "p50", "p99", "p99.9")
    for pair in result.latency:
        for one in pair:
            table.add_row(str(one.rows), one.what, f"{one.p50:.2f}", f"{one.p99:.2f}", f"{one.p999:.2f}")
    return table
