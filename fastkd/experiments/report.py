"""The HTML report: one file that needs nothing else, for a desk and a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from fastkd._files import write_whole
from fastkd.experiments import plots
from fastkd.experiments.findings import (
    CONDENSED_COLUMNS,
    condensed_rows,
    distillation_rows,
    findings,
    headline,
    metric_rows,
)
from fastkd.experiments.result import CLASS_NAMES, DemoResult

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1d2228; --soft: #5c6670; --line: #dfe3e7;
  --accent: #1f6fd6; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1b1f23; --ink: #e4e7ea; --soft: #9aa4ae;
  --line: #31373d; --accent: #6cb0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p, li { max-width: 46rem; }
.lead { font-size: 1.15rem; margin: 1rem 0; padding-left: .9rem; border-left: 3px solid var(--accent); }
.soft { color: var(--soft); font-size: .88rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.tile, figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.tile { padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; max-width: 38rem; }
figcaption { font-weight: 600; font-size: .93rem; margin-bottom: .5rem; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
table.narrow { max-width: 40rem; }
pre { font-size: .82rem; line-height: 1.4; }
th, td { padding: .38rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: bottom; }
td { white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; font-size: .88rem; }
tr > :first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: 400; }
"""


def write_report(result: DemoResult, path: Path) -> None:
    """Write the report; an older file stays whole until the new one takes its place."""
    write_whole(path, html_report(result).encode())


def html_report(result: DemoResult) -> str:
    """The whole page as text."""
    market = result.market
    where = (
        f"{escape(market.source)}: {market.candles:,} candles of {escape(market.interval)}, "
        f"{_day(market.first_ms)} to {_day(market.last_ms)}"
    )
    sections = (
        *(_summary, _labels, _models, _plots, _confusion, _generations, _walk),
        *(_federation, _distillation, _condensed, _latency, _settings),
    )
    body = "\n".join(section(result) for section in sections)
    body = body.replace(" %", "\u00a0%").replace(" µs", "\u00a0µs")  # a number stays with its unit
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>fastkd report: {escape(market.source)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>From teacher to student</h1>\n<p class="soft">{where}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _summary(result: DemoResult) -> str:
    student, (one_row, plain) = result.full.distilled, result.latency[0]
    figures = student.evaluation
    tiles = [
        (f"{100 * figures.accuracy:.1f} %", f"accuracy, distilled student; majority {100 * figures.majority:.1f} %"),
        (f"{figures.mcc:.3f}", f"its MCC; balanced accuracy {100 * figures.balanced_accuracy:.1f} %"),
        (f"1/{result.compression:.0f}", f"of the teacher's parameters: {student.parameters:,}, {_size(student.bytes)}"),
        (f"{one_row.p50:.2f} µs", f"a forecast (median); NumPy {plain.p50:.1f} µs"),
    ]
    kept = result.kept(student)
    if kept is not None:
        tiles.insert(2, (f"{100 * kept:.0f} %", "of the teacher's lead over the majority kept"))
    boxes = "".join(f'<div class="tile"><b>{value}</b><span>{escape(what)}</span></div>' for value, what in tiles)
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(result))
    return f'<p class="lead">{escape(headline(result))}</p>\n<div class="tiles">{boxes}</div>\n<ul>{said}</ul>'


def _labels(result: DemoResult) -> str:
    market = result.market
    parts = (("training", market.train_rows, market.train_shares), ("test", market.test_rows, market.test_shares))
    rows = [[name, f"{n:,}", *(f"{100 * share:.1f} %" for share in shares)] for name, n, shares in parts]
    fixed = result.settings.threshold
    threshold = "0.35 times what the last 100 candles let expect" if fixed is None else f"±{100 * fixed:g} %"
    note = (
        f"UP and DOWN are moves of the next close beyond {threshold}. The test part lies after the training part; rows "
        f"whose windows or labels reach across the border are left out. {market.features} features a row, scaled by "
        f"the training part alone. {market.gaps} gaps in the candles."
    )
    return "<h2>Class shares</h2>\n" + _table(["part", "rows", *CLASS_NAMES], rows, note)


def _models(result: DemoResult) -> str:
    columns = ["", *(model.name for model in result.models())]
    rows = [[what, *values] for what, values in metric_rows(result)]
    figures, bayes = result.teacher.evaluation, result.market.bayes_accuracy
    note = f"Forecasting the class shares has a log-loss of {figures.no_skill_log_loss:.4f}. "
    if bayes is not None:
        note += f"Bayes accuracy of this synthetic market: {100 * bayes:.1f} %. "
    noise = 2 * (figures.accuracy * (1 - figures.accuracy) / figures.n) ** 0.5
    note += (
        f"Differences in accuracy below about {100 * noise:.1f} points are within the noise of "
        f"{figures.n:,} test rows. Lead: accuracy minus the majority baseline; kept: as a share of the teacher's."
    )
    return "<h2>Teacher and students on the test part</h2>\n" + _table(columns, rows, note)


def _plots(result: DemoResult) -> str:
    figures = [
        _figure("Close price; the models saw the left part only", plots.price, result),
        _figure("Accuracy on the test part, ± 2 standard errors", plots.accuracy, result),
        _figure("Calibration: are the probabilities true?", plots.calibration, result),
    ]
    if result.curve:
        title = f"Where a teacher pays: mean and range of {result.settings.draws} draws of labels"
        figures.insert(2, _figure(title, plots.label_curve, result))
    return '<h2>Plots</h2>\n<div class="plots">\n' + "\n".join(figures) + "\n</div>"


