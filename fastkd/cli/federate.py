"""`fastkd federate`: markets in files as clients of a federation, compared with learning alone and all together."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fastkd.cli.config import chosen, read_config
from fastkd.cli.outputs import check_folder, check_outputs, check_plot
from fastkd.cli.venues import (
    FEDMD,
    LOCAL,
    POOLED,
    VenueResult,
    VenueSettings,
    check_settings,
    read_venues,
    run_venues,
    venue_name,
)

__all__ = ["add_federate", "summary"]

HELP = {
    "features": "recipe of features",
    "threshold": "a larger relative move is UP or DOWN; 0 for half of the usual move",
    "horizon": "candles that a label looks ahead",
    "folds": "test periods, one after the other",
    "public_share": "share of the time whose rows everybody has, before each test period",
    "test_share": "share of the time that is tested",
    "public_rows": "public rows that are predicted in each round",
    "labels": "labelled rows of each client; 0 for all",
    "rounds": "rounds of FedMD",
    "temperature": "of the soft labels",
    "kd_weight": "of the soft labels, where a row has a hard one too",
    "aggregator": "rule for the predictions, such as median or multi_krum",
    "f": "hostile clients to defend against",
    "space": "probability or logit",
    "learning_rate": "of the students",
    "epochs": "over the private and over the public rows in a round",
    "initial_epochs": "over the private rows in the first round",
    "seed": "of everything random",
    "workers": "threads, -1 for one a core",
}


def add_federate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    federate = commands.add_parser(
        "federate",
        help="federated distillation between markets, each a client with rows and a model of its own",
        description="Each file of candles is a client with a network of its own. They learn by themselves, by FedMD, "
        "by FedAvg and from all rows in one place, and are compared on later candles, fold after fold.",
    )
    federate.add_argument("files", nargs="*", type=Path, metavar="FILE", help="candles, .csv or .csv.gz; two or more")
    federate.add_argument("--config", type=Path, metavar="FILE", help="TOML with these settings; a flag wins")
    for setting in fields(VenueSettings):
        if setting.name in HELP:
            flag = "--" + setting.name.replace("_", "-")
            kind: Any = type(setting.default)
            text = f"{HELP[setting.name]} ({setting.default})"
            federate.add_argument(flag, type=kind, default=None, metavar=kind.__name__.upper(), help=text)
    federate.add_argument(
        "--attack", action="append", default=None, metavar="VENUE=ATTACK", help="such as ETHUSDT=LossMaximization"
    )
    federate.add_argument("--models", type=Path, metavar="FOLDER", help="write the students of the last fold there")
    federate.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    federate.add_argument("--plot", type=Path, metavar="FILE", help="draw accuracies by way and round (.png, .svg)")
    federate.add_argument("--quiet", action="store_true", help="print errors only")
    federate.set_defaults(run=_federate)


def _federate(options: argparse.Namespace) -> int:
    config = read_config(options.config, {f.name for f in fields(VenueSettings)} | {"files"})
    options.attacks = None if options.attack is None else dict(_pair(text) for text in options.attack)
    settings = chosen(VenueSettings, options, config)
    base = Path() if options.config is None else options.config.parent
    listed = config.get("files", [])
    if not isinstance(listed, list) or not all(isinstance(file, str) for file in listed):
        raise ValueError(f'files must be a list of names, as ["a.csv", "b.csv"]; got {listed!r}')
    files = options.files or [base / file for file in listed]
    outputs = {"--json": options.json, "--plot": options.plot}
    if options.models is not None:
        check_folder(options.models)
        names = [venue_name(file) for file in files if options.models.is_dir()]
        outputs |= {f"--models ({name})": options.models / f"{name}.safetensors" for name in names}
    check_outputs(outputs, {"the candles": files, "the settings": [options.config]})
    check_plot(options.plot)
    check_settings(settings)
    venues = read_venues(files, settings)
    with _progress(options.quiet) as progress:
        result = run_venues(venues, settings, progress=progress)
    if options.models is not None:
        options.models.mkdir(parents=True, exist_ok=True)
        for name, model in result.models.items():
            model.save(options.models / f"{name}.safetensors")
    if options.json is not None:
        options.json.write_text(json.dumps(figures(result), indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot(result, options.plot)
    if not options.quiet:
        print(summary(result))
    return 0


def _pair(text: str) -> tuple[str, str]:
    venue, _, attack = text.partition("=")
    if not venue or not attack:
        raise ValueError(f"--attack needs VENUE=ATTACK; got {text!r}")
    return venue, attack


def _progress(quiet: bool) -> Any:
    """A bar where rich is installed, silence elsewhere."""
    import importlib.util
    from contextlib import nullcontext

    if importlib.util.find_spec("rich") is None:
        return nullcontext()
    from fastkd.cli.console import progress_bar

    return progress_bar(quiet)


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
