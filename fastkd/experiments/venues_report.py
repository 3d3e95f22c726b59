"""A federation of markets in words, numbers and a figure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastkd.experiments.venues import FEDMD, LOCAL, POOLED, VenueResult

__all__ = ["figures", "plot", "summary", "verdict"]


def summary(result: VenueResult) -> str:
    """The table, and what it says in words, whatever came out."""
    ways = list(result.evaluations)
    lines = [f"{'':12}{'accuracy':>10}{'majority':>10}{'balanced':>10}{'MCC':>8}{'log-loss':>10}{'no skill':>10}"]
    for way, e in result.evaluations.items():
        lines.append(
            f"{way:12}{100 * e.accuracy:>9.2f}%{100 * e.majority:>9.2f}%{100 * e.balanced_accuracy:>9.2f}%{e.mcc:>8.3f}"
            f"{e.log_loss:>10.4f}{e.no_skill_log_loss:>10.4f}"
        )
    names = list(result.by_venue[ways[0]])
    width = max(12, *map(len, names))
    lines += ["", "accuracy".ljust(width) + "".join(f"{way:>12}" for way in ways)]
    for name in names:
        hostile = "  (hostile)" if name in result.settings.attacks else ""
        cells = "".join(f"{100 * result.by_venue[way][name].accuracy:>11.2f}%" for way in ways)
        lines.append(f"{name:{width}}{cells}{hostile}")
    if {LOCAL, FEDMD, POOLED} <= set(ways):
        lines += ["", verdict(result)]
    lines.append(f"FedMD sent {result.bytes_up:,} bytes up and {result.bytes_down:,} down.")
    if FEDMD in ways:
        whose = "the honest venues" if result.settings.attacks else "all venues"
        lines += ["", f"The students of FedMD, {whose} together:", str(result.report(FEDMD))]
    return "\n".join(lines)


def verdict(result: VenueResult) -> str:
    """Gain or loss against learning alone, with its error, and against the bound."""
    local, fed, pooled = (result.evaluations[way] for way in (LOCAL, FEDMD, POOLED))
    gain = 100 * (fed.accuracy - local.accuracy)
    error = 100 * (2 * local.accuracy * (1 - local.accuracy) / local.n) ** 0.5
    size = f"{gain:+.2f} ± {error:.2f} points of accuracy, log-loss {fed.log_loss - local.log_loss:+.4f}"
    if abs(gain) <= 2 * error:
        said = f"FedMD changes nothing that could be told from chance: {size}"
    else:
        said = f"FedMD {'helps' if gain > 0 else 'harms'}: {size}"
    bound = f"all rows in one place give {100 * (pooled.accuracy - local.accuracy):+.2f} points"
    skill = "" if fed.beats_majority else " It does not beat the majority baseline."
    return f"{said}; {bound}.{skill}"


def figures(result: VenueResult) -> dict[str, Any]:
    """All figures as plain numbers."""

    def numbers(e: Any) -> dict[str, float]:
        names = ("n", "accuracy", "majority", "balanced_accuracy", "mcc", "log_loss", "no_skill_log_loss", "brier")
        return {name: getattr(e, name) for name in names}

    return {
        "settings": asdict(result.settings),
        "evaluations": {way: numbers(e) for way, e in result.evaluations.items()},
        "by_venue": {way: {n: numbers(e) for n, e in found.items()} for way, found in result.by_venue.items()},
        "rounds": result.rounds,
        "periods": result.periods,
        "bytes": [result.bytes_up, result.bytes_down],
        "report": result.report(FEDMD).to_dict() if FEDMD in result.proba else None,
    }


def plot(result: VenueResult, path: Path) -> None:
    """Accuracy of each way on each venue, and of FedMD after each round."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    bars, curve = figure.subplots(1, 2)
    ways, names = list(result.by_venue), list(next(iter(result.by_venue.values())))
    width = 0.8 / len(ways)
    for k, way in enumerate(ways):
        heights = [100 * result.by_venue[way][name].accuracy for name in names]
        bars.bar([i + k * width for i in range(len(names))], heights, width, label=way)
    for i, name in enumerate(names):
        majority = 100 * result.by_venue[ways[0]][name].majority
        bars.hlines(majority, i - width / 2, i + 0.8 - width / 2, colors="black", linestyles="dotted",
                    label="majority" if i == 0 else None)  # fmt: skip
    bars.set_xticks([i + 0.4 - width / 2 for i in range(len(names))], [name[-16:] for name in names], fontsize=7)
    heights = [100 * e.accuracy for found in result.by_venue.values() for e in found.values()]
    bars.set_ylim(max(0.0, min(heights) - 10), min(100.0, max(heights) + 5))
    bars.set_ylabel("accuracy, %")
    bars.legend(fontsize=7)
    for k, series in enumerate(result.rounds):
        curve.plot(range(1, len(series) + 1), [100 * a for a in series], marker="o", label=f"fold {k + 1}")
    curve.set_xticks(range(1, 1 + max(map(len, result.rounds), default=1)))
    curve.set_xlabel("round of FedMD")
    curve.set_ylabel("accuracy of honest venues, %")
    curve.legend(fontsize=7)
    figure.savefig(path, dpi=120)
