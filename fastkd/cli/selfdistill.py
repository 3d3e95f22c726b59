"""`fastkd selfdistill`: generations of one network on candles, beside one training and an ensemble of the same cost."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from fastkd.distill import GenerationReport
    from fastkd.market import Candles

__all__ = ["add_selfdistill", "generations_on_candles"]

OK = 0
TEST_SHARE, VALIDATION_SHARE = 0.3, 0.15


def add_selfdistill(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    command = commands.add_parser(
        "selfdistill",
        help="generations of one network that teach each other, against one training and an ensemble",
        description="Train a network on candles, then new ones on its outputs, generation after generation, from "
        "several seeds. The last 30 %% of the candles judge, 15 %% before them pick the generation.",
    )
    add = command.add_argument
    add("--candles", type=Path, metavar="FILE", help="CSV (or .csv.gz) file; else a synthetic market")
    add("--rows", type=int, default=3000, metavar="N", help="candles, of FILE the last ones (%(default)s)")
    add("--labels", choices=["direction", "regime"], default="direction", help="what is forecast (%(default)s)")
    add("--features", default="ohlcv4", metavar="NAME", help="recipe of the features (%(default)s)")
    add("--generations", type=int, default=5, metavar="N", help="the first training included (%(default)s)")
    add(
        "--variant",
        choices=["ban+l", "ban", "cwtm", "dkpp", "label_smoothing"],
        default="ban+l",
        help="what generations learn from (%(default)s)",
    )
    add("--temperature", type=float, default=3.0, metavar="T", help="of generation 1 (%(default)s)")
    add("--decay", type=float, default=1.0, metavar="D", help="factor on T a generation, never below 1 (%(default)s)")
    add("--kd-weight", type=float, default=0.7, metavar="W", help="weight of the teacher (%(default)s)")
    add(
        "--noise", type=float, default=0.0, metavar="S", help="standard deviation on the teacher's logits (%(default)s)"
    )
    add("--hidden", type=_widths, default=(32, 16), metavar="N,N", help="widths of the hidden layers (32,16)")
    add("--epochs", type=int, default=40, metavar="N", help="a generation (%(default)s)")
    add("--seeds", type=int, default=5, metavar="N", help="repetitions, at least 2 (%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="the first seed (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write the figures")
    add("--plot", type=Path, metavar="FILE", help="also draw accuracy by generation (.png, .svg, .pdf)")
    add("--quiet", action="store_true", help="print errors only")
    command.set_defaults(run=_selfdistill)


def generations_on_candles(
    candles: Candles,
    *,
    labels: str = "direction",
    features: str = "ohlcv4",
    generations: int = 5,
    variant: str = "ban+l",
    temperature: float = 3.0,
    decay: float = 1.0,
    kd_weight: float = 0.7,
    noise: float = 0.0,
    hidden: tuple[int, ...] = (32, 16),
    epochs: int = 40,
    seeds: range = range(5),
    progress=None,
) -> GenerationReport:
    """Accuracy by generation on candles in time order; `report.by_generation` is the data of the plot.

    Training, validation and test part follow each other, each apart from the next by the horizon of the labels.
    """
    from fastkd.distill import BornAgain, TemperatureSchedule, compare_generations
    from fastkd.models import MLPClassifier

    schedule = TemperatureSchedule("exponential", start=temperature, end=min(1.0, temperature), decay=decay)
    model = MLPClassifier(hidden, learning_rate=3e-3, epochs=epochs)
    born_again = BornAgain(model, generations, variant=variant, temperature=schedule, kd_weight=kd_weight, noise=noise)
    train, validation, test = parts_in_time(candles, labels, features)
    return compare_generations(born_again, *train, *test, eval_set=validation, seeds=seeds, progress=progress)


def parts_in_time(candles: Candles, labels: str, features: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(X, y) of the training, validation and test part: scaled by the training part, labels known within it."""
    from fastkd.features import FeatureSet, Standardizer, direction_labels, regime_labels

    horizon = 12 if labels == "regime" else 1
    every = (
        regime_labels(candles, window=horizon)
        if labels == "regime"
        else direction_labels(candles, threshold=_threshold(candles), horizon=horizon)
    )
    recipe = FeatureSet(features)
    X, _ = recipe.transform(candles)
    y = every[len(candles) - len(X) :]
    known = y >= 0
    X, y = X[known], y[known]
    n = len(X)
    bounds = [0, round((1 - TEST_SHARE - VALIDATION_SHARE) * n), round((1 - TEST_SHARE) * n), n]
    if min(b - a for a, b in pairwise(bounds)) <= 2 * horizon:
        raise ValueError(f"{n} candles with features and labels are too few for three parts; raise --rows")
    ends = [bounds[1] - horizon, bounds[2] - horizon, n]
    scaler = Standardizer().fit(X[: ends[0]])
    return [(scaler.transform(X[a:b]), y[a:b]) for a, b in zip(bounds[:-1], ends, strict=True)]


def _threshold(candles: Candles) -> float | str:
    return "volatility" if getattr(candles, "bayes_accuracy", None) is None else 0.001


def _selfdistill(options: argparse.Namespace) -> int:
    from fastkd.cli.demo import read_candles
    from fastkd.cli.outputs import check_outputs, check_plot
    from fastkd.market import synthetic_market

    check_outputs({"--json": options.json, "--plot": options.plot}, {"the candles": [options.candles]})
    check_plot(options.plot)
    if options.seeds < 2:
        raise ValueError(f"--seeds must be at least 2, for an interval; got {options.seeds}")
    if options.candles is None:
        candles = synthetic_market(options.rows, random_state=options.seed)
    else:
        candles = read_candles(options.candles)[-options.rows :]
    names = (
        "labels",
        "features",
        "generations",
        "variant",
        "temperature",
        "decay",
        "kd_weight",
        "noise",
        "hidden",
        "epochs",
    )
    settings = {name: getattr(options, name) for name in names}

    def progress(done: int) -> None:
        if not options.quiet:
            print(f"fastkd: seed {done} of {options.seeds}", file=sys.stderr, flush=True)

    report = generations_on_candles(
        candles, **settings, seeds=range(options.seed, options.seed + options.seeds), progress=progress
    )
    if not options.quiet:
        print(report)
    if options.json is not None:
        options.json.write_text(json.dumps({"settings": settings, **report.to_dict()}, indent=1) + "\n")
    if options.plot is not None:
        report.plot(options.plot)
    return OK


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"expected widths such as 32,16, got {text!r}")
    return widths
