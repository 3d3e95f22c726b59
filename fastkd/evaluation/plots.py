"""The report on class probabilities as a figure; matplotlib is imported when it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastkd.evaluation.report import EvaluationReport

__all__ = ["plot_report"]


def plot_report(report: EvaluationReport, path: Any = None) -> Any:
    """Calibration, confusion, and the lead over the majority with its interval for every part.

    The figure belongs to no window and no backend; matplotlib is part of ``pip install fastkd[cli]``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    calibration, confusion, parts = figure.subplots(1, 3)
    _calibration(calibration, report)
    _confusion(confusion, report)
    _parts(parts, report)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def _calibration(axes: Any, report: EvaluationReport) -> None:
    bins = report.overall.evaluation.reliability
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
    axes.plot(bins.confidence, bins.frequency, marker="o")
    axes.bar(bins.confidence, bins.count / bins.count.sum(), width=0.04, alpha=0.3, label="share of rows")
    error = report.overall.evaluation.calibration_error
    axes.set(xlabel="forecast", ylabel="came true", xlim=(0, 1), ylim=(0, 1), title=f"Calibration (error {error:.3f})")
    axes.legend(loc="upper left")


def _confusion(axes: Any, report: EvaluationReport) -> None:
    counts = report.overall.evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    ticks = range(len(counts))
    axes.set_xticks(ticks, report.class_names)
    axes.set_yticks(ticks, report.class_names)
    for row in ticks:
        for column in ticks:
            color = "white" if shares[row, column] > 0.6 else "black"
            text = f"{counts[row, column]:,}\n{100 * shares[row, column]:.0f} %"
            axes.text(column, row, text, ha="center", va="center", color=color)
    balanced = report.overall.evaluation.balanced_accuracy
    axes.set(xlabel="answer", ylabel="truth", title=f"Confusion (balanced accuracy {100 * balanced:.1f} %)")


def _parts(axes: Any, report: EvaluationReport) -> None:
    parts = [report.overall, *report.folds, *report.regimes]
    leads = 100 * np.array([part.value("lead") for part in parts])
    ends = 100 * np.array([part.intervals["lead"] for part in parts])
    places = np.arange(len(parts))[::-1]
    axes.axvline(0, color="gray", linewidth=1, linestyle="--")
    axes.hlines(places, ends[:, 0], ends[:, 1])
    axes.plot(leads, places, "o")
    axes.set_yticks(places, [part.name for part in parts])
    axes.set(xlabel="points of accuracy", title=f"Lead over the majority ({100 * report.confidence:g} % intervals)")
