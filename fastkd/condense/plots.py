"""Figures of a report on condensed sets; matplotlib is imported when they are drawn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastkd.condense.report import CondenseReport, Trial


def plot_scores(report: CondenseReport, path: Any = None) -> Any:
    """One panel a downstream model: score against rows, a line a method; squares are learnt, dashes are all rows."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(t.model for t in report.trials))
    figure = Figure(figsize=(5.5 * len(models), 4.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models):
        ways: dict[str, list[Trial]] = {}
        for t in report.trials:
            if t.model == model and t.full:
                axes.axhline(report.score(t), color="gray", linestyle="--", label=f"all {t.rows:,} rows")
            elif t.model == model:
                ways.setdefault(re.sub(r" \d+$", "", t.name), []).append(t)
        for name, trials in ways.items():
            trials.sort(key=lambda t: t.rows)
            per_seed = [t.scores @ report.weights() + report.regression for t in trials]
            axes.errorbar(
                [t.rows for t in trials],
                [s.mean() for s in per_seed],
                [s.std() for s in per_seed],
                marker="s" if trials[0].learnt else "o",
                capsize=3,
                label=name.replace("_", " "),
            )
        axes.set(xscale="log", xlabel="rows", ylabel=report.metric, title=model)
        axes.legend(fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def plot_rows(report: CondenseReport, path: Any = None) -> Any:
    """One panel a condensed set: its rows (large) among real rows (small), colored by class."""
    from matplotlib.figure import Figure

    if report.real is None or not report.sets:
        raise ValueError("the report holds no rows to plot")
    X, y = report.real
    center = X.mean(axis=0)
    axes_of_data = np.linalg.svd(X - center, full_matrices=False)[2][:2].T
    classes = np.unique(y)

    def color(labels: np.ndarray) -> np.ndarray:
        return labels.reshape(len(labels), -1)[:, 0] if report.regression else np.searchsorted(classes, labels)

    figure = Figure(figsize=(4.5 * len(report.sets), 4.2), layout="constrained")
    for axes, (name, small) in zip(figure.subplots(1, len(report.sets), squeeze=False)[0], report.sets.items()):
        flat = np.column_stack([(X - center) @ axes_of_data, np.zeros(len(X))])
        axes.scatter(flat[:, 0], flat[:, 1], c=color(y), s=3, alpha=0.3, cmap="viridis")
        flat = (small.X - center) @ axes_of_data
        flat = np.column_stack([flat, np.zeros(len(flat))])
        axes.scatter(flat[:, 0], flat[:, 1], c=color(small.y), s=70, edgecolors="black", cmap="viridis")
        axes.set(xlabel="first axis", ylabel="second axis", title=f"{name}, {len(small)} rows")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
