"""The plots of the report as SVG text that takes its ink from the page, so that one picture serves light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastkd.experiments.result import DemoResult, Trained

INK = "#0a0b0c"  # stands for the color of the text around the picture
TEACHER, HARD, DISTILLED, LINE = "#7d8590", "#d9822b", "#2f81f7", "#cf5069"  # read on white and on near-black

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def draw(title: str, plot: Callable[[Any, DemoResult], None], result: DemoResult) -> str:
    """SVG of one of the plots below; `title` is what a screen reader says."""
    import matplotlib
    from matplotlib.figure import Figure  # no pyplot: no window system, no global state

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(5.0, 3.4), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        axes.grid(True)
        plot(axes, result)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    # Several pictures share the page: their ids must differ.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{plot.__name__}-", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    return svg.replace(INK, "currentColor")


def price(axes: Any, result: DemoResult) -> None:
    from matplotlib import dates

    market = result.market
    when = market.close_ms.astype("datetime64[ms]")
    test_from = np.datetime64(market.test_from_ms, "ms")
    axes.plot(when, market.close, color=DISTILLED, linewidth=1.0)
    axes.axvspan(test_from, when[-1], color=TEACHER, alpha=0.2, linewidth=0)
    axes.text(0.99, 0.02, "test part", transform=axes.transAxes, ha="right", va="bottom", fontsize=9)
    axes.set_ylabel("price")
    axes.set_xlabel("time (UTC)")
    locator = dates.AutoDateLocator(maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def accuracy(axes: Any, result: DemoResult) -> None:
    models = result.models()
    for place, (model, color) in enumerate(zip(models, (TEACHER, HARD, DISTILLED, HARD, DISTILLED))):
        figures = model.evaluation
        error = 2 * (figures.accuracy * (1 - figures.accuracy) / figures.n) ** 0.5
        axes.errorbar(100 * figures.accuracy, place, xerr=100 * error, fmt="o", color=color, capsize=3, markersize=7)
    majority, bayes = result.teacher.evaluation.majority, result.market.bayes_accuracy
    axes.axvline(100 * majority, color=LINE, linestyle="--", label="majority baseline")
    if bayes is not None:
        axes.axvline(100 * bayes, color=LINE, linestyle=":", label="Bayes accuracy")
    axes.set_yticks(range(len(models)), [f"{model.name}\n({model.labels:,} labels)" for model in models])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(models) - 0.4, -0.6)  # the first on top
    axes.grid(False, axis="y")
    axes.set_xlabel("accuracy, %")
    _legend_above(axes)


def calibration(axes: Any, result: DemoResult) -> None:
    models: list[tuple[Trained, str, str]] = [
        (result.teacher, TEACHER, "s"),
        (result.full.hard, HARD, "^"),
        (result.full.distilled, DISTILLED, "o"),
    ]
    lowest = 1.0
    for model, color, marker in models:
        bins = model.evaluation.reliability
        enough = bins.count >= 20  # fewer rows say nothing about a frequency
        confidence, frequency = bins.confidence[enough], bins.frequency[enough]
        axes.plot(confidence, frequency, color=color, marker=marker, markersize=5, label=model.name)
        lowest = min([lowest, *confidence, *frequency])
    low = max(0.0, np.floor(10 * lowest) / 10)
    axes.plot([low, 1], [low, 1], color=INK, linestyle=":", linewidth=1, label="perfectly calibrated")
    axes.set_xlabel("forecast probability of the answer")
    axes.set_ylabel("share that came true")
    axes.legend(loc="upper left")


def latency(axes: Any, result: DemoResult) -> None:
    from matplotlib import ticker

    labels = []
    for i, pair in enumerate(result.latency):
        for j, (one, color) in enumerate(zip(pair, (DISTILLED, HARD))):
            place = -(3 * i + j)
            axes.plot([one.p50, one.p999], [place, place], color=color, linewidth=2, alpha=0.5)
            for value, marker, name in ((one.p50, "o", "median"), (one.p99, "|", "p99"), (one.p999, ">", "p99.9")):
                axes.plot(value, place, marker, color=color, markersize=9 if marker == "|" else 6)
                if i == j == 0:
                    axes.plot([], [], marker, color=INK, label=name, linestyle="none")
            labels.append((place, f"{one.what}, {one.rows} row{'s' if one.rows > 1 else ''}"))
    axes.set_xscale("log")
    axes.set_yticks([p for p, _ in labels], [n for _, n in labels])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.grid(False, axis="y")
    axes.set_ylim(min(p for p, _ in labels) - 0.8, 0.8)
    axes.set_xlabel("microseconds (log scale)")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    _legend_above(axes)


def label_curve(axes: Any, result: DemoResult) -> None:
    """Accuracy over the number of labels: mean, and the range over the draws."""
    labels = [point.labels for point in result.curve]
    for way, color, marker in (("hard", HARD, "^"), ("distilled", DISTILLED, "o")):
        draws = 100 * np.array([getattr(point, way) for point in result.curve])
        name = "labels only" if way == "hard" else "distilled"
        axes.plot(labels, draws.mean(axis=1), color=color, marker=marker, markersize=5, label=f"student, {name}")
        axes.fill_between(labels, draws.min(axis=1), draws.max(axis=1), color=color, alpha=0.2, linewidth=0)
    teacher = result.teacher.evaluation
    axes.axhline(100 * teacher.accuracy, color=TEACHER, label="teacher")
    axes.axhline(100 * teacher.majority, color=LINE, linestyle="--", label="majority baseline")
    axes.set_xscale("log")
    axes.set_xticks(labels, [f"{n:,}" for n in labels])
    axes.minorticks_off()
    axes.set_xlabel("hard labels")
    axes.set_ylabel("accuracy, %")
    _legend_above(axes, 2)


def generations(axes: Any, result: DemoResult) -> None:
    """Accuracy by generation with the interval of its mean, beside an ensemble of the same cost."""
    found = result.generations
    assert found is not None
    means = found.by_generation
    places, values = np.arange(len(means)), np.array([100 * mean.value for mean in means])
    halves = np.nan_to_num([100 * mean.half for mean in means])
    axes.errorbar(places, values, yerr=halves, fmt="o-", color=DISTILLED, capsize=3, label="generation")
    axes.axhline(100 * found.ensemble.mean(), color=HARD, label="ensemble of the same cost")
    axes.axhline(100 * found.majority, color=LINE, linestyle="--", label="majority baseline")
    axes.set_xticks(places)
    axes.set_xlabel("generation (0: labels alone)")
    axes.set_ylabel("accuracy, %")
    _legend_above(axes, 2)


def federation(axes: Any, result: DemoResult) -> None:
    """Accuracy by attack and rule."""
    found = result.federation
    places = np.arange(len(found.attacks))
    width = 0.8 / len(found.rules)
    colors = (LINE, TEACHER, DISTILLED, HARD, "#3fa66b")
    for j, (rule, color) in enumerate(zip(found.rules, colors)):
        shift = (j - (len(found.rules) - 1) / 2) * width
        axes.bar(places + shift, 100 * found.accuracy[:, j], width * 0.9, color=color, label=rule.replace("_", " "))
    axes.axhline(100 * result.teacher.evaluation.majority, color=INK, linestyle="--", linewidth=1, label="majority")
    axes.set_xticks(places, [name.replace(" ", "\n", 1) for name in found.attacks])
    axes.tick_params(axis="x", length=0, labelsize=9)
    axes.grid(False, axis="x")
    axes.set_ylabel("accuracy, %")
    _legend_above(axes)


def distillation(axes: Any, result: DemoResult) -> None:
    """Mean and range of every way to learn."""
    found = result.distillation
    assert found is not None
    for place, (way, draws) in enumerate(zip(found.ways, 100 * found.accuracy)):
        color = HARD if "liar" in way else DISTILLED if way == "FedMD" else TEACHER
        axes.hlines(place, draws.min(), draws.max(), color=color)
        axes.plot(draws.mean(), place, "o", color=color, markersize=7)
    axes.axvline(100 * found.majority, color=LINE, linestyle="--", label="majority baseline")
    axes.set_yticks(range(len(found.ways)), [way.replace(", one", ",\none") for way in found.ways])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(found.ways) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("accuracy, %")
    _legend_above(axes)


def condensed(axes: Any, result: DemoResult) -> None:
    """Balanced accuracy by where the rows are from: a point for each seed, a ring for the mean."""
    report = result.condensed
    assert report is not None
    for place, trial in enumerate(report.trials):
        color = TEACHER if trial.full else DISTILLED if trial.learnt else HARD
        scores = 100 * trial.scores @ report.weights()
        axes.plot(scores, [place] * len(scores), ".", color=color)
        axes.plot(scores.mean(), place, "o", color=color, markersize=9, fillstyle="none")
    axes.axvline(100 / len(np.unique(report.y_test)), color=LINE, linestyle="--", label="always the same answer")
    names = ["all rows" if trial.full else trial.name.replace("_", "\n") for trial in report.trials]
    axes.set_yticks(range(len(names)), [f"{name}\n({t.rows:,} rows)" for name, t in zip(names, report.trials)])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("balanced accuracy, %")
    _legend_above(axes)


def walk(axes: Any, result: DemoResult) -> None:
    """Lead over the majority with its interval: all rows, by fold, by regime."""
    parts = [result.walk.overall, *result.walk.folds, *result.walk.regimes]
    places = np.arange(len(parts))
    ends = 100 * np.array([part.intervals["lead"] for part in parts])
    axes.axvline(0, color=LINE, linestyle="--", label="majority baseline")
    axes.hlines(places, ends[:, 0], ends[:, 1], color=DISTILLED)
    axes.plot([100 * part.value("lead") for part in parts], places, "o", color=DISTILLED)
    axes.set_yticks(places, [part.name for part in parts])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("points of accuracy above the majority")
    _legend_above(axes)


def _legend_above(axes: Any, columns: int = 3) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.0, borderpad=0.2)
