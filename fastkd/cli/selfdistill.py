"""`fastkd selfdistill`: generations of one network on candles, beside one training and an ensemble of the same cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastkd.cli.common import Json, Source, Widths, check, read_all, say_steps, write_json

__all__ = ["selfdistill"]


def selfdistill(
    candles: Annotated[list[Path] | None, Parameter(negative="")] = None,
    /,
    *,
    source: Source = Source(),  # noqa: B008 - frozen
    rows: int | None = None,
    labels: Literal["direction", "regime"] = "direction",
    features: str = "rich",
    generations: int = 5,
    variant: Literal["ban+l", "ban", "cwtm", "dkpp", "label_smoothing"] = "ban+l",
    temperature: float = 3.0,
    decay: float = 1.0,
    kd_weight: float = 0.7,
    noise: float = 0.0,
    hidden: Widths = (32, 16),
    epochs: int = 40,
    seeds: int = 5,
    seed: int = 0,
    json: Json = None,
    plot: Path | None = None,
    quiet: bool = False,
) -> int:
    """Generations of one network that teach each other, against one training and an ensemble.

    The last 30 % of the candles judge, the 15 % before them pick the generation.

    Parameters
    ----------
    candles
        CSV, Parquet, a store of candles, or - for standard input; else a synthetic market.
    rows
        Candles, of a file the last ones: all if not given; of the synthetic market 3000.
    labels
        What is forecast: the next move beyond past volatility, or the regime of the next 12 candles.
    features
        Recipe of the features.
    generations
        The first training included.
    variant
        What generations learn from.
    temperature
        Of generation 1.
    decay
        Factor on the temperature a generation, never below 1.
    kd_weight
        Weight of the teacher.
    noise
        Standard deviation on the teacher's logits.
    hidden
        Widths of the hidden layers.
    epochs
        Passes of a generation.
    seeds
        Repetitions, at least 2.
    seed
        The first seed.
    json
        Also write the figures; - for standard output.
    plot
        Also draw accuracy by generation (.png, .svg, .pdf).
    quiet
        Print errors only.
    """
    from fastkd.cli.outputs import check_plot
    from fastkd.experiments.generations import generations_on_candles
    from fastkd.market import synthetic_market

    check({"--json": json, "--plot": plot}, {"the candles": candles or []})
    check_plot(plot)
    if seeds < 2:
        raise ValueError(f"--seeds must be at least 2, for an interval; got {seeds}")
    if rows is not None and rows < 1:
        raise ValueError(f"--rows must be at least 1; got {rows}")
    if candles is not None and len(candles) > 1:
        raise ValueError("selfdistill takes one market: give one file of candles")
    table = read_all(candles, source)[0] if candles else synthetic_market(rows or 3000, random_state=seed)
    if rows is not None:
        table = table[-rows:]
    say = say_steps(quiet)
    settings = {
        "labels": labels,
        "features": features,
        "generations": generations,
        "variant": variant,
        "temperature": temperature,
        "decay": decay,
        "kd_weight": kd_weight,
        "noise": noise,
        "hidden": hidden,
        "epochs": epochs,
    }
    report = generations_on_candles(
        table,
        **settings,  # type: ignore[arg-type]
        seeds=range(seed, seed + seeds),
        progress=lambda done: say(f"seed {done} of {seeds}"),
    )
    if not quiet:
        print(f"{table}; labels: {labels}")
        print(report)
    write_json(json, {"settings": settings, **report.to_dict()})
    if plot is not None:
        report.plot(plot)
    return 0