def _figure(title: str, plot: Callable[[Any, DemoResult], None], result: DemoResult) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{plots.draw(title, plot, result)}</figure>"


def _confusion(result: DemoResult) -> str:
    confusion = result.full.distilled.evaluation.confusion
    rows = [[f"was {name}", *(f"{count:,}" for count in counts)] for name, counts in zip(CLASS_NAMES, confusion)]
    columns = ["test rows", *(f"answered {name}" for name in CLASS_NAMES)]
    return "<h2>Answers of the distilled student</h2>\n" + _table(columns, rows)


def _generations(result: DemoResult) -> str:
    if result.generations is None:
        return ""
    note = (
        f"Each generation of the student learns from the one before, on the last {result.settings.generation_rows:,} "
        f"candles at most. {result.generations.verdict()}"
    )
    figure = _figure("Accuracy by generation", plots.generations, result)
    return f'<h2>Self-distillation</h2>\n<p class="soft">{escape(note)}</p>\n<div class="plots">{figure}</div>'


def _walk(result: DemoResult) -> str:
    note = (
        "The student alone, fitted anew for each fold on all rows before it; here UP and DOWN are moves beyond half "
        "the volatility of the candles before. Regimes: the last 48 candles, known when the forecast is made."
    )
    figure = _figure(f"Lead by fold and regime, {100 * result.walk.confidence:g} % intervals", plots.walk, result)
    return (
        f'<h2>Walking forward</h2>\n<div class="scroll" tabindex="0"><pre>{escape(str(result.walk))}</pre></div>\n'
        f'<p class="soft">{escape(note)}</p>\n<div class="plots">{figure}</div>'
    )


def _federation(result: DemoResult) -> str:
    found = result.federation
    columns = ["attack", *(rule.replace("_", " ") for rule in found.rules)]
    rows = [
        [attack, *(f"{100 * share:.1f} %" for share in shares)] for attack, shares in zip(found.attacks, found.accuracy)
    ]
    note = (
        f"Test accuracy of the student trained by {found.clients} desks that share gradients, not rows; "
        f"{found.hostile} of them attack, and every rule but the mean expects that many. One run each."
    )
    figure = _figure(f"Accuracy when {found.hostile} of {found.clients} desks attack", plots.federation, result)
    return (
        "<h2>Federation with hostile clients</h2>\n"
        + _table(columns, rows, note)
        + f'\n<div class="plots">{figure}</div>'
    )


def _distillation(result: DemoResult) -> str:
    found = result.distillation
    if found is None:
        return ""
    note = (
        f"Accuracy, %, on later rows: mean and range of {found.accuracy.shape[1]} draws. {found.desks} desks with "
        f"networks of different shapes have up to {found.labels} labels each from a past of their own, and share their "
        "forecasts of a public period without labels. A liar claims on each public row what the others find least "
        f"likely; its own rows are left out of every figure. {found.bytes_sent:,} bytes are sent in a federation."
    )
    figure = _figure("Accuracy by way to learn, mean and range", plots.distillation, result)
    return (
        "<h2>Federation that shares forecasts</h2>\n"
        + _table(["way to learn", "mean", "lowest", "highest"], distillation_rows(found), note)
        + f'\n<div class="plots">{figure}</div>'
    )


def _condensed(result: DemoResult) -> str:
    report = result.condensed
    if report is None:
        return ""
    all_rows = report.trials[0].rows
    note = (
        f"The student taught with a few rows made of the last {all_rows:,} of the training part, tested on the test "
        f"part, %, mean of {len(report.trials[0].scores)} seeds. {report.verdict[:1].upper()}{report.verdict[1:]}"
    )
    figure = _figure("Taught with a few rows, tested on real ones", plots.condensed, result)
    return (
        "<h2>Condensation</h2>\n"
        + _table(CONDENSED_COLUMNS, condensed_rows(report), note)
        + f'\n<div class="plots">{figure}</div>'
    )


def _latency(result: DemoResult) -> str:
    columns = ["call", "p50", "p99", "p99.9", "calls"]
    rows = [
        [
            f"{one.what}, {one.rows} row{'s' if one.rows > 1 else ''}",
            *(f"{value:.2f} µs" for value in (one.p50, one.p99, one.p999)),
            f"{one.calls:,}",
        ]
        for pair in result.latency
        for one in pair
    ]
    note = (
        "The distilled student called from Python, fastkd (out= given) and the same float32 network in NumPy in turn, "
        "one thread; the clock's own cost of about 0.05 µs is included."
    )
    figure = _figure("Time a call, from Python", plots.latency, result)
    return "<h2>Latency</h2>\n" + _table(columns, rows, note) + f'\n<div class="plots">{figure}</div>'


def _settings(result: DemoResult) -> str:
    said = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(result.settings).items())
    return (
        f'<h2>How it was made</h2>\n<p class="soft">fastkd {escape(result.version)}, {escape(result.isa)} kernels, '
        f"{result.seconds:.1f} s, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {escape(said)}.</p>"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in rows
    )
    kind = "" if len(columns) > 5 else ' class="narrow"'
    table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    below = f'\n<p class="soft">{escape(note)}</p>' if note else ""
    return f'<div class="scroll" tabindex="0">{table}</div>{below}'


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1024:.1f} KiB"
